"""The bones of a label map as surface points, with the cartilage's thickness over each point.

Coordinates are those of the phantom's right knee: x lateral to medial, y anterior to posterior,
z superior to inferior, in mm along the body's axes. A left knee is mirrored.
"""

from typing import NamedTuple

import numpy as np
from nibabel import orientations
from scipy import ndimage
from skimage.measure import marching_cubes

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, checked_side, mirror_volume
from xr2mri_jax.phantom.tissues import CODES

BONES = ("femur", "tibia", "patella")
# The cartilages that cover each bone.
COVERS = {
    "femur": ("femoral_cartilage",),
    "tibia": ("medial_tibial_cartilage", "lateral_tibial_cartilage"),
    "patella": ("patellar_cartilage",),
}
WORK_MM = 0.75  # finer voxels are averaged to about this size
SMOOTH_MM = 0.6  # standard deviation of the Gaussian that smooths the voxel steps
_REACH_MM = (-1.5, 7.0)  # range along the normal in which cartilage is searched
_STEP_MM = 0.25
_FEWEST = 500  # voxels of a bone


class Surface(NamedTuple):
    """One bone.

    Attributes:
      points: f64[n, 3], (x, y, z) in mm on the bone's surface.
      normals: f64[n, 3], unit vectors out of the bone.
      cartilage: f64[n], mm of cartilage along the normal, 0 without cartilage.
    """

    points: np.ndarray
    normals: np.ndarray
    cartilage: np.ndarray


def find_surfaces(labels: Volume, side: str) -> dict[str, Surface]:
    """Surfaces of the bones in a label map.

    Args:
      labels: whole numbers, codes of `tissues.TISSUES`, any orientation.
      side: "left" or "right".

    Returns:
      The surface of every bone of BONES that the map has.

    Raises:
      InputError: no femur or no tibia, or only a few voxels of it.
    """
    array, to_xyz = oriented(labels, side)
    found = {}
    for bone in BONES:
        mask = array == CODES[bone]
        if mask.sum() >= _FEWEST:
            cover = np.isin(array, [CODES[name] for name in COVERS[bone]])
            found[bone] = find_surface(mask, cover, to_xyz)
        elif bone != "patella":
            raise InputError(f"found {mask.sum()} voxels of {bone}, expected at least {_FEWEST}")
    return found


def oriented(labels: Volume, side: str) -> tuple[np.ndarray, np.ndarray]:
    """The map with axes along x, y and z of a right knee, and its affine f64[4, 4] to mm there."""
    knee = labels if checked_side(side) == "right" else mirror_volume(labels, 0.0)
    turn = orientations.ornt_transform(
        orientations.io_orientation(knee.affine), orientations.axcodes2ornt("LPI")
    )
    array = orientations.apply_orientation(knee.array, turn)
    affine = knee.affine @ orientations.inv_ornt_aff(turn, knee.shape)
    return array, np.diag([-1.0, -1.0, -1.0, 1.0]) @ affine


def find_surface(mask: np.ndarray, cover: np.ndarray, to_xyz: np.ndarray) -> Surface:
    """Surface of one part: bool[i, j, k] of it and of its cartilage, and the affine to mm."""
    box = ndimage.find_objects((mask | cover).astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - 6), s.stop + 6) for s in box)
    spacing = np.linalg.norm(to_xyz[:3, :3], axis=0)
    factors = np.maximum(1, np.round(WORK_MM / spacing)).astype(int)
    sizes = spacing * factors
    share, layer = (
        ndimage.gaussian_filter(_average(part[box], factors), SMOOTH_MM / sizes, mode="nearest")
        for part in (mask, cover)
    )
    padded = np.pad(share, 1)
    vertices, _, normals, _ = marching_cubes(padded, 0.5, gradient_direction="descent")
    vertices = vertices - 1.0
    inner = ((vertices > 0.6) & (vertices < np.array(share.shape) - 1.6)).all(axis=1)
    vertices, normals = vertices[inner], normals[inner]
    index = vertices * factors + (factors - 1) / 2 + [s.start for s in box]
    points = index @ to_xyz[:3, :3].T + to_xyz[:3, 3]
    directions = (normals * sizes) @ (to_xyz[:3, :3] / spacing).T
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    return Surface(points, directions, _thickness(vertices, directions, layer, to_xyz, factors))


def _average(mask: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Block means f32; an incomplete last block is left out."""
    n = [size // f for size, f in zip(mask.shape, factors, strict=True)]
    whole = mask[tuple(slice(0, size * f) for size, f in zip(n, factors, strict=True))]
    blocks = whole.reshape(n[0], factors[0], n[1], factors[1], n[2], factors[2])
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32)


def _thickness(
    vertices: np.ndarray,
    directions: np.ndarray,
    layer: np.ndarray,
    to_xyz: np.ndarray,
    factors: np.ndarray,
) -> np.ndarray:
    """Integral of the cartilage's share along the normals."""
    step = directions @ np.linalg.inv(to_xyz[:3, :3]).T / factors
    total = np.zeros(len(vertices))
    for distance in np.arange(*_REACH_MM, _STEP_MM):
        places = (vertices + distance * step).T
        total += ndimage.map_coordinates(layer, places, order=1, mode="constant")
    return total * _STEP_MM
