"""Splits by subject: both knees and all visits of a person are in one split."""

import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import write_json
from xr2mri_jax.io.tables import read_table, write_table

FRACTIONS: Mapping[str, float] = MappingProxyType({"train": 0.8, "validation": 0.1, "test": 0.1})

# Other names cannot be stored or selected by TFDS, in which `all` means the splits together.
_NAME = re.compile(r"(?!all$)[\w-]+")
_NAMES = "a name of letters, digits, _ and - other than 'all'"


@dataclasses.dataclass(frozen=True)
class Splits:
    """The subjects of each split; `seed` and `fractions` are None if a file gave the splits."""

    subjects: Mapping[str, tuple[str, ...]]
    seed: int | None = None
    fractions: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_leakage(self.subjects)

    def split_of(self, subject: str) -> str:
        """The split of a subject.

        Raises:
          InputError: the subject is in no split.
        """
        try:
            return self._home[subject]
        except KeyError:
            names = ", ".join(self.subjects)
            raise InputError(f"subject {subject!r} is in none of the splits {names}") from None

    def require_members(self, remedy: str) -> None:
        """Raises InputError, which ends with the remedy, if a split has no subject."""
        total = sum(map(len, self.subjects.values()))
        for name, members in self.subjects.items():
            if not members:
                raise InputError(f"split {name!r} has none of the {total} subjects: {remedy}")

    @functools.cached_property
    def _home(self) -> dict[str, str]:
        return {subject: name for name, members in self.subjects.items() for subject in members}


def subject_fraction(subject: str, seed: int) -> float:
    """A number in [0, 1) that depends only on the subject and the seed.

    It is the first 8 bytes of SHA-256 of "seed:subject" as a big-endian integer over 2**64, cut to
    the 53 bits of a float.
    """
    digest = hashlib.sha256(f"{seed}:{subject}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def is_held_out(subject: str, fraction: float, seed: int) -> bool:
    """Whether a subject is among the fraction of all subjects that is held out from training."""
    return subject_fraction(subject, seed) < fraction


def split_of(subject: str, seed: int, fractions: Mapping[str, float] = FRACTIONS) -> str:
    """The split of a subject, which does not depend on the other subjects of the collection.

    Raises:
      InputError: fractions that are not numbers >= 0 with the sum 1, or an impossible name.
    """
    _check_fractions(fractions)
    return _split_of(subject, seed, fractions)


def split_subjects(
    subjects: Iterable[str], seed: int, fractions: Mapping[str, float] = FRACTIONS
) -> Splits:
    """Splits subjects; every name in `fractions` is a split, even if it gets no subject.

    Args:
      subjects: in any order, repeated or not.
      seed: of the hash; another seed gives another split.
      fractions: expected share of the subjects (not exact: it is a hash) by the split's name.

    Raises:
      InputError: fractions that are not numbers >= 0 with the sum 1, or an impossible name.
    """
    _check_fractions(fractions)
    members: dict[str, list[str]] = {name: [] for name in fractions}
    for subject in sorted(set(subjects)):
        members[_split_of(subject, seed, fractions)].append(subject)
    frozen = {name: tuple(found) for name, found in members.items()}
    return Splits(frozen, seed, dict(fractions))


def check_leakage(splits: Mapping[str, Iterable[str]]) -> None:
    """Refuses splits that share a subject (names are compared without blanks at the ends).

    Raises:
      InputError: names the first such subject and the two splits.
    """
    home: dict[str, str] = {}
    for name, subjects in splits.items():
        for subject in subjects:
            other = home.setdefault(subject.strip(), name)
            if other != name:
                raise InputError(
                    f"subject {subject.strip()!r} is in split {other!r} and in split {name!r}: "
                    "expected each subject in one"
                )


def write_splits(path: str | Path, splits: Splits) -> None:
    """Writes splits as JSON (with seed and fractions) or, if the name ends in .csv, as CSV.

    The CSV has the columns subject and split; it cannot hold splits without a subject.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        subjects = {name: list(members) for name, members in splits.subjects.items()}
        fractions = None if splits.fractions is None else dict(splits.fractions)
        write_json(path, {"seed": splits.seed, "fractions": fractions, "subjects": subjects})
        return
    rows = ((subject, name) for name, members in splits.subjects.items() for subject in members)
    write_table(path, ("subject", "split"), rows)


def read_splits(path: str | Path) -> Splits:
    """Reads what `write_splits` wrote, or a user's own CSV with the columns subject and split.

    Raises:
      InputError: not readable as splits, a name that a split cannot have, or a subject in two
        splits.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        members: dict[str, list[str]] = {}
        for row in read_table(path, required=("subject", "split"), delimiters=",;\t"):
            if not row["subject"] or not row["split"]:
                column = "split" if row["subject"] else "subject"
                raise row.error(column, "", "a name")
            if not _NAME.fullmatch(row["split"]):
                raise row.error("split", row["split"], _NAMES)
            members.setdefault(row["split"], []).append(row["subject"])
        return Splits({name: tuple(dict.fromkeys(found)) for name, found in members.items()})
    return _read_json(path)


def _read_json(path: Path) -> Splits:
    content = _load_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: found no JSON object, expected a file of write_splits")
    subjects = content.get("subjects")
    if not isinstance(subjects, dict) or not all(
        isinstance(found, list) and all(isinstance(subject, str) for subject in found)
        for found in subjects.values()
    ):
        raise InputError(f"{path}: key 'subjects' is not a list of subjects for each split")
    for name in subjects:
        if not _NAME.fullmatch(name):
            raise InputError(f"{path}, key 'subjects': found the split {name!r}, expected {_NAMES}")
    frozen = {name: tuple(found) for name, found in subjects.items()}
    seed, fractions = content.get("seed"), content.get("fractions")
    if not isinstance(seed, int | None) or not isinstance(fractions, dict | None):
        raise InputError(f"{path}: key 'seed' or 'fractions' is not an integer or object")
    return Splits(frozen, seed, fractions)


def _split_of(subject: str, seed: int, fractions: Mapping[str, float]) -> str:
    position = subject_fraction(subject, seed)
    edge = 0.0
    for name, fraction in fractions.items():
        edge += fraction
        if position < edge:
            return name
    return [name for name, fraction in fractions.items() if fraction > 0][-1]


def _check_fractions(fractions: Mapping[str, float]) -> None:
    text = ", ".join(f"{name}={fraction}" for name, fraction in fractions.items()) or "none"
    for name in fractions:
        if not _NAME.fullmatch(name):
            raise InputError(f"split fractions {text}: found the name {name!r}, expected {_NAMES}")
    values = list(fractions.values())
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise InputError(f"split fractions {text}: expected numbers of 0 or more")
    if not math.isclose(sum(values), 1.0, abs_tol=1e-6):
        raise InputError(f"split fractions {text}: their sum is {sum(values):g}, expected 1")


def _load_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as splits in JSON ({error})") from error
