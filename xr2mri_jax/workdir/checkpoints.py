"""Checkpoints in a run's folder: written atomically, verified against their manifest on reading."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from xr2mri_jax import files
from xr2mri_jax.errors import InputError, disk_error
from xr2mri_jax.workdir.run import CONFIG, RUN, read_run, sha256

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

MANIFEST = "manifest.json"
PROGRESS = "progress.json"
# Number of attempts to read a checkpoint that is removed while it is read.
_TRIES = 5
# Additional bytes of a checkpoint, and of each of its arrays.
_SPARE, _SPARE_ARRAY = 1 << 16, 1 << 12
_MANIFEST_KEYS = {"run", "step", "files"}


def steps(workdir: str | os.PathLike[str]) -> list[int]:
    """The steps that have a checkpoint, ascending."""
    folder = Path(workdir) / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def step_folder(workdir: str | os.PathLike[str], step: int) -> Path:
    """The folder of a step's checkpoint."""
    return Path(workdir) / "checkpoints" / str(step)


def write_step(
    workdir: str | os.PathLike[str],
    step: int,
    state: Any,
    progress: Mapping[str, Any],
    config: Mapping[str, Any],
    keep: int,
) -> Path:
    """Writes a checkpoint and removes the oldest beyond `keep`; called by one process of a run.

    Args:
      workdir: the run's folder.
      step: the training step, 0 or more.
      state: pytree of numpy arrays; scalars as 0-dimensional arrays.
      progress: JSON-able.
      config: the resolved config.
      keep: number of checkpoints to keep, 1 or more.

    Returns:
      The checkpoint's folder.
    """
    folder = step_folder(workdir, step)
    partial = folder.with_name(f".partial-{step}")
    # Leftovers of a killed process, of any step.
    for left in (*folder.parent.glob(".partial-*"), *folder.parent.glob(".removed-*")):
        shutil.rmtree(left)
    try:
        partial.mkdir(parents=True)
        files.require_room(partial, _size(state))
        with _without_logging(), _checkpointer() as writer:
            writer.save(partial.resolve() / "state", state)
        files.write_json(partial / PROGRESS, progress)
        files.write_json(partial / CONFIG, config)
        listed = {name: _fingerprint(partial / name) for name in _file_names(partial)}
        run = read_run(workdir)["run"]
        files.write_json(partial / MANIFEST, {"run": run, "step": step, "files": listed})
        files.sync_folder(partial)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        disk = disk_error(error)
        if disk is not None:
            raise OSError(disk.errno, disk.strerror, os.fspath(folder)) from error
        raise
    if folder.exists():
        _remove(folder)
    os.rename(partial, folder)
    files.sync(folder.parent)
    for old in steps(workdir)[:-keep]:
        _remove(step_folder(workdir, old))
    return folder


def verify_step(folder: Path) -> None:
    """Checks every file of a checkpoint against its manifest.

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
        advice = f"step {intact} is intact: remove {folder} to continue from there"
    raise InputError(f"checkpoint {folder} is broken: {fault}; {advice}")


def read_step(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a checkpoint after checking it.

    Args:
      folder: the checkpoint's folder, from `step_folder`.

    Returns:
      The state as nested dicts of numpy arrays, and progress.json.

    Raises:
      InputError: if the folder is broken.
    """
    import orbax.checkpoint as ocp  # takes half a second, so only if needed

    verify_step(folder)
    place = folder.resolve() / "state"
    with _checkpointer() as reader:
        stored = reader.metadata(place).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        state = reader.restore(place, restore_args=as_numpy)
    return state, files.read_json(folder / PROGRESS)


def read_checkpoint(
    workdir: str | os.PathLike[str], step: int | None = None
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Reads a checkpoint, even while a training run adds and removes checkpoints.

    Args:
      workdir: the run's folder.
      step: None: the newest.

    Returns:
      Its folder, and the results of `read_step`.

    Raises:
      InputError: if there is no such checkpoint or it is broken.
    """
    for last in (False,) * (_TRIES - 1) + (True,):
        found = steps(workdir)
        if not found:
            raise InputError(
                f"{workdir}: no checkpoint in it, expected the folder of a training run"
            )
        if step is not None and step not in found:
            raise InputError(f"{workdir}: no checkpoint of step {step}, there are {found}")
        folder = step_folder(workdir, found[-1] if step is None else step)
        try:
            return folder, *read_step(folder)
        except Exception:
            # Removed meanwhile, not damaged: list again.
            if last or folder.exists():
                raise
    raise AssertionError("unreachable")


def require_shapes(folder: Any, found: Any, wanted: Any) -> None:
    """Checks a tree of nested dicts of arrays against the shapes and dtypes of another.

    Raises:
      InputError: naming the first entry that differs; `folder` is its origin.
    """
    ours, theirs = (
        {jax.tree_util.keystr(path): (tuple(leaf.shape), str(leaf.dtype)) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (found, wanted))
    )
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise InputError(
                f"{folder}: {key} is {ours.get(key)}, expected {theirs.get(key)} from the config"
            )


def load_state(workdir: str | os.PathLike[str], step: int | None = None) -> dict[str, Any]:
    """The stored state of a run as nested dicts: params, ema_params, model_state, step.

    Args:
      workdir: the run's folder.
      step: None: the newest.

    Raises:
      InputError: if there is no such checkpoint or it is broken.
    """
    return read_checkpoint(workdir, step)[1]


def fingerprints(workdir: str | os.PathLike[str]) -> dict[str, str]:
    """Fingerprints of the data that the run was trained on, by split.

    {} without a checkpoint, and for checkpoints of older versions.

    Raises:
      InputError: if the newest checkpoint's progress.json is damaged.
    """
    found = steps(workdir)
    if not found:
        return {}
    return dict(files.read_json(step_folder(workdir, found[-1]) / PROGRESS).get("data", {}))


def _checkpointer() -> "ocp.Checkpointer":
    """An Orbax checkpointer for this process only; other processes do not take part."""
    import orbax.checkpoint as ocp

    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"host{index}"
    )
    return ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(multiprocessing_options=options),
        multiprocessing_options=options,
    )


def _size(state: Any) -> int:
    """Upper bound of the bytes that Orbax needs for a state."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    return _SPARE + sum(leaf.nbytes + leaf.nbytes // 20 + _SPARE_ARRAY for leaf in leaves)


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    """Disables Orbax's logging of thread tracebacks; the error itself is raised anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _fault(folder: Path) -> str | None:
    try:
        manifest = files.read_json(folder / MANIFEST)
        # Manifests from before runs had names contain only step and files.
        if set(manifest) not in (_MANIFEST_KEYS, _MANIFEST_KEYS - {"run"}):
            return f"its manifest has the keys {sorted(manifest)}"
        if manifest["step"] != int(folder.name):
            return f"it is the checkpoint of step {manifest['step']} by its manifest"
        if manifest.get("run", "") != read_run(folder.parent.parent)["run"]:
            return f"it belongs to another run by its manifest and {RUN}"
        listed = manifest["files"]
        for name in sorted(listed.keys() | set(_file_names(folder))):
            if name not in listed:
                return f"{name} is not in its manifest"
            if not (folder / name).is_file():
                return f"{name} is missing"
            if _fingerprint(folder / name) != listed[name]:
                return f"{name} has changed since it was written (its SHA-256 differs)"
    except (InputError, OSError, KeyError, AttributeError) as error:
        return f"its manifest cannot be used ({error})"
    return None


def _file_names(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _remove(folder: Path) -> None:
    """Renames before removing, so that a killed process leaves no partial checkpoint."""
    doomed = folder.with_name(f".removed-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed)
