"""The decoded examples of a split: which fields they have, their shapes, and their intensities."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.datasets.examples import StoredExamples, require_split
from xr2mri_jax.errors import InputError

FIELDS = ("xray", "mri", "mask", "side", "kl")
EXTRA_FIELDS = ("labels", "distances", "spacing", "subject")
# Entries with values in [0, 1].
INTENSITIES = ("xray", "mri", "mask")


def example_shapes(builder: Any) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of one example as batches hold it, without the batch axis, by field.

    Text (`subject`) is left out.
    """
    shapes = {}
    for name, feature in builder.info.features.items():
        if name in (*FIELDS, *EXTRA_FIELDS) and name != "subject":
            shape = tuple(feature.shape)
            shapes[name] = shape, np.dtype(batch_dtype(name))
    return shapes


def open_records(
    source: Any, split: str, fields: Sequence[str] | None = None
) -> tuple[Sequence[Any], tuple[str, ...]]:
    """The decoded examples of a split by position, and the requested fields.

    Args:
      source: as for `batches.make_iterator`.
      split: as for `batches.make_iterator`.
      fields: as for `batches.make_iterator`; other features stay undecoded bytes.

    Returns:
      A sequence of dicts with random access, and the names of the requested entries.

    Raises:
      InputError: as `batches.make_iterator`.
    """
    if not hasattr(source, "as_data_source"):
        if len(source) == 0:
            raise InputError(f"split {split!r} is empty")
        return source, _chosen(fields, source[0], "the examples")
    name = source.info.full_name
    require_split(source, split)
    chosen = _chosen(fields, source.info.features, name)
    skip = _skip_decoding()
    unwanted = {f: skip for f in source.info.features if f not in chosen}
    return StoredExamples(source, split, unwanted or None), chosen


def text(value: Any) -> str:
    """A stored text, which TFDS hands out as bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def batch_dtype(name: str) -> type:
    """The dtype of an entry in a batch."""
    if name in ("xray", "mri", "mask", "distances", "spacing", "other_xray"):
        return np.float32
    return np.uint8 if name == "labels" else np.int32


def require_intensities(array: np.ndarray, name: str, split: str, position: int | str) -> None:
    """Raises InputError unless all values are finite and in [0, 1]."""
    array = np.asarray(array)
    if name != "mask" and array.dtype == np.uint16:  # divided by 65535 afterwards
        return
    low, high = array.min(initial=0), array.max(initial=0)
    # A NaN makes both comparisons false.
    if not (low >= 0 and high <= 1):
        found = low if not low >= 0 else high
        raise InputError(
            f"the example at position {position} of the split {split!r}: its {name} has the value "
            f"{found:g}, expected finite values in [0, 1]"
        )


class Cached(Sequence):
    """A sequence that caches the items it has read."""

    def __init__(self, source: Sequence[Any]) -> None:
        """Takes the sequence."""
        self._source = source
        self._kept: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        found = self._kept.get(index)
        if found is None:
            found = self._source[index]
            with self._lock:
                self._kept[index] = found
        return found


def _skip_decoding() -> Any:
    import tensorflow_datasets as tfds

    return tfds.decode.SkipDecoding()


def _chosen(
    fields: Sequence[str] | None, available: Mapping[str, Any], where: str
) -> tuple[str, ...]:
    if fields is None:
        return tuple(name for name in FIELDS if name in available)
    wanted = tuple(f for f in fields if f not in ("index", "example_mask"))
    for field in wanted:
        known = (*FIELDS, *EXTRA_FIELDS)
        if field not in known:
            raise InputError(f"unknown field {field!r}, expected one of {', '.join(known)}")
        if field not in available:
            raise InputError(f"{where} has no {field!r}; it has {', '.join(sorted(available))}")
    return wanted
