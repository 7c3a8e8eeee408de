"""Reads the network of a packaged grader (model.json, weights.npz) to start training from it."""

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import budget

# Written by `ship_grader`; `inference.model_files` describes the format.
DESCRIPTION, WEIGHTS = "model.json", "weights.npz"
_LARGEST_DESCRIPTION = 1 << 20
# Prefix of the arrays in weights.npz that are not variables of the network.
_OTHERS = "features/"


def is_packaged(folder: Path) -> bool:
    """Whether a folder has a packaged grader."""
    return (folder / DESCRIPTION).is_file()


def network(folder: Path) -> dict[str, Any]:
    """The spec of the packaged network.

    Raises:
      InputError: model.json cannot be read or does not describe a network.
    """
    found = _description(folder).get("network")
    if not isinstance(found, dict):
        raise InputError(
            f"{folder / DESCRIPTION}: network: found {found!r}, expected a grader's network"
        )
    return found


def training(folder: Path) -> dict[str, Any]:
    """The record of the grader's training: dataset, held_out, held_out_seed, ...; {} without one.

    Raises:
      InputError: model.json cannot be read.
    """
    found = _description(folder).get("training")
    return found if isinstance(found, dict) else {}


def variables(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and running moments of the packaged network, f32 in nested dicts.

    Raises:
      InputError: a file is missing or damaged, or they do not belong together.
    """
    path = folder / WEIGHTS
    content = budget.read_bytes(path, budget.MODEL_BYTES)
    if hashlib.sha256(content).hexdigest() != _description(folder).get("weights_sha256"):
        raise InputError(
            f"{path}: its SHA-256 is not the one in {DESCRIPTION}, expected both files of one model"
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            flat = {
                tuple(name.split("/")): np.asarray(arrays[name], np.float32)
                for name in arrays.files
                if not name.startswith(_OTHERS)
            }
    except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error
    tree = traverse_util.unflatten_dict(flat)
    return tree.get("params", {}), tree.get("batch_stats", {})


def _description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    return files.json_object(path, budget.read_bytes(path, _LARGEST_DESCRIPTION))
