"""The folder-per-grade layout of knee radiographs: knee, grade and split of each file."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from xr2mri_jax.errors import InputError

GRADES = ("0", "1", "2", "3", "4")
# Folder names of the splits and their names in the dataset.
SPLITS = {"train": "train", "val": "validation", "test": "test"}
# Further training radiographs, which only some configs of the dataset read.
MORE = "train_more"
_KNEE = re.compile(r"(?P<name>.*\d(?:[_-]\d+[mM])?)[_-]?(?P<side>[LR])")
# The visit in a name, V00 or the months 12m, after the subject's digits.
_VISIT = re.compile(r"(?<=\d)(?:[_-](?:[vV]\d\d|\d+[mM]))+(?=[_-]|$)")
_SIDES = {"L": "left", "R": "right"}


class Knee(NamedTuple):
    """One radiograph's file: its name without the side letter, subject, side and grade.

    The subject is the name without the visit.
    """

    path: Path
    name: str
    subject: str
    side: str
    kl: int


class Listing(NamedTuple):
    """The knees of one split, and the other files with the reason."""

    knees: tuple[Knee, ...]
    broken: tuple[tuple[Path, str], ...]


def list_knees(source: str | os.PathLike[str], more: bool = False) -> dict[str, Listing]:
    """Lists SOURCE/{train,val,test}/{0..4}/<ID><L|R>.<ext>, or SOURCE/{0..4}/... as one split.

    Args:
      source: the folder. Files whose name begins with a dot are left out.
      more: whether SOURCE/train_more/{0..4}/..., if it exists, belongs to the training split too.

    Returns:
      {"train": ..., "validation": ..., "test": ...} as far as they exist, sorted by file name; the
      layout without split folders gives "train" only.

    Raises:
      InputError: the folder does not exist, has neither layout, no radiograph at all, the same knee
        twice in a split, one patient in two splits, or train_more without a training split.
    """
    root = Path(source)
    if not root.is_dir():
        raise InputError(f"--source: found no folder {root}, expected one with radiographs")
    folders = {name: root / folder for folder, name in SPLITS.items() if (root / folder).is_dir()}
    if not folders and any((root / grade).is_dir() for grade in GRADES):
        folders = {"train": root}
    if not folders:
        raise InputError(
            f"--source={root}: found neither train/ and val/ nor the grades 0/ to 4/, expected "
            "SOURCE/{train,val}/{0..4}/<ID><L|R>.png or SOURCE/{0..4}/<ID><L|R>.png"
        )
    listings = {name: _list_split(folder) for name, folder in folders.items()}
    if more and (root / MORE).is_dir():
        listings["train"] = _with_more(root, listings.get("train"))
    for name, listing in listings.items():
        if not listing.knees:
            raise InputError(
                f"{folders[name]}: found no radiograph named <ID>L or <ID>R in the folders 0 to 4"
            )
        _require_unique(listing.knees)
    _require_apart(listings)
    return listings


def _with_more(root: Path, train: Listing | None) -> Listing:
    if train is None:
        raise InputError(
            f"--source={root}: found no folder {root / 'train'}, expected train/ beside {MORE}/"
        )
    added = _list_split(root / MORE)
    return Listing(train.knees + added.knees, train.broken + added.broken)


def _list_split(folder: Path) -> Listing:
    knees, broken = [], []
    for path in _files(folder / grade for grade in GRADES):
        named = _KNEE.fullmatch(path.stem)
        if named is None:
            broken.append((path, "the file name is not <ID>L or <ID>R: the side is unknown"))
        else:
            side = _SIDES[named["side"]]
            subject = _VISIT.sub("", named["name"])
            knees.append(Knee(path, named["name"], subject, side, int(path.parent.name)))
    return Listing(tuple(knees), tuple(broken))


def _files(folders: Iterable[Path]) -> list[Path]:
    return [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]


def _require_unique(knees: Iterable[Knee]) -> None:
    seen: dict[tuple[str, str, str], Path] = {}
    for knee in knees:
        visit = _VISIT.search(knee.name)
        code = visit[0].upper().replace("-", "_") if visit else ""
        key = knee.subject, code, knee.side
        first = seen.setdefault(key, knee.path)
        if first != knee.path:
            raise InputError(
                f"{knee.path}: found the {knee.side} knee of {knee.name} a second time after "
                f"{first}, expected each knee of a visit once in a split"
            )


def _require_apart(listings: dict[str, Listing]) -> None:
    home: dict[str, str] = {}
    for split, listing in listings.items():
        for knee in listing.knees:
            other = home.setdefault(knee.subject, split)
            if other != split:
                raise InputError(
                    f"{knee.path}: found patient {knee.subject} in {split} and in {other}, "
                    "expected each patient in one split only"
                )
