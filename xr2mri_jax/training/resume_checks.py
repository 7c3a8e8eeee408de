"""Checks before a run is resumed: it must have the same earlier runs and the same data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import datasets, workdir
from xr2mri_jax.datasets import examples
from xr2mri_jax.errors import InputError

# Config keys that name folders of earlier runs, separated by commas.
EARLIER = ("cae_workdir", "generator_workdir", "classifier_workdir")
SPLITS = ("train_split", "eval_split")
ALSO = "also:"


def earlier_runs(config: Mapping[str, Any]) -> dict[str, str]:
    """The names of the earlier runs of a resolved config, by folder."""
    found = [folder for key in EARLIER for folder in folders(config.get(key, ""))]
    return {folder: _name(folder) for folder in found}


def require_same_earlier(
    stored: Mapping[str, Any], config: Mapping[str, Any], folder: Path
) -> None:
    """Refuses to continue a run with earlier runs other than those it started from.

    A moved folder is accepted if its run has the same name. A folder that is not given again is
    taken from the stored config.

    Args:
      stored: the config in the run's folder.
      config: the requested config, not yet resolved.
      folder: the run's folder.

    Raises:
      InputError: naming the first key that differs.
    """
    known = workdir.read_run(folder)["earlier"]
    for key in EARLIER:
        before, now = folders(stored.get(key, "")), folders(config.get(key, ""))
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
    """Fingerprints that identify the splits of a config's `data` beyond name and size.

    The split of the further dataset `data.also` has the prefix ALSO.
    """
    splits = sorted({data[key] for key in SPLITS})
    found = {split: examples.fingerprint(builder, split) for split in splits}
    if data.get("also"):
        other, split = datasets.load_builder(data["also"], data["data_dir"]), data["train_split"]
        found[ALSO + split] = examples.fingerprint(other, split)
    return found


def require_same_data(
    before: Mapping[str, str], now: Mapping[str, str], folder: Path, data: Mapping[str, Any]
) -> None:
    """Refuses to continue on different data; accepts old checkpoints without fingerprints.

    Raises:
      InputError: naming the first split that differs.
    """
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            dataset = data["also" if name.startswith(ALSO) else "dataset"]
            raise InputError(
                f"{folder} was trained on other data: the split {name.removeprefix(ALSO)!r} of "
                f"{dataset} in config.data.data_dir={data['data_dir']} has other examples (its "
                f"fingerprint is {now[name][:12]}, the checkpoint's {before[name][:12]}): choose "
                "the original data or another --workdir"
            )


def folders(value: str) -> list[str]:
    """The folders that a config key of EARLIER names, as absolute paths."""
    return [str(Path(part.strip()).resolve()) for part in value.split(",") if part.strip()]


def _name(folder: str) -> str:
    """The name of the run in a folder, or ""."""
    try:
        return workdir.read_run(folder)["run"]
    except InputError:
        return ""
