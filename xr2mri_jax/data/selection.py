"""Selection of examples of a split: by grade, by patient, with balanced classes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xr2mri_jax.data import records
from xr2mri_jax.datasets.splits import is_held_out
from xr2mri_jax.errors import InputError

PARTS = ("train", "held_out", "all")


@dataclasses.dataclass(frozen=True)
class Selected(Sequence):
    """Selected examples of a split, in a chosen order; an example may occur more than once.

    Attributes:
      examples: random access to all decoded examples of the split.
      positions: i64[n], positions of the selected examples in the split.
    """

    examples: Sequence[Any]
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Any) -> Any:
        return self.examples[int(self.positions[index])]

    def place(self, index: int) -> str:
        """The position in the split of an example."""
        return str(self.positions[index])


@dataclasses.dataclass(frozen=True)
class Joined(Sequence):
    """The concatenated examples of several sources, each source equally often.

    Attributes:
      parts: the sources; shorter ones are repeated up to the length of the longest.
      names: their names.
    """

    parts: tuple[Sequence[Any], ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.parts) * max(map(len, self.parts))

    def __getitem__(self, index: Any) -> Any:
        part, position = self._find(index)
        return self.parts[part][position]

    def place(self, index: int) -> str:
        """The position in the split of an example, with the name of its source."""
        part, position = self._find(index)
        return f"{_place(self.parts[part], position)} ({self.names[part]})"

    def _find(self, index: Any) -> tuple[int, int]:
        position, part = divmod(int(index), len(self.parts))
        return part, position % len(self.parts[part])


class Fields(Sequence):
    """Examples reduced to some of their fields, because datasets have different fields."""

    def __init__(self, examples: Sequence[Any], fields: Sequence[str]) -> None:
        """Takes the examples and the names of the fields to keep."""
        self._examples, self._fields = examples, tuple(fields)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: Any) -> Any:
        example = self._examples[index]
        return {name: example[name] for name in self._fields}

    def place(self, index: int) -> str:
        """The position in the split of an example."""
        return _place(self._examples, index)


def _place(source: Any, index: int) -> str:
    return source.place(index) if hasattr(source, "place") else str(index)


def examples(source: Any, split: str, fields: Sequence[str]) -> Sequence[Any]:
    """The decoded examples of the split with only `fields`; errors as `records.open_records`."""
    stored, chosen = records.open_records(source, split, fields)
    return Fields(stored, chosen)


def select(
    source: Any,
    split: str,
    fields: Sequence[str],
    *,
    grades: Sequence[int] = (),
    part: str = "all",
    held_out: float = 0.0,
    seed: int = 0,
    balanced: bool = False,
) -> Selected:
    """Selects examples of a split by grade and patient.

    Args:
      source: a prepared TFDS builder, or a sequence of decoded examples.
      split: the split.
      fields: requested entries; others stay undecoded.
      grades: Kellgren-Lawrence grades to include; none: all.
      part: "held_out" for the fraction `held_out` of the patients, chosen by a hash of subject and
        `seed`; "train" for the other patients; "all" for all patients. Both knees of a patient stay
        together.
      held_out: fraction of the patients, in [0, 1).
      seed: of that hash.
      balanced: repeats examples of the rarer grades evenly, until each grade is as frequent as the
        most frequent one.

    Returns:
      The examples in the order of the split, repeated ones at the end.

    Raises:
      InputError: if the split is unknown, has no grades or subjects, or nothing is left.
    """
    if part not in PARTS or not 0 <= held_out < 1:
        raise ValueError(f"part {part!r}, held_out {held_out}: expected one of {PARTS}, in [0, 1)")
    kl, subjects = _described(source, split)
    chosen = np.isin(kl, list(grades)) if len(grades) else np.ones(len(kl), bool)
    if part != "all":
        out = {name: is_held_out(name, held_out, seed) for name in set(subjects)}
        chosen &= np.array([out[name] == (part == "held_out") for name in subjects])
    positions = np.flatnonzero(chosen)
    if not len(positions):
        which = (
            "" if part == "all" else f" in the part {part!r} (config.data.held_out is {held_out:g})"
        )
        raise InputError(
            f"split {split!r}: none of its {len(kl)} examples has a grade of {list(grades)}{which}"
        )
    if balanced:
        positions = _balanced(positions, kl[positions])
    stored, _ = records.open_records(source, split, fields)
    return Selected(stored, positions)


def _described(source: Any, split: str) -> tuple[np.ndarray, list[str]]:
    stored, _ = records.open_records(source, split, ("kl", "subject"))
    kl, subjects = [], []
    for position in range(len(stored)):
        example = stored[position]
        kl.append(int(example["kl"]))
        subjects.append(records.text(example["subject"]))
    return np.array(kl), subjects


def _balanced(positions: np.ndarray, classes: np.ndarray) -> np.ndarray:
    names, counts = np.unique(classes, return_counts=True)
    repeated = [positions]
    for name, count in zip(names, counts, strict=True):
        missing = counts.max() - count
        own = positions[classes == name]
        repeated += [own] * (missing // count)
        # An even stride through the class, so that no part of the split is preferred.
        repeated.append(own[np.arange(missing % count) * count // max(missing % count, 1)])
    return np.concatenate(repeated)


def from_config(
    builder: Any, data: Mapping[str, Any], split: str, fields: Sequence[str], training: bool
) -> Any:
    """The source for `batches.make_iterator` for a config's `data`.

    Args:
      builder: a prepared TFDS builder.
      data: config.data; without the key `grades` nothing is selected.
      split: the name of the split in the dataset.
      fields: as for `select`.
      training: True: the training part, balanced if config.data.balanced. False: the held-out
        patients of the training split, or all patients of another split.

    Returns:
      The builder itself, or a `Selected`.
    """
    if "grades" not in data:
        return builder
    part = "all"
    if split == data["train_split"] and training:
        part = "train"
    elif split == data["train_split"] and data["held_out"] > 0:
        part = "held_out"
    return of_part(builder, data, split, fields, part, balanced=training and data["balanced"])


def of_part(
    builder: Any,
    data: Mapping[str, Any],
    split: str,
    fields: Sequence[str],
    part: str,
    balanced: bool = False,
) -> Selected:
    """`select` with the grades and held-out patients of a config's `data`."""
    return select(
        builder,
        split,
        fields,
        grades=data["grades"],
        part=part,
        held_out=data["held_out"],
        seed=data["held_out_seed"],
        balanced=balanced,
    )
