"""The uncertainty of one trained generator: its content, its file, and the matching weights."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import model_arrays
from xr2mri_jax.inference.uncertainty import surfaces, voxels
from xr2mri_jax.inference.uncertainty.surfaces import SurfaceSpread
from xr2mri_jax.inference.uncertainty.voxels import VoxelSpread
from xr2mri_jax.io import budget
from xr2mri_jax.metrics.intervals import LEVEL
from xr2mri_jax.metrics.structures import STRUCTURES
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.thickness import PLATES
from xr2mri_jax.preprocess.joint_space import COMPARTMENTS

NAME = "uncertainty.npz"
# Quantities with an interval, mm of the box.
QUANTITIES = (
    *(f"thickness_{plate}" for plate in PLATES),
    *(f"joint_space_{name}" for name in COMPARTMENTS),
)
_UNKNOWN = (0.0, -1.0)  # marks a quantity in the file that no held-out knee had
_LARGEST = 1 << 24
_SEEN = len(STRUCTURES) + 1
# Files from before these arrays were written lack them.
_WIDENED = "widened"
_FITTED = {"dataset": "fitted_dataset", "split": "fitted_split"}
_LONGEST = 256  # bytes of a text in the file, filled up with zeros
_VOXELS: dict[str, tuple[int, ...]] = {
    "of_place": (voxels.PLACES,),
    "of_bin": (voxels.BINS,),
    "of_structure": (_SEEN,),
    "seen_in_bin": (_SEEN, voxels.BINS),
    "seen_at": (_SEEN, voxels.PLACES),
}


@dataclasses.dataclass(frozen=True)
class FittedSplit:
    """The knees on which intervals were fitted.

    Attributes:
      dataset: name of the dataset.
      split: split of it.

    Raises:
      InputError: a name is too long for the file.
    """

    dataset: str
    split: str

    def __post_init__(self) -> None:
        for name, text in dataclasses.asdict(self).items():
            size = len(text.encode())
            if size > _LONGEST:
                raise InputError(
                    f"{name} of the held-out knees: found {size} bytes, expected at most {_LONGEST}"
                )


@dataclasses.dataclass(frozen=True, eq=False)
class Uncertainty:
    """Intervals that contain LEVEL of the truth on held-out knees of the training dataset.

    Attributes:
      voxels: of intensities.
      surfaces: of signed distances; None if the model has none.
      offsets: (low, high) in mm from a predicted quantity to the true one by name, for those of
        QUANTITIES that were found in the knees; empty if the model has no surfaces.
      knees: number of knees in the fit.
      widened: whether the intervals were widened afterwards to cover real pairs.
      fitted: their dataset and split; None: unknown, the file is older.
    """

    voxels: VoxelSpread
    surfaces: SurfaceSpread | None
    offsets: Mapping[str, tuple[float, float]]
    knees: int
    widened: bool = False
    fitted: FittedSplit | None = None

    def record(self, quantities: Mapping[str, float], scale: float = 1.0) -> dict[str, Any]:
        """The JSON-able record of a prediction's intervals.

        Args:
          quantities: in mm of the box, by the names of QUANTITIES.
          scale: mm in the patient per mm of the box.

        Returns:
          level, fitted_on, and by quantity mm, low and high, in mm of the patient: values and
          offsets are scaled like the label map.
        """
        intervals = {}
        for name, value in quantities.items():
            if name not in self.offsets:
                continue
            low, high = (scale * max(value + offset, 0.0) for offset in self.offsets[name])
            intervals[name] = {"mm": scale * value, "low": low, "high": high}
        fitted_on = f"{self.knees} held-out knees of the training's dataset"
        if self.fitted is not None:
            fitted_on += f" ({self.fitted.dataset}, split {self.fitted.split})"
        if self.widened:
            fitted_on += ", then widened to cover the generator's development pairs"
        return {
            "level": LEVEL,
            "fitted_on": fitted_on,
            "intervals": intervals,
        }


def identity(params: Any) -> bytes:
    """The SHA-256 of a pytree such as parameters: names, texts, and numbers rounded to f32."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        found.update(jax.tree_util.keystr(path).encode())
        text = isinstance(leaf, str)
        found.update(leaf.encode() if text else np.ascontiguousarray(leaf, np.float32).tobytes())
    return found.digest()


def write(path: Path, made: Uncertainty, params: Any) -> None:
    """Writes the file of a model, atomically.

    Args:
      path: usually NAME in the folder of a run or of a packaged generator.
      made: the content.
      params: of the model that it belongs to.
    """
    arrays = {name: getattr(made.voxels, name).astype(np.float16) for name in _VOXELS}
    if made.surfaces is not None:
        arrays["half_width"] = made.surfaces.half_width.astype(np.float16)
        offsets = [made.offsets.get(name, _UNKNOWN) for name in QUANTITIES]
        arrays["offsets"] = np.asarray(offsets, np.float32)
    arrays["knees"] = np.asarray([made.knees], np.int32)
    arrays[_WIDENED] = np.asarray([made.widened], np.uint8)
    if made.fitted is not None:
        for name, array in _FITTED.items():
            text = getattr(made.fitted, name).encode()
            arrays[array] = np.frombuffer(text.ljust(_LONGEST, b"\0"), np.uint8)
    arrays["model"] = np.frombuffer(identity(params), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    with files.atomic_path(path) as partial:
        partial.write_bytes(content.getvalue())


def read(
    folder: str | os.PathLike[str], params: Any, has_surfaces: bool
) -> tuple[Uncertainty | None, str]:
    """Reads the file beside a model.

    Args:
      folder: of a run or of a packaged generator.
      params: of the model that was loaded.
      has_surfaces: whether the model predicts signed distances.

    Returns:
      Its content, or None if there is no file or it was fitted to other weights (another step of
      the run), and that doubt or "".

    Raises:
      InputError: the file is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return None, ""
    wanted: dict[str, model_arrays.Wanted] = {
        name: (shape, ("float16",)) for name, shape in _VOXELS.items()
    }
    wanted |= {
        "knees": ((1,), ("int32",)),
        "model": ((32,), ("uint8",)),
        _WIDENED: ((1,), ("uint8",)),
        **dict.fromkeys(_FITTED.values(), ((_LONGEST,), ("uint8",))),
    }
    if has_surfaces:
        wanted |= {
            "half_width": ((len(NAMES), *surfaces.BLOCKS), ("float16",)),
            "offsets": ((len(QUANTITIES), 2), ("float32",)),
        }
    optional = (_WIDENED, *_FITTED.values())
    found = model_arrays.read(path, budget.read_bytes(path, _LARGEST), wanted, optional)
    if found["model"].tobytes() != identity(params):
        return None, (
            f"{path} was fitted to other weights of this run, so that no uncertainty is given: "
            "xr2mri calibrate fits it again"
        )
    f32 = {name: found[name].astype(np.float32) for name in _VOXELS}
    spread = SurfaceSpread(found["half_width"].astype(np.float32)) if has_surfaces else None
    if spread is not None and not (spread.half_width > 0).all():
        raise InputError(f"{path}: half_width: found 0 or less, expected mm above 0")
    rows = found["offsets"].tolist() if has_surfaces else []
    offsets = {
        name: (low, high)
        for name, (low, high) in zip(QUANTITIES, rows, strict=False)
        if low <= high
    }
    widened = _WIDENED in found and bool(found[_WIDENED][0])
    voxel_spread, knees = VoxelSpread(**f32), int(found["knees"][0])
    return Uncertainty(voxel_spread, spread, offsets, knees, widened, _fitted(path, found)), ""


def _fitted(path: Path, found: Mapping[str, np.ndarray]) -> FittedSplit | None:
    """The dataset and split in a file; None in an older one."""
    if not all(array in found for array in _FITTED.values()):
        return None
    try:
        texts = {
            name: found[array].tobytes().rstrip(b"\0").decode() for name, array in _FITTED.items()
        }
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: found a split that is not text ({error})") from error
    return FittedSplit(**texts)
