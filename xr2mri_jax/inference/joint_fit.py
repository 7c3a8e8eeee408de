"""Adjusts a predicted knee to the joint space that is measured in its radiograph.

The network predicts the shape of the bones; their distance is traced in the radiograph itself
(`preprocess.joint_space`). The femur is moved along the leg and turned in the frontal plane, as a
rigid body, until the least distance between the bones, medial and lateral, equals the measured one.
The tissue between the bones is stretched or compressed with it, in the volume and in the surfaces.
Where the bones then overlap, as worn ones do at the margin of the plateau, both are flattened.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from xr2mri_jax.geometry import BOX_MM, PLATEAU_MM
from xr2mri_jax.metrics.joint import ACROSS, DEEP, UPWARDS
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.preprocess.joint_space import COMPARTMENTS

# Grid on which distances between the bones are measured.
_MEASURED = (64, 64, 64)
_NEAR = slice(18, 46)  # rows within 28 mm of the joint's centre
_STEP = np.array(BOX_MM) / _MEASURED
_FIRST = np.array([0.5, 0.5 + _NEAR.start, 0.5])  # centre of their first voxel, in voxels
# Maximum move of either compartment in mm, and the number of rounds of moving and measuring.
LARGEST_MM, _ROUNDS = 6.0, 8
# Vertices of two surfaces never meet, so that their distance stays positive in contact. Below this
# distance the signed distance takes over, in proportion: it is 0 in contact.
_CLOSE_MM = 0.5
# In the volume nothing moves below this level (mm under the joint's centre), and the move ramps up
# above it.
_STILL_MM, _RAMP_MM = 14.0, 6.0
# Share of the femur's move that each surface follows.
_SHARES = tuple(
    {"tibia": 0.0, "tibial_outer": 0.0, "fibula": 0.0, "medial_meniscus": 0.5,
     "lateral_meniscus": 0.5}.get(name, 1.0)
    for name in NAMES
)  # fmt: skip
_MIDDLE = sum(ACROSS) / 2 * PLATEAU_MM  # of a compartment, mm from the knee's middle


class JointFit(NamedTuple):
    """A knee adjusted to another joint space.

    Attributes:
      volume: f32[d, h, w].
      distances: f32[k, d', h', w'], as `surfaces.NAMES`.
      record: JSON-able: wanted_mm, before_mm, after_mm (see `spaces`) and moved_mm by
        compartment, in mm of the box.
    """

    volume: np.ndarray
    distances: np.ndarray
    record: dict[str, Any]


def fit_joint_space(
    volume: np.ndarray, distances: np.ndarray, wanted: dict[str, float]
) -> JointFit | None:
    """Moves the femur until the joint space has the wanted width.

    Args:
      volume: f32[d, h, w] over the canonical box, a right knee.
      distances: f32[k, d', h', w'] in mm over the same box, as `surfaces.NAMES`.
      wanted: least distance between the bones in mm of the box, by compartment.

    Returns:
      The adjusted knee; None if the surfaces have no plateau in a compartment.
    """
    bones = _bones(distances)
    if bones is None:
        return None
    target = np.array([wanted[name] for name in COMPARTMENTS])
    moves = np.zeros(2)
    for _ in range(_ROUNDS):
        moves = np.clip(moves + target - bones.gaps(moves), -LARGEST_MM, LARGEST_MM)
    before, found = bones.spaces(np.zeros(2)), bones.spaces(moves)
    moved = _apart(_moved_distances(distances, moves))
    record = {
        "wanted_mm": dict(wanted),
        "before_mm": dict(zip(COMPARTMENTS, before.tolist(), strict=True)),
        "after_mm": dict(zip(COMPARTMENTS, found.tolist(), strict=True)),
        "moved_mm": dict(zip(COMPARTMENTS, moves.tolist(), strict=True)),
    }
    return JointFit(_moved_volume(volume, moved, moves), moved, record)


def spaces(distances: np.ndarray) -> dict[str, float] | None:
    """Least distance in mm from each plateau to the femur; None if a plateau is missing.

    It is 0 in a compartment where the bones touch.

    Args:
      distances: f32[k, d, h, w], as `surfaces.NAMES`.
    """
    bones = _bones(distances)
    if bones is None:
        return None
    return dict(zip(COMPARTMENTS, bones.spaces(np.zeros(2)).tolist(), strict=True))


class _Bones(NamedTuple):
    """Points f64[n, 3] (d, h, w) in mm from the box's middle, and the femur as signed distance.

    Attributes:
      femur: the femur's points.
      field: f64[d, h, w], cubic spline of its signed distance in mm (negative inside), on the rows
        _NEAR of the grid _MEASURED.
      plateaus: medial and lateral.
    """

    femur: cKDTree
    field: np.ndarray
    plateaus: tuple[np.ndarray, ...]

    def spaces(self, moves: np.ndarray) -> np.ndarray:
        """Joint space by compartment after the femur is moved: f64[2], 0 where the bones touch."""
        return np.maximum(self.gaps(moves), 0.0)

    def gaps(self, moves: np.ndarray) -> np.ndarray:
        """Least distance from each plateau to the femur: f64[2], negative in overlap."""
        found = []
        for plateau in self.plateaus:
            moved = _moved_back(plateau, moves)
            between, signed = self.femur.query(moved)[0].min(), self._signed(moved).min()
            found.append(signed + (between - signed) * np.clip(signed / _CLOSE_MM, 0.0, 1.0))
        return np.array(found)

    def _signed(self, points: np.ndarray) -> np.ndarray:
        """Signed distance in mm from points f64[n, 3] to the femur."""
        index = (points + np.array(BOX_MM) / 2) / _STEP - _FIRST
        return ndimage.map_coordinates(self.field, index.T, mode="nearest", prefilter=False)


def _moved_back(points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Points of the tibia as seen from the moved femur, so that the femur's tree is built once."""
    turn, upwards = _motion(moves)
    return np.column_stack([points[:, 0], (points[:, 1:] + (upwards, 0.0)) @ turn])


def _bones(distances: np.ndarray) -> _Bones | None:
    """The bones' surfaces; None if a bone or a plateau is missing."""
    chosen = distances[[NAMES.index("tibia"), NAMES.index("femur")]]
    fields = surfaces.resized(chosen, _MEASURED, order=3)[:, :, _NEAR]
    if not all(field.min() < 0 < field.max() for field in fields):
        return None
    (tibia, _, normals, _), (femur, _, _, _) = (marching_cubes(field, 0.0) for field in fields)
    tibia, femur = ((points + _FIRST) * _STEP - np.array(BOX_MM) / 2 for points in (tibia, femur))
    # The normals point inwards, and h downwards.
    level = (normals[:, 1] > UPWARDS) & (np.abs(tibia[:, 0]) < DEEP * PLATEAU_MM)
    plateaus = []
    for sign in (1.0, -1.0):  # medial lies at positive w
        outwards = sign * tibia[:, 2] / PLATEAU_MM
        plateaus.append(tibia[level & (outwards > ACROSS[0]) & (outwards < ACROSS[1])])
    if not all(map(len, plateaus)):
        return None
    field = ndimage.spline_filter(fields[1], mode="nearest")
    return _Bones(cKDTree(femur), field, tuple(plateaus))


def _motion(moves: np.ndarray, share: float = 1.0) -> tuple[np.ndarray, float]:
    """The rigid motion that moves both compartments upwards by `moves` mm, to first order.

    Args:
      moves: f64[2], medial and lateral.
      share: of the motion.

    Returns:
      The rotation f64[2, 2] of (h, w) about the box's middle, and the move upwards in mm after it.
    """
    medial, lateral = share * moves
    angle = np.arctan((medial - lateral) / (2 * _MIDDLE))
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]]), (medial + lateral) / 2


def _moved_distances(distances: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The surfaces after the move, f32 of the same shape: each moves rigidly, see _SHARES."""
    step = np.array(BOX_MM[1:]) / distances.shape[2:]
    middle = (np.array(distances.shape[2:]) - 1) / 2
    found = distances.copy()
    for number, share in enumerate(_SHARES):
        if share:
            turn, upwards = _motion(moves, share)
            # Voxel o of a frontal plane shows what was at turn^T (o + upwards).
            matrix = turn.T * step / step[:, None]
            offset = turn.T @ (upwards, 0.0) / step + middle - matrix @ middle
            for plane, moved in zip(distances[number], found[number], strict=True):
                ndimage.affine_transform(plane, matrix, offset, output=moved, mode="nearest")
    return np.clip(found, -surfaces.LIMIT_MM, surfaces.LIMIT_MM)


def _apart(distances: np.ndarray) -> np.ndarray:
    """The surfaces with femur and tibia apart: each loses the part that is deeper in the other."""
    femur, tibia = (distances[NAMES.index(name)] for name in ("femur", "tibia"))
    found = distances.copy()
    found[NAMES.index("femur")] = np.maximum(femur, (femur - tibia) / 2)
    found[NAMES.index("tibia")] = np.maximum(tibia, (tibia - femur) / 2)
    return found


def _moved_volume(volume: np.ndarray, moved: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The volume after the move.

    A voxel takes its content from its place before a share of the motion, which depends on its
    distances to tibia and femur: none in the tibia, all in the femur, in proportion between them.

    Args:
      volume: f32[d, h, w].
      moved: f32[k, d', h', w'], the moved surfaces.
      moves: f64[2].
    """
    shape = volume.shape
    rows = shape[1]
    coarse = moved.shape[1], rows, moved.shape[3]
    chosen = moved[[NAMES.index("tibia"), NAMES.index("femur")]]
    tibia, femur = np.maximum(surfaces.resized(chosen, coarse, order=3), 0.0)
    share = tibia / (tibia + femur + 1e-3)
    share *= np.clip((_STILL_MM - _places(rows, BOX_MM[1])) / _RAMP_MM, 0.0, 1.0)[:, None]
    share = surfaces.resized(share[None].astype(np.float32), shape)[0]
    turn, upwards = _motion(moves)
    h, w = np.meshgrid(_places(rows, BOX_MM[1]), _places(shape[2], BOX_MM[2]), indexing="ij")
    from_h, from_w = np.tensordot(turn.T, [h + upwards, w], axes=1)
    return _sampled(volume, share * (from_h - h), share * (from_w - w))


def _places(count: int, extent: float) -> np.ndarray:
    """f64[count]: voxel centres in mm from the middle of the box."""
    return (np.arange(count) + 0.5) * extent / count - extent / 2


def _sampled(field: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Samples f32[d, h, w] linearly, `down` and `right` mm (of the same shape) from each voxel."""
    depth, rows, columns = field.shape
    row, row_share = _neighbours(down, rows, 1, BOX_MM[1])
    column, column_share = _neighbours(right, columns, 2, BOX_MM[2])
    # Flat indices: twice as fast as one index per axis.
    planes = np.arange(depth, dtype=np.int32)[:, None, None] * (rows * columns)
    index = planes + row * columns + column
    above, below = (
        (first := field.take(index + step)) + column_share * (field.take(index + step + 1) - first)
        for step in (0, columns)
    )
    return above + row_share * (below - above)


def _neighbours(
    shift: np.ndarray, count: int, axis: int, extent: float
) -> tuple[np.ndarray, np.ndarray]:
    """The first of the two neighbours along an axis, i32, and the share of the second, f32."""
    places = np.arange(count, dtype=np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
    place = np.clip(places + shift.astype(np.float32) * np.float32(count / extent), 0, count - 1)
    first = np.minimum(place.astype(np.int32), count - 2)
    return first, place - first
