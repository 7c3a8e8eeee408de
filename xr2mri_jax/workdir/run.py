"""A run's config under checksum, and the name that tells its checkpoints from those of others."""

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.errors import InputError

CONFIG = "config.json"
RUN = "run.json"


def read_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """The resolved config of the run in `workdir`.

    Raises:
      InputError: if there is none, it is no JSON object, or it is not what the run wrote.
    """
    path = Path(workdir) / CONFIG
    if not path.is_file():
        raise InputError(f"{workdir}: no config.json in it, expected the folder of a training run")
    config = files.read_json(path)
    known = read_run(workdir)["config_sha256"]
    if known and sha256(path) not in known:
        raise InputError(
            f"{path}: has changed since the run wrote it (its SHA-256 is not in {RUN}), expected "
            f"it as it was; the newest checkpoint has its own, checkpoints/STEP/{CONFIG}"
        )
    return config


def write_config(workdir: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Writes config.json, atomically, and its SHA-256 into run.json."""
    path = Path(workdir) / CONFIG
    run = read_run(workdir)
    content = files.json_text(config)
    before = [sha256(path)] if path.is_file() and run["config_sha256"] else []
    # Both are right until the new one is there: a kill in between leaves nothing that is refused.
    wanted = list(dict.fromkeys([hashlib.sha256(content.encode()).hexdigest(), *before]))
    _write(workdir, {**run, "config_sha256": wanted})
    files.write_text(path, content)


def read_run(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """What run.json tells: `run`, a name that no other run has, `config_sha256`, `earlier`.

    Where there is none, as in runs of before it was written, all of them are empty.

    Raises:
      InputError: if the file is damaged.
    """
    path = Path(workdir) / RUN
    if not path.is_file():
        return {"run": "", "config_sha256": [], "earlier": {}}
    found = files.read_json(path)
    if set(found) != {"run", "config_sha256", "earlier"} or not (
        isinstance(found["run"], str)
        and isinstance(found["config_sha256"], list)
        and isinstance(found["earlier"], dict)
    ):
        raise InputError(
            f"{path}: found the keys {sorted(found)}, expected run, config_sha256, earlier as they "
            "were written"
        )
    return found


def start_run(workdir: str | os.PathLike[str], earlier: Mapping[str, str]) -> None:
    """Gives the run that begins in `workdir` its name.

    Args:
      workdir: without a checkpoint.
      earlier: the names of the runs that it starts from, by the config's keys of their folders.
    """
    _write(workdir, {"run": uuid.uuid4().hex, "config_sha256": [], "earlier": dict(earlier)})


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(workdir: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    files.write_json(Path(workdir) / RUN, content)
