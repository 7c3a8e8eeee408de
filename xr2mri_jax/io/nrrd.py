"""Volumes from NRRD files."""

import os
from pathlib import Path

import nrrd
import numpy as np

from xr2mri_jax import geometry
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats

# Sign that turns each space's axes into RAS.
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}


def read_nrrd(path: str | os.PathLike[str]) -> geometry.Volume:
    """Reads a NRRD volume (attached data); voxels keep their dtype.

    Raises:
      InputError: broken, not three spatial axes, a space that is not RAS, LAS or LPS, no origin,
        data in another file, or units other than mm.
    """
    path = Path(path)
    with formats.reading(path, "NRRD"), path.open("rb") as stream:
        header = nrrd.read_header(stream)
        affine = _affine(header, path)
        if np.prod(header["sizes"], dtype=np.float64) > formats.MAX_VOXELS:
            raise InputError(f"{path}: sizes {header['sizes'].tolist()} are too large")
        array = nrrd.read_data(header, stream, str(path))
        return geometry.Volume(array.astype(array.dtype.newbyteorder("="), copy=False), affine)


def _affine(header: dict, path: Path) -> np.ndarray:
    if "data file" in header or "datafile" in header:
        raise InputError(f"{path}: its data are in another file, expected one .nrrd file")
    if header["dimension"] != 3:
        raise InputError(f"{path}: {header['dimension']} axes, expected three")
    space = str(header.get("space", "none")).lower()
    if space not in _SPACES:
        raise InputError(f"{path}: space is {space}, expected one of {', '.join(_SPACES)}")
    units = {str(unit).strip('"') for unit in header.get("space units", ["mm"])}
    if units != {"mm"}:
        raise InputError(f"{path}: space units {sorted(units)}, expected mm")
    for key in ("space directions", "space origin"):
        if key not in header or not np.isfinite(header[key]).all():
            raise InputError(f"{path}: {key} absent or incomplete")
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], np.float64).T
    affine[:3, 3] = header["space origin"]
    return np.diag((*_SPACES[space], 1)) @ affine
