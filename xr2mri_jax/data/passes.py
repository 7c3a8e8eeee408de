"""The cases of a split: read batch by batch, described, measured in batches of one size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from xr2mri_jax.data.batches import make_iterator, open_records
from xr2mri_jax.geometry import SIDES

UNKNOWN = "unknown"
ORDER = ("psnr", "ssim3d", "ssim", "mae")


class CaseTable:
    """Who the cases are: columns index, subject, side, kl, filled batch by batch."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {"index": [], "subject": [], "side": [], "kl": []}

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Takes the real cases of a batch with index and subject, side and kl where known."""
        real = batch["example_mask"] > 0
        for name in ("index", "subject"):
            self.columns[name] += batch[name][real].tolist()
        sides = batch["side"][real] if "side" in batch else None
        unknown = [UNKNOWN] * int(real.sum())
        self.columns["side"] += unknown if sides is None else [SIDES[code] for code in sides]
        grades = batch["kl"][real].tolist() if "kl" in batch else [-1] * int(real.sum())
        self.columns["kl"] += [UNKNOWN if grade < 0 else str(grade) for grade in grades]


def part(source: Any, split: str) -> Any:
    """What `data.batches` reads: a builder as it is, of a dict of sequences the split's entry."""
    return source[split] if isinstance(source, Mapping) else source


def count(source: Any, split: str) -> int:
    """Number of cases in a split; raises InputError if it is unknown or empty."""
    return len(open_records(part(source, split), split)[0])


def batches(
    source: Any, split: str, fields: Sequence[str], batch_size: int, title: str
) -> Iterator[dict[str, np.ndarray]]:
    """The split once, in its stored order, with subject, and side and kl where known.

    Args:
      source: a TFDS builder, or a dict of sequences of decoded examples by split.
      split: which split.
      fields: further entries.
      batch_size: cases in a batch; the last is filled up with padding.
      title: of the progress bar.

    Raises:
      InputError: if the split or a field is missing.
    """
    records = part(source, split)
    _, have = open_records(records, split)
    optional = [name for name in ("side", "kl") if name in have]
    iterator = make_iterator(
        records, split, batch_size=batch_size, epochs=1, fields=(*fields, "subject", *optional)
    )
    yield from tqdm(iterator, total=iterator.steps, desc=title, unit="batch", disable=None)
    iterator.close()


def answers(
    function: Callable[[np.ndarray], Any], source: Any, split: str, batch_size: int, title: str
) -> tuple[Any, dict[str, list[Any]]]:
    """A function of a split's radiographs.

    Args:
      function: f32[b, h, w, 1] in [0, 1] to a pytree of arrays [b, ...]; always called with b =
        batch_size.
      source, split, batch_size, title: as for `batches`.

    Returns:
      The pytree with arrays [n, ...], and the columns of `CaseTable`.

    Raises:
      InputError: if the split or a field is missing.
    """
    table, found = CaseTable(), []
    for batch in batches(source, split, ("xray",), batch_size, title):
        table.add(batch)
        real = batch["example_mask"] > 0
        values = jax.device_get(function(batch["xray"]))
        found.append(jax.tree.map(lambda value, real=real: np.asarray(value)[real], values))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found), table.columns


def measure(
    metrics: Callable[[np.ndarray], Mapping[str, Any]], cases: int, batch_size: int, title: str
) -> dict[str, np.ndarray]:
    """Per-case metrics over all cases.

    Args:
      metrics: positions i[batch_size] to metrics f32[batch_size] by name; always the same size, so
        that jitted work compiles once: the last batch repeats the last case.
      cases: how many cases there are.
      batch_size: how many are measured together.
      title: of the progress bar.

    Returns:
      f64[cases] by name.
    """
    found: dict[str, list[np.ndarray]] = {}
    starts = range(0, cases, batch_size)
    for first in tqdm(starts, desc=f"measuring {title}", unit="batch", disable=None):
        positions = np.minimum(np.arange(first, first + batch_size), cases - 1)
        for name, value in metrics(positions).items():
            found.setdefault(name, []).append(np.asarray(value, np.float64))
    # jit hands dicts back in alphabetical order; readers expect the usual one.
    names = sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return {name: np.concatenate(found[name])[:cases] for name in names}
