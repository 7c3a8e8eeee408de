"""Finds the folders of earlier predictions of many radiographs, whose files are not input."""

from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import read_json

# File in the folder of the volumes that describes a prediction of many radiographs.
RUN = "predictions.json"
# Keys in RUN of the other output folders.
FOLDERS = ("labels", "meshes", "page")
_KEYS = {"version", "model", "step", *FOLDERS}


def folders_of(folder: Path) -> list[Path]:
    """The output folders of the prediction that `folder` holds, itself included; [] for none."""
    try:
        run = read_json(folder / RUN)
    except InputError:
        return []
    if not run.keys() >= _KEYS:
        return []
    return [folder, *(Path(run[name]) for name in FOLDERS if isinstance(run[name], str))]
