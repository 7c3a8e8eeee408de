"""Reads the stored examples of a prepared dataset, names damaged files, and fingerprints splits."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError

# A fingerprint reads about this much of a split at most, which takes seconds.
MOST_BYTES = 1 << 29


def require_split(builder: Any, split: str) -> None:
    """Raises InputError unless a prepared dataset has the split, with at least one example."""
    splits = builder.info.splits
    if not splits:
        raise InputError(
            f"dataset {builder.info.full_name} is not prepared in {builder.data_dir}: run "
            "launch/prepare.py first"
        )
    try:
        examples = splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise InputError(
            f"dataset {builder.info.full_name} has no split {split!r}, expected one of "
            + ", ".join(splits)
        ) from error
    if examples == 0:
        raise InputError(f"split {split!r} of dataset {builder.info.full_name} is empty")


class StoredExamples(Sequence[Any]):
    """A TFDS data source that names damaged, truncated or missing files when it reads them."""

    def __init__(self, builder: Any, split: str, decoders: Mapping[str, Any] | None = None) -> None:
        """Opens a split.

        Args:
          builder: builder of a prepared dataset.
          split: a split of it; TFDS slicing is allowed.
          decoders: as for `as_data_source`.

        Raises:
          InputError: if there is no such split, or it is empty.
        """
        require_split(builder, split)
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
        except Exception as error:  # the C++ reader and TFDS may raise anything
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self._file(int(index))}: example {index} of the split {self._split!r} cannot be "
                f"read ({reason}), expected the file as it was prepared: restore it, or prepare "
                "the dataset again"
            ) from error

    def _file(self, index: int) -> str:
        """The file of an example; the dataset's folder if unknown."""
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
    """The SHA-256 of the stored examples of a split, independent of the dataset's location.

    It covers all examples up to `most_bytes`; for a larger split, evenly spread examples and their
    number.

    Args:
      builder: builder of a prepared dataset.
      split: a split of it.
      most_bytes: approximate maximum number of bytes to read.

    Raises:
      InputError: if there is no such split, or an example cannot be read.
    """
    import tensorflow_datasets as tfds

    undecoded = {name: tfds.decode.SkipDecoding() for name in builder.info.features}
    stored = StoredExamples(builder, split, undecoded)
    digest = hashlib.sha256(f"{len(stored)} records".encode())  # the wording of older checkpoints
    stride = 1
    for position in range(len(stored)):
        if position % stride and position != len(stored) - 1:
            continue
        example = stored[position]
        size = 0
        for name in sorted(example):
            content = _content(example[name])
            digest.update(f"{position} {name} {len(content)} ".encode())
            digest.update(content)
            size += len(content)
        if position == 0:  # all examples of a dataset have about the same size
            stride = max(1, -(-len(stored) * size // most_bytes))
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
