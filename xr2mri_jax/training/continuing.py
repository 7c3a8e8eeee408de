"""What a run that is continued is held to: its earlier runs, its data; and its devices are told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import workdir
from xr2mri_jax.datasets import records
from xr2mri_jax.errors import InputError

# The config's keys that name folders of earlier runs, several with commas between.
EARLIER = ("cae_workdir", "generator_workdir", "classifier_workdir")
SPLITS = ("train_split", "eval_split")


def earlier_runs(config: Mapping[str, Any]) -> dict[str, str]:
    """The names of the runs in the folders that a resolved config names, by folder."""
    folders = [folder for key in EARLIER for folder in _folders(config.get(key, ""))]
    return {folder: _name(folder) for folder in folders}


def require_same_earlier(
    stored: Mapping[str, Any], config: Mapping[str, Any], folder: Path
) -> None:
    """Refuses to continue a run with folders of other earlier runs than it started from.

    A folder that was moved is the same where its run has the name of before; one that is not named
    again stays what it was.

    Args:
      stored: the config in the run's folder.
      config: what is asked for, before it is resolved.
      folder: the run's folder.

    Raises:
      InputError: naming the first key that differs.
    """
    known = workdir.read_run(folder)["earlier"]
    for key in EARLIER:
        before, now = _folders(stored.get(key, "")), _folders(config.get(key, ""))
        if not now or now == before:
            continue
        names = [_name(one) for one in now]
        if all(names) and names == [known.get(one, "") for one in before]:
            continue
        raise InputError(
            f"{folder} holds a run that started from config.{key}={','.join(before)!r}, found "
            f"{','.join(now)!r}, which is not the same run: leave config.{key} empty, or choose "
            "another --workdir"
        )


def fingerprints(builder: Any, data: Mapping[str, Any]) -> dict[str, str]:
    """What tells the splits of a config's `data` from others of their name and size."""
    splits = sorted({data[key] for key in SPLITS})
    return {split: records.fingerprint(builder, split) for split in splits}


def require_same_data(
    before: Mapping[str, str], now: Mapping[str, str], folder: Path, data: Mapping[str, Any]
) -> None:
    """Refuses to continue on other data; checkpoints without fingerprints are older than these.

    Raises:
      InputError: naming the first split that differs.
    """
    for split in sorted(before.keys() & now.keys()):
        if before[split] != now[split]:
            raise InputError(
                f"{folder} was trained on other data: the split {split!r} of {data['dataset']} in "
                f"config.data.data_dir={data['data_dir']} has other examples than before (its "
                f"fingerprint is {now[split][:12]}, the checkpoint's {before[split][:12]}): choose "
                "the data of before or another --workdir"
            )


def _folders(value: str) -> list[str]:
    return [str(Path(part.strip()).resolve()) for part in value.split(",") if part.strip()]


def _name(folder: str) -> str:
    """The name of the run in a folder; "" if there is none."""
    try:
        return workdir.read_run(folder)["run"]
    except InputError:
        return ""
