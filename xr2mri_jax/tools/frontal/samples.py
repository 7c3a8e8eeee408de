"""Knees as numbers: every bone's shape, and the features of perfect frontal views."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from xr2mri_jax.evaluation.real_pairs.knee import Knee
from xr2mri_jax.evaluation.real_pairs.mean_shape import bone_of, signed_distances
from xr2mri_jax.evaluation.real_pairs.protocol import BONES
from xr2mri_jax.geometry import BOX_MM, PLATEAU_MM
from xr2mri_jax.simulation import family, framing
from xr2mri_jax.simulation.atlas import LIMIT_MM, near_surface
from xr2mri_jax.simulation.poses import STILL, compose
from xr2mri_jax.tools.frontal.registration import Distances, Similarity, register
from xr2mri_jax.tools.frontal.views import Frame, view

# Axes of RAS that are d, h and w, all of them reversed.
_DHW = [1, 2, 0]
STEP_MM, _SHAPE = 2.0, (64, 64, 64)
_END_MM = BOX_MM[0] / 2 - STEP_MM
_NEAR_MM = 9.0  # distance that contains all other knees' surfaces
FIELD_MM = 46.0  # registration uses the reference's surface within this distance along each axis
_POINTS = 1200
# Pose in the film relative to the scan: flexion of the femur from the beam's view, tilt of the
# tibia (both about w, degrees), and rotation of each bone about the leg's axis.
FLEXION, TILT, AXIAL = (20.0, 30.0), (-5.0, 5.0), 4.0
# Views: along the beam with the mean knee's pose; with the scan's pose; with a film's pose.
ALIGNED, SCAN, FILM = "aligned", "scan", "film"
VIEWS = (ALIGNED, SCAN, FILM)


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One knee.

    Attributes:
      shapes: by bone f16[n], mm: distances registered to the reference by a similarity in space, at
        the voxels of `Reference.near`.
      outlines, thicknesses: by view f32[n], the features of both bones, one after the other.
      size_mm: PLATEAU_MM times the size of the last bone relative to the reference's.
    """

    shapes: Mapping[str, np.ndarray]
    outlines: Mapping[str, np.ndarray]
    thicknesses: Mapping[str, np.ndarray]
    size_mm: float


class Reference:
    """The knee to which all others are registered.

    Attributes:
      points: by bone f64[n, 3] mm, its surface near the joint.
      near: by bone bool[64, 64, 64], the voxels near its surface.
      knee: its bones.
      frames: by bone, where views are compared.
    """

    def __init__(self, knee: Mapping[str, Distances]) -> None:
        """From the bones of a knee."""
        self.knee = dict(knee)
        self.points = {name: surface_points(bone.array) for name, bone in knee.items()}
        self.near = {name: np.abs(bone.array) < _NEAR_MM for name, bone in knee.items()}
        self.frames = {name: Frame(view(bone)) for name, bone in knee.items()}
        self._modes = {name: self._similarities(name) for name in knee}

    def sample(
        self,
        knee: Mapping[str, Distances],
        rng: np.random.Generator,
        views: Sequence[str] = VIEWS,
    ) -> Sample:
        """Measures a knee in the given VIEWS; `rng` draws its pose in the film."""
        shapes, places = {}, {}
        seen: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in views}
        for name, bone in knee.items():
            place = places[name] = register(bone, self.points[name])
            values = bone.at(place(millimetres(np.argwhere(self.near[name])))) / place.scale
            shapes[name] = values.astype(np.float16)
            turns = {ALIGNED: place, SCAN: None, FILM: film_pose(name, rng)}
            for which in views:
                seen[which].append(self.frames[name].features(view(bone, turns[which])))
        outlines, thicknesses = (
            {name: np.concatenate([pair[i] for pair in pairs]) for name, pairs in seen.items()}
            for i in (0, 1)
        )
        return Sample(shapes, outlines, thicknesses, PLATEAU_MM * list(places.values())[-1].scale)

    def whole(self, bone: str, values: np.ndarray) -> np.ndarray:
        """Distances f32[64, 64, 64], mm, from those at the voxels near the surface."""
        found = self.knee[bone].array.astype(np.float32)
        found[self.near[bone]] = values
        return found

    def offsets(self, bone: str, values: np.ndarray) -> np.ndarray:
        """Distance of a bone's surface from the reference's, beyond any similarity.

        Args:
          bone: its name.
          values: f[n], as in `Sample.shapes`.

        Returns:
          f32[points], mm.
        """
        end = (np.array(_SHAPE) - 1) * STEP_MM / 2
        field = Distances(self.whole(bone, values), STEP_MM, -end, end)
        found = field.at(self.points[bone])
        return found - self._modes[bone] @ (self._modes[bone].T @ found)

    def _similarities(self, bone: str) -> np.ndarray:
        """f64[points, 7]: orthonormal offsets by which a similarity moves the surface."""
        points, one = self.points[bone], self.knee[bone]
        steps = STEP_MM / 2 * np.eye(3)
        slopes = [(one.at(points + step) - one.at(points - step)) / STEP_MM for step in steps]
        normals = np.stack(slopes, axis=1)
        grown = np.einsum("ij,ij->i", points, normals)
        return np.linalg.qr(np.column_stack([normals, np.cross(points, normals), grown]))[0]


def millimetres(index: np.ndarray) -> np.ndarray:
    """Positions of voxels f[n, 3] of a bone's grid, mm."""
    return (index - (np.array(_SHAPE) - 1) / 2) * STEP_MM


def film_pose(bone: str, rng: np.random.Generator) -> Similarity:
    """Random rotations of a bone about w and h, independent for each bone."""
    about_w = rng.uniform(*(FLEXION if bone == "femur" else TILT))
    turn = Rotation.from_euler("xz", [rng.normal(0, AXIAL), about_w], degrees=True)
    # Rotation's axes x, y, z stand for h, d, w here, as d, h, w is left-handed.
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    return Similarity(swap @ turn.as_matrix() @ swap, np.zeros(3), 1.0)


def surface_points(distances: np.ndarray) -> np.ndarray:
    """About _POINTS points f64[n, 3] (d, h, w) in mm of a bone's surface near the joint."""
    points = -bone_of(distances).surface.points[:, _DHW]
    points = points[(np.abs(points) < FIELD_MM).all(axis=1)]
    return points[:: max(1, len(points) // _POINTS)]


def true_knee(knee: Knee) -> dict[str, Distances]:
    """The bones of a measured knee."""
    found = {}
    for name in BONES:
        bone = knee.bones[name]
        low, high = np.full(3, -_END_MM), np.full(3, _END_MM)
        # Shafts continue where a map ends below or above; nothing continues to the sides.
        low[1], high[1] = -bone.known.high[2], -bone.known.low[2]
        values = np.clip(signed_distances(bone), -LIMIT_MM, LIMIT_MM)
        found[name] = Distances(values, STEP_MM, low, high)
    return found


def drawn_knee(knee: family.Knee) -> dict[str, Distances]:
    """The bones of a drawn knee in the pose of its scan, with the usual plateau width."""
    ends = np.full(3, _END_MM)
    still = framing.Jitter((0.0, 0.0, 0.0), 0.0, 1.0).backward(knee.zoom)
    found = {}
    for name, pose in (("femur", knee.femur), ("tibia", STILL)):
        moved = near_surface(knee.distances[name], *compose(pose, still), _SHAPE, LIMIT_MM)
        found[name] = Distances(moved / np.float32(knee.zoom), STEP_MM, -ends, ends)
    return found
