"""Digests of the tables that a dataset is made from, which tell whether they have changed since."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from xr2mri_jax.errors import InputError

# By the name of the option that gives the tables: SHA-256 by path.
Digests = dict[str, dict[str, str]]


def table_digests(tables: Mapping[str, Iterable[str | os.PathLike[str]]]) -> Digests:
    """The digests of those tables that exist.

    Raises:
      InputError: a table cannot be read.
    """
    return {
        name: {os.fspath(path): _digest(Path(path)) for path in paths if Path(path).is_file()}
        for name, paths in tables.items()
    }


def require_unchanged(before: Digests, now: Digests, data_dir: str | os.PathLike[str]) -> None:
    """Refuses a prepared dataset if its tables have changed.

    Tables of an option are not compared if none was recorded (by an earlier version) or if none
    exists any more (the dataset is used elsewhere).

    Raises:
      InputError: names the first table that has changed, or that was added or removed.
    """
    for name, recorded in before.items():
        found = now.get(name, {})
        if not recorded or not found:
            continue
        for path in sorted({*recorded, *found}):
            if recorded.get(path) == found.get(path):
                continue
            change = "was removed" if path not in found else "has changed"
            change = "was added" if path not in recorded else change
            raise InputError(
                f"{path} (--{name}): {change} since {os.fspath(data_dir)} was prepared: remove "
                "that folder, or prepare into another --data_dir"
            )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a table") from error
