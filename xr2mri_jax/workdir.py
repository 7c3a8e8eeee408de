"""The folder of a run: its config, and its checkpoints, each written whole and checked when read.

    WORKDIR/config.json               the resolved config
    WORKDIR/checkpoints/120/          one step: all that training needs to continue
      state/                          arrays, by Orbax
      progress.json                   input position and open sums
      config.json                     the config that it was trained with
      manifest.json                   SHA-256 and size of every other file here

A step's folder appears under its name only when it is complete. Orbax restores some files with
flipped bits without a word, so every file is held to the manifest before anything is read.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from xr2mri_jax import files
from xr2mri_jax.errors import InputError

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

MANIFEST = "manifest.json"


def read_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """The resolved config of the run in `workdir`.

    Raises:
      InputError: where there is none or it is no JSON object.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise InputError(f"{workdir}: no config.json in it, expected the folder of a training run")
    return _read_object(path)


def write_config(workdir: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Writes config.json, atomically."""
    files.write_json(Path(workdir) / "config.json", config)


def steps(workdir: str | os.PathLike[str]) -> list[int]:
    """The steps that have a checkpoint, ascending."""
    folder = Path(workdir) / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def step_folder(workdir: str | os.PathLike[str], step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return Path(workdir) / "checkpoints" / str(step)


def write_step(
    workdir: str | os.PathLike[str],
    step: int,
    state: Any,
    progress: Mapping[str, Any],
    config: Mapping[str, Any],
    keep: int,
) -> Path:
    """Writes one checkpoint and removes the oldest beyond `keep`; one process of a run calls it.

    Args:
      workdir: the run's folder.
      step: the training step, 0 or more.
      state: pytree of numpy arrays; scalars as 0-dimensional arrays.
      progress: JSON-able.
      config: the resolved config.
      keep: how many checkpoints stay, 1 or more.

    Returns:
      The checkpoint's folder.
    """
    folder = step_folder(workdir, step)
    partial = folder.with_name(f".partial-{step}")
    # What a kill left behind, of whichever step.
    for left in (*folder.parent.glob(".partial-*"), *folder.parent.glob(".removed-*")):
        shutil.rmtree(left)
    partial.mkdir(parents=True)
    with _checkpointer() as writer:
        writer.save(partial.resolve() / "state", state)
    files.write_json(partial / "progress.json", progress)
    files.write_json(partial / "config.json", config)
    listed = {name: _fingerprint(partial / name) for name in _file_names(partial)}
    files.write_json(partial / MANIFEST, {"step": step, "files": listed})
    if folder.exists():
        _remove(folder)
    os.rename(partial, folder)
    for old in steps(workdir)[:-keep]:
        _remove(step_folder(workdir, old))
    return folder


def verify_step(folder: Path) -> None:
    """Holds every file of a checkpoint to its manifest.

    Raises:
      InputError: naming the file that is missing, new or changed, and the newest older step that
        is intact.
    """
    fault = _fault(folder)
    if fault is None:
        return
    older = [s for s in steps(folder.parent.parent) if s < int(folder.name)]
    intact = next((s for s in reversed(older) if _fault(folder.with_name(str(s))) is None), None)
    advice = "no older step is intact"
    if intact is not None:
        advice = f"step {intact} is intact: remove {folder} to go on from there"
    raise InputError(f"checkpoint {folder} is broken: {fault}; {advice}")


def read_step(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a checkpoint after checking it.

    Args:
      folder: as `step_folder` gives it.

    Returns:
      The state as nested dicts of numpy arrays, and progress.json.

    Raises:
      InputError: where the folder is broken.
    """
    import orbax.checkpoint as ocp  # half a second, which who reads no checkpoint need not wait

    verify_step(folder)
    place = folder.resolve() / "state"
    with _checkpointer() as reader:
        stored = reader.metadata(place).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        state = reader.restore(place, restore_args=as_numpy)
    return state, _read_object(folder / "progress.json")


def require_shapes(folder: Any, found: Any, wanted: Any) -> None:
    """Holds a tree of nested dicts of arrays to the shapes and dtypes of another.

    Raises:
      InputError: naming the first entry that differs; `folder` tells where it is from.
    """
    ours, theirs = (
        {jax.tree_util.keystr(path): (tuple(leaf.shape), str(leaf.dtype)) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (found, wanted))
    )
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise InputError(
                f"{folder}: {key} is {ours.get(key)}, the config's model asks for {theirs.get(key)}"
            )


def load_state(workdir: str | os.PathLike[str], step: int | None = None) -> dict[str, Any]:
    """The stored state of a run as nested dicts: params, ema_params, model_state, step.

    Args:
      workdir: the run's folder.
      step: None: the newest.

    Raises:
      InputError: where there is no such checkpoint or it is broken.
    """
    found = steps(workdir)
    if not found:
        raise InputError(f"{workdir}: no checkpoint in it, expected the folder of a training run")
    if step is not None and step not in found:
        raise InputError(f"{workdir}: no checkpoint of step {step}, there are {found}")
    return read_step(step_folder(workdir, found[-1] if step is None else step))[0]


def _checkpointer() -> "ocp.Checkpointer":
    """Orbax for this process alone: the others neither read nor write with it."""
    import orbax.checkpoint as ocp

    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"host{index}"
    )
    return ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(multiprocessing_options=options),
        multiprocessing_options=options,
    )


def _fault(folder: Path) -> str | None:
    try:
        listed = _read_object(folder / MANIFEST)["files"]
        for name in sorted(listed.keys() | set(_file_names(folder))):
            if name not in listed:
                return f"{name} is not in its manifest"
            if not (folder / name).is_file():
                return f"{name} is missing"
            if _fingerprint(folder / name) != listed[name]:
                return f"{name} has changed since it was written (its SHA-256 is another)"
    except (InputError, OSError, KeyError, AttributeError) as error:
        return f"its manifest cannot be used ({error})"
    return None


def _file_names(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def _remove(folder: Path) -> None:
    """Takes the name away first, so that a kill in between leaves no half step behind."""
    doomed = folder.with_name(f".removed-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {type(content).__name__}, expected a JSON object")
    return content
