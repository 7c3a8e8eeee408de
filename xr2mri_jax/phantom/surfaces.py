"""The surfaces of a labelled knee as signed distances, and their conversion to labels.

The outer surface of a cartilage encloses its bone too. Such surfaces are thick and smooth, so that
signed distances on voxels of 2 mm represent a cartilage of 1 mm as the space between two surfaces.
"""

import functools

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom.tissues import CODES

# Name of a surface -> the tissues inside it.
SURFACES: dict[str, tuple[str, ...]] = {
    "femur": ("femur",),
    "femoral_outer": ("femur", "femoral_cartilage"),
    "tibia": ("tibia",),
    "tibial_outer": ("tibia", "medial_tibial_cartilage", "lateral_tibial_cartilage"),
    "patella": ("patella",),
    "patellar_outer": ("patella", "patellar_cartilage"),
    "fibula": ("fibula",),
    "medial_meniscus": ("medial_meniscus",),
    "lateral_meniscus": ("lateral_meniscus",),
}
NAMES = tuple(SURFACES)
# Distances are clipped to this limit in mm, and stored as integer multiples of 1 / STEPS mm.
LIMIT_MM = 7.5
STEPS = 16
# Bone with less cartilage than this many mm counts as not covered.
COVERED_MM = 0.3
_CARTILAGE_OF = (
    ("femoral_cartilage", "femur", "femoral_outer"),
    ("medial_tibial_cartilage", "tibia", "tibial_outer"),
    ("patellar_cartilage", "patella", "patellar_outer"),
)

# A cartilage's outer surface and its bone's, as indices into NAMES.
CARTILAGES = tuple((NAMES.index(outer), NAMES.index(bone)) for _, bone, outer in _CARTILAGE_OF)


def stored(distances: np.ndarray) -> np.ndarray:
    """Signed distances in mm -> i8, the same shape."""
    return np.rint(np.clip(distances, -LIMIT_MM, LIMIT_MM) * STEPS).astype(np.int8)


def halved(distances: np.ndarray) -> np.ndarray:
    """Means over blocks of 2 x 2 x 2 voxels: f32[k, d, h, w] -> f32[k, d / 2, h / 2, w / 2]."""
    k, *space = distances.shape
    blocks = [size for n in space for size in (n // 2, 2)]
    return distances.reshape(k, *blocks).mean(axis=(2, 4, 6))


def resized(distances: np.ndarray, shape: tuple[int, ...], order: int = 1) -> np.ndarray:
    """Signed distances on another grid of the same box.

    Args:
      distances: f32[k, d, h, w].
      shape: (d, h, w) wanted.
      order: 1 linear, 3 cubic spline.

    Returns:
      f32[k, *shape]; beyond the outermost voxel centres the border's values are kept.
    """
    for axis, n in enumerate(shape):
        m = distances.shape[axis + 1]
        if m == n:
            continue
        basis = _weights(m, n, order)
        before, after = distances.shape[: axis + 1], distances.shape[axis + 2 :]
        if after:
            rows = distances.reshape(-1, m, int(np.prod(after, dtype=int)))
            distances = np.matmul(basis, rows).reshape(*before, n, *after)
        else:  # one product instead of one per row
            distances = (distances.reshape(-1, m) @ basis.T).reshape(*before, n)
    return distances


def linear_weights(m: int, n: int) -> np.ndarray:
    """f32[n, m]: the matrix of linear interpolation from m to n voxels over the same length."""
    return _weights(m, n, 1)


@functools.lru_cache(maxsize=64)
def _weights(m: int, n: int, order: int) -> np.ndarray:
    place = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
    where = np.meshgrid(place, np.arange(m), indexing="ij")
    weights = ndimage.map_coordinates(np.eye(m), where, order=order, mode="nearest")
    return weights.astype(np.float32)


def labels(distances: np.ndarray) -> np.ndarray:
    """Label codes (`tissues.CODES`) of a canonical right knee from its signed distances.

    Args:
      distances: f32[k, d, h, w] in the order of NAMES, mm, negative inside.

    Returns:
      u8[d, h, w]: bones take precedence over cartilage, and cartilage over menisci; 0 elsewhere.
      Tibial cartilage is split into medial and lateral at the middle of the tibia.

    Raises:
      InputError: another number of surfaces.
    """
    if len(distances) != len(NAMES):
        raise InputError(f"found {len(distances)} surfaces, expected {len(NAMES)}")
    by_name = dict(zip(NAMES, distances, strict=True))
    codes = np.zeros(distances.shape[1:], np.uint8)
    for name in ("medial_meniscus", "lateral_meniscus"):
        codes[by_name[name] < 0] = CODES[name]
    for name, bone, outer in _CARTILAGE_OF:
        codes[(by_name[outer] < 0) & (by_name[bone] >= 0)] = CODES[name]
    lateral = codes == CODES["medial_tibial_cartilage"]
    lateral[..., tibial_middle(by_name["tibia"]) :] = False
    codes[lateral] = CODES["lateral_tibial_cartilage"]
    for name in ("fibula", "tibia", "femur", "patella"):
        codes[by_name[name] < 0] = CODES[name]
    return codes


def tibial_middle(tibia: np.ndarray) -> int:
    """The first column that is medial: middle of the widest part of the tibia, f32[d, h, w] mm."""
    columns = np.flatnonzero((tibia < 0).any(axis=(0, 1)))
    if not len(columns):
        return tibia.shape[2] // 2
    return (int(columns[0]) + int(columns[-1]) + 1) // 2
