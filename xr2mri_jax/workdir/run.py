"""The config of a run with its checksum, and the run's unique name."""

import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.errors import InputError

CONFIG = "config.json"
RUN = "run.json"
_KEYS = {"run": str, "config_sha256": list, "earlier": dict, "doubts": list}


def read_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """The resolved config of the run in `workdir`.

    Raises:
      InputError: if it is missing, is not a JSON object, or was changed after writing.
    """
    path = Path(workdir) / CONFIG
    if not path.is_file():
        raise InputError(f"{workdir}: no config.json in it, expected the folder of a training run")
    config = files.read_json(path)
    known = read_run(workdir)["config_sha256"]
    if known and sha256(path) not in known:
        raise InputError(
            f"{path}: has changed since the run wrote it (its SHA-256 is not in {RUN}), expected "
            f"an unchanged file; the newest checkpoint has a copy, checkpoints/STEP/{CONFIG}"
        )
    return config


def write_config(workdir: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Writes config.json, atomically, and its SHA-256 into run.json."""
    path = Path(workdir) / CONFIG
    run = read_run(workdir)
    content = files.json_text(config)
    before = [sha256(path)] if path.is_file() and run["config_sha256"] else []
    # Both checksums are valid until the new file exists, in case the process is killed in between.
    wanted = list(dict.fromkeys([hashlib.sha256(content.encode()).hexdigest(), *before]))
    _write(workdir, {**run, "config_sha256": wanted})
    files.write_text(path, content)


def read_run(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of run.json: `run`, the unique name of the run, and what `start_run` describes.

    All are empty if there is no such file, as in runs of older versions.

    Raises:
      InputError: if the file is damaged.
    """
    path = Path(workdir) / RUN
    if not path.is_file():
        return {name: kind() for name, kind in _KEYS.items()}
    found = {"doubts": [], **files.read_json(path)}  # runs of older versions have none
    if found.keys() != _KEYS.keys() or not all(
        isinstance(found[name], kind) for name, kind in _KEYS.items()
    ):
        raise InputError(f"{path}: found the keys {sorted(found)}, expected {', '.join(_KEYS)}")
    return found


def start_run(
    workdir: str | os.PathLike[str], earlier: Mapping[str, str], doubts: Sequence[str] = ()
) -> None:
    """Gives the new run in `workdir` its name.

    Args:
      workdir: a folder without a checkpoint.
      earlier: the names of the runs that it starts from, by folder.
      doubts: one line each about the run's start, which its evaluations repeat.
    """
    name = uuid.uuid4().hex
    known = {"run": name, "config_sha256": [], "earlier": dict(earlier), "doubts": list(doubts)}
    _write(workdir, known)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(workdir: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    files.write_json(Path(workdir) / RUN, content)
