"""The warnings of a table's knees on the screen: each one for few knees, their number for many."""

from collections.abc import Sequence
from pathlib import Path

from absl import logging

from xr2mri_jax.errors import printable
from xr2mri_jax.inference import novelty
from xr2mri_jax.presentation.pluralise import pluralise

# Up to this number of knees, as in one radiograph, the warnings themselves are shown.
FEW = 2


def log(knees: Sequence[tuple[str, str, float | None]], table: Path, column: str) -> None:
    """Logs the warnings of knees that a table lists, or how many knees have one.

    Args:
      knees: (name, its warnings or "", novelty score or None), in the table's order.
      table: the table.
      column: the name of its column with the warnings.
    """
    doubtful = [(name, doubts) for name, doubts, _ in knees if doubts]
    if len(knees) <= FEW:
        for name, doubts in doubtful:
            logging.warning("%s: %s", printable(name), doubts)
    elif doubtful:
        unlike = sum(novelty.is_unlike(score) for _, _, score in knees)
        logging.warning(
            "%d of %s have warnings (column %s of %s); %s unlike the training radiographs",
            len(doubtful),
            pluralise(len(knees), "knee"),
            column,
            printable(str(table)),
            f"{unlike} are" if unlike != 1 else "1 is",
        )
