"""Writes and reads a packaged model: weights.npz and model.json, tied together by checksums."""

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import model_arrays, model_description
from xr2mri_jax.inference.model_description import WEIGHTS_SHA256, Kind
from xr2mri_jax.inference.novelty import NoveltyDetector
from xr2mri_jax.io import budget

WEIGHTS, DESCRIPTION = "weights.npz", "model.json"
# Maximum bytes of weights.npz.
LARGEST = budget.MODEL_BYTES


def rounded(tree: Any) -> Any:
    """A tree of arrays rounded to float16, in f32; InputError if a value is not finite."""
    with np.errstate(over="ignore"):
        found = jax.tree.map(lambda x: np.asarray(x, np.float16).astype(np.float32), tree)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
        raise InputError("the model's weights: found values that float16 cannot hold")
    return found


def write(
    folder: Path,
    kind: Kind,
    tree: Any,
    novelty_detector: NoveltyDetector,
    description: Mapping[str, Any],
) -> None:
    """Writes both files into an existing folder, each atomically.

    Args:
      folder: the destination.
      kind: of the model.
      tree: nested dicts of f32 arrays whose values fit float16.
      novelty_detector: of the training radiographs.
      description: JSON-able; the entries `kind.keys`, except `features`.
    """
    arrays = {
        name: np.asarray(value, np.float16)
        for name, value in traverse_util.flatten_dict(tree, sep="/").items()
    }
    arrays |= {
        "features/mean": novelty_detector.mean,
        "features/deviation": novelty_detector.deviation,
        "features/factor": novelty_detector.factor,
    }
    content = _packed(arrays)
    described = {
        "form": kind.form,
        WEIGHTS_SHA256: hashlib.sha256(content).hexdigest(),
        **description,
        "features": {"distance_one": novelty_detector.scale},
    }
    with files.atomic_path(folder / WEIGHTS) as partial:
        partial.write_bytes(content)
    in_order = {key: described[key] for key in ("form", WEIGHTS_SHA256, *kind.keys)}
    files.write_json(folder / DESCRIPTION, model_description.sealed(in_order))


# bzip2 is used if its size over the deflated size is below this.
_ENOUGH = 0.85


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an .npz file.

    Deflated, or compressed by bzip2 if that saves enough, which is so for weights with few
    different values. bzip2 takes ten times as long to read (3.4 s for 34 MB).
    """
    deflated, smaller = io.BytesIO(), io.BytesIO()
    np.savez_compressed(deflated, allow_pickle=False, **arrays)
    with zipfile.ZipFile(smaller, "w", zipfile.ZIP_BZIP2) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # Without a time stamp the same weights give the same file.
            entry = zipfile.ZipInfo(f"{name}.npy")
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_BZIP2)
    better = len(smaller.getvalue()) < _ENOUGH * len(deflated.getvalue())
    return (smaller if better else deflated).getvalue()


def read(
    folder: str | os.PathLike[str],
    kind: Kind,
    shapes: Callable[[Mapping[str, Any]], tuple[Any, int] | None],
) -> tuple[dict[str, Any], dict[str, Any], NoveltyDetector]:
    """Reads what `write` wrote.

    Args:
      folder: with both files.
      kind: of the model.
      shapes: maps the description to the expected tree, whose leaves have a `shape`, and the number
        of features; None: the files are the package's own, whose shapes tests compare with the
        network's. Raises InputError.

    Returns:
      The description, the tree with f32 leaves, and the novelty detector.

    Raises:
      InputError: a file is missing, damaged, of another format, or belongs to another model.
    """
    place = Path(folder)
    described = model_description.read(place / DESCRIPTION, kind)
    tree_and_count = shapes(described)
    wanted = None if tree_and_count is None else _wanted(*tree_and_count)
    path = place / WEIGHTS
    found = model_arrays.read(path, _content(path, described, kind), wanted)
    mean, deviation, factor = (
        found.pop(f"features/{name}") for name in ("mean", "deviation", "factor")
    )
    if not (deviation > 0).all() or not np.diag(factor).all():
        raise InputError(
            f"{path}: features/deviation, features/factor: found 0 where the distance divides, "
            "expected numbers above 0"
        )
    novelty_detector = NoveltyDetector(
        mean, deviation, factor, described["features"]["distance_one"]
    )
    as_f32 = {name: value.astype(np.float32) for name, value in found.items()}
    return described, traverse_util.unflatten_dict(as_f32, sep="/"), novelty_detector


def _wanted(tree: Any, count: int) -> dict[str, model_arrays.Wanted]:
    """The expected arrays of weights.npz: a tree whose leaves have a `shape`, and the features."""
    flat = traverse_util.flatten_dict(tree, sep="/")
    return {
        **{name: (tuple(leaf.shape), ("float16",)) for name, leaf in flat.items()},
        "features/mean": ((count,), ("float32",)),
        "features/deviation": ((count,), ("float32",)),
        "features/factor": ((count, count), ("float16",)),
    }


def _content(path: Path, described: Mapping[str, Any], kind: Kind) -> bytes:
    """The file's bytes, after checking their number and that they belong to model.json."""
    content = budget.read_bytes(path, LARGEST)
    if hashlib.sha256(content).hexdigest() != described[WEIGHTS_SHA256]:
        raise InputError(
            f"{path}: its SHA-256 is not the one in {DESCRIPTION}, expected the two of one "
            f"{kind.name}"
        )
    return content
