"""The two files of a model that ships: weights.npz and model.json, held to each other."""

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

WEIGHTS, DESCRIPTION = "weights.npz", "model.json"


def rounded(tree: Any) -> Any:
    """A tree of arrays as float16 keeps them, in f32; InputError where that is not finite."""
    with np.errstate(over="ignore"):
        found = jax.tree.map(lambda x: np.asarray(x, np.float16).astype(np.float32), tree)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
        raise InputError("the model's weights: found values that float16 cannot hold")
    return found


def write(folder: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Writes both files into an existing folder, each atomically.

    Args:
      folder: where they go.
      arrays: by name, as they are stored.
      description: JSON-able, with `form`; the weights' SHA-256 is added.
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
      kind: what the model is called in errors: "grader", "generator".
      form: the form that is expected.
      keys: entries that the description must have.

    Raises:
      InputError: a file is missing, broken, of another form, or does not belong to the other.
    """
    place = Path(folder)
    described = _description(place / DESCRIPTION, kind, form, keys)
    try:
        content = (place / WEIGHTS).read_bytes()
    except OSError as error:
        raise InputError(f"{place / WEIGHTS}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != described["weights_sha256"]:
        raise InputError(
            f"{place / WEIGHTS}: its SHA-256 is not the one in {DESCRIPTION}, expected the two of "
            "one model"
        )
    with np.load(io.BytesIO(content)) as stored:
        return described, {name: stored[name] for name in stored.files}


def _description(path: Path, kind: str, form: int, keys: Sequence[str]) -> Mapping[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(described, dict) or described.get("form") != form:
        raise InputError(f"{path}: expected a {kind}'s description of form {form}")
    missing = [key for key in ("weights_sha256", *keys) if key not in described]
    if missing:
        raise InputError(f"{path}: {missing[0]!r} is missing, expected it in a {kind}'s form")
    return described
