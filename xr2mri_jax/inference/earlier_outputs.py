"""Where earlier predictions of many radiographs lie: what is there is no radiograph."""

from pathlib import Path

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import read_json

# Describes a prediction of many radiographs, in the folder of its volumes.
RUN = "predictions.json"
# Other folders of the outputs that RUN names.
FOLDERS = ("labels", "meshes", "page")
_KEYS = {"version", "model", "step", *FOLDERS}


def folders_of(folder: Path) -> list[Path]:
    """The folders of the prediction that a folder holds: itself and others; [] if it holds none."""
    try:
        run = read_json(folder / RUN)
    except InputError:
        return []
    if not run.keys() >= _KEYS:
        return []
    return [folder, *(Path(run[name]) for name in FOLDERS if isinstance(run[name], str))]
