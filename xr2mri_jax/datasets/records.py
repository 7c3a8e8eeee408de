"""The records of a prepared dataset: damaged files are named; a fingerprint tells splits apart."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError

# A fingerprint reads at most about so much of a split: seconds.
MOST_BYTES = 1 << 29


class Records(Sequence[Any]):
    """A TFDS data source whose damaged, truncated or missing files are named when they are read."""

    def __init__(self, builder: Any, split: str, decoders: Mapping[str, Any] | None = None) -> None:
        """Opens a split.

        Args:
          builder: of a prepared dataset.
          split: a split of it, TFDS's slicing included.
          decoders: as `as_data_source` takes them.
        """
        self._builder = builder
        self._split = split
        self._source = builder.as_data_source(split=split, decoders=decoders)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        try:
            return self._source[index]
        except (IndexError, MemoryError):
            raise
        except Exception as error:  # the reader's C++ and TFDS raise of all kinds
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self._file(int(index))}: record {index} of the split {self._split!r} cannot be "
                f"read ({reason}), expected the file as it was prepared: put it back, or prepare "
                "the dataset again"
            ) from error

    def _file(self, index: int) -> str:
        """The file that holds a record; the dataset's folder where that is not known."""
        info = getattr(self._builder, "info", None)
        try:
            for part in info.splits[self._split].file_instructions:  # type: ignore[union-attr]
                if index < part.take:
                    return str(part.filename)
                index -= part.take
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        return str(getattr(self._builder, "data_dir", "the dataset"))


def fingerprint(builder: Any, split: str, most_bytes: int = MOST_BYTES) -> str:
    """The SHA-256 of a split's records as they are stored, the same wherever the dataset lies.

    All of them up to `most_bytes`; of a larger split evenly spread ones, and how many there are.

    Args:
      builder: of a prepared dataset.
      split: a split of it.
      most_bytes: how much is read at most, about.

    Raises:
      InputError: if a record cannot be read.
    """
    import tensorflow_datasets as tfds

    undecoded = {name: tfds.decode.SkipDecoding() for name in builder.info.features}
    records = Records(builder, split, undecoded)
    digest = hashlib.sha256(f"{len(records)} records".encode())
    stride = 1
    for position in range(len(records)):
        if position % stride and position != len(records) - 1:
            continue
        record = records[position]
        size = 0
        for name in sorted(record):
            content = _content(record[name])
            digest.update(f"{position} {name} {len(content)} ".encode())
            digest.update(content)
            size += len(content)
        if position == 0:  # all records of a dataset have about one size
            stride = max(1, -(-len(records) * size // most_bytes))
    return digest.hexdigest()


def _content(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    array = np.asarray(value)
    if array.dtype == object:  # an array of texts
        return b"\0".join(_content(item) for item in array.ravel().tolist())
    return array.tobytes()
