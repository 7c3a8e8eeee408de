"""Checks that the outputs of one command do not collide."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from xr2mri_jax.errors import InputError


class OutputPlace(NamedTuple):
    """A file or folder that a command writes.

    `shared`: a folder in which other outputs may lie.
    """

    flag: str
    path: Path
    shared: bool = False


def require_separate(places: Iterable[OutputPlace]) -> None:
    """Raises InputError if two outputs are the same, or one lies in another that is not shared."""
    resolved = [(place, place.path.resolve()) for place in places]
    for (first, outer), (second, inner) in itertools.combinations(resolved, 2):
        if outer == inner:
            raise InputError(
                f"{second.flag}: {second.path} is already another file of this command "
                f"({first.flag}), expected another name"
            )
    for (first, outer), (second, inner) in itertools.permutations(resolved, 2):
        if not first.shared and outer in inner.parents:
            raise InputError(
                f"{second.flag}: {second.path} lies in {first.path}, which {first.flag} writes, "
                "expected another place"
            )
