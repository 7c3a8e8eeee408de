"""The two files of a packaged model, weights.npz and model.json, and the check that they match."""

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.budget import read_bytes, read_npz

WEIGHTS, DESCRIPTION = "weights.npz", "model.json"


def rounded(tree: Any) -> Any:
    """A tree of arrays rounded to float16, in f32; InputError if a value is not finite."""
    with np.errstate(over="ignore"):
        found = jax.tree.map(lambda x: np.asarray(x, np.float16).astype(np.float32), tree)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
        raise InputError("the model's weights: found values that float16 cannot hold")
    return found


def write(folder: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Writes both files into an existing folder, each atomically.

    Args:
      folder: the folder.
      arrays: arrays by name, with the dtypes to store.
      description: JSON-able, with `form`; the SHA-256 of the weights is added.
    """
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    with files.atomic_path(folder / WEIGHTS) as partial:
        partial.write_bytes(content.getvalue())
    form = {"form": description["form"], "weights_sha256": digest}
    files.write_json(folder / DESCRIPTION, {**form, **description})


def read(
    folder: str | os.PathLike[str], kind: str, form: int, keys: Sequence[str]
) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays that `write` wrote.

    Args:
      folder: with both files.
      kind: the model's name in error messages: "grader", "generator".
      form: the expected version of the format.
      keys: entries that the description must have.

    Raises:
      InputError: a file is missing, damaged, of another format, or belongs to another model.
    """
    place = Path(folder)
    described = _description(place / DESCRIPTION, kind, form, keys)
    content = read_bytes(place / WEIGHTS)
    if hashlib.sha256(content).hexdigest() != described["weights_sha256"]:
        raise InputError(
            f"{place / WEIGHTS}: its SHA-256 is not the one in {DESCRIPTION}, expected the two of "
            "one model"
        )
    return described, read_npz(place / WEIGHTS, content)


def _description(path: Path, kind: str, form: int, keys: Sequence[str]) -> Mapping[str, Any]:
    try:
        described = json.loads(read_bytes(path).decode("utf-8"))
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{path}: cannot be read as JSON (nested too deeply)") from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(described, dict) or described.get("form") != form:
        raise InputError(f"{path}: expected a {kind}'s description of form {form}")
    missing = [key for key in ("weights_sha256", *keys) if key not in described]
    if missing:
        raise InputError(f"{path}: {missing[0]!r} is missing, expected it in a {kind}'s form")
    return described
