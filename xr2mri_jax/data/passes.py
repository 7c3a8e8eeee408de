"""Passes over the cases of a split: batches, descriptions, and metrics in batches of fixed size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from xr2mri_jax.data.batches import make_iterator
from xr2mri_jax.data.records import open_records
from xr2mri_jax.geometry import SIDES
from xr2mri_jax.runtime import processor
from xr2mri_jax.runtime.progress import progress

UNKNOWN = "unknown"
ORDER = ("psnr", "ssim3d", "ssim", "mae")


class CaseTable:
    """The cases: columns index, subject, side, kl, filled batch by batch."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {"index": [], "subject": [], "side": [], "kl": []}

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Adds the cases of a batch, without padding; side and kl if known."""
        real = batch["example_mask"] > 0
        for name in ("index", "subject"):
            self.columns[name] += batch[name][real].tolist()
        sides = batch["side"][real] if "side" in batch else None
        unknown = [UNKNOWN] * int(real.sum())
        self.columns["side"] += unknown if sides is None else [SIDES[code] for code in sides]
        grades = batch["kl"][real].tolist() if "kl" in batch else [-1] * int(real.sum())
        self.columns["kl"] += [UNKNOWN if grade < 0 else str(grade) for grade in grades]


def part(source: Any, split: str) -> Any:
    """The source for `data.batches`: a builder unchanged, or the split's entry of a dict."""
    return source[split] if isinstance(source, Mapping) else source


def count(source: Any, split: str) -> int:
    """Number of cases in a split; raises InputError if it is unknown or empty."""
    return len(open_records(part(source, split), split)[0])


def batches(
    source: Any, split: str, fields: Sequence[str], batch_size: int, title: str
) -> Iterator[dict[str, np.ndarray]]:
    """One pass over the split in stored order, with subject, and side and kl if known.

    Args:
      source: a TFDS builder, or a dict of sequences of decoded examples by split.
      split: which split.
      fields: further entries.
      batch_size: cases per batch; the last one is padded.
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
    assert iterator.steps is not None  # one epoch
    yield from progress(iterator, title, "batch", iterator.steps)
    iterator.close()


def predictions(
    function: Callable[[np.ndarray], Any], source: Any, split: str, batch_size: int, title: str
) -> tuple[Any, dict[str, list[Any]]]:
    """Applies a function to the radiographs of a split.

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
      metrics: maps positions i[batch_size] to metrics f32[batch_size] by name. The size is fixed,
        so that jitted code compiles once; the last batch repeats the last case.
      cases: number of cases.
      batch_size: cases per batch.
      title: of the progress bar.

    Returns:
      f64[cases] by name.
    """
    found: dict[str, list[np.ndarray]] = {}
    starts = range(0, cases, batch_size)

    def one(first: int) -> Mapping[str, Any]:
        positions = np.minimum(np.arange(first, first + batch_size), cases - 1)
        return jax.device_get(metrics(positions))

    # Several at once: while one batch is computed, the arrays of another are prepared.
    with ThreadPoolExecutor(processor.cores()) as pool:
        made = pool.map(one, starts)
        for values in progress(made, f"measuring {title}", "batch", len(starts)):
            for name, value in values.items():
                found.setdefault(name, []).append(np.asarray(value, np.float64))
    # jit returns dicts in alphabetical order; restore the usual one.
    names = sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return {name: np.concatenate(found[name])[:cases] for name in names}
