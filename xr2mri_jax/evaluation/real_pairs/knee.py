"""Converts a label map to the compared quantities: bone surfaces, cartilage plates, joint space."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from xr2mri_jax.evaluation.real_pairs.protocol import BONES, MARGIN_MM, REACH_MM
from xr2mri_jax.geometry import BOX_MM, Volume, canonical_affine, mirror_volume, resample
from xr2mri_jax.metrics.alignment import Similarity
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.joint import Plate, cartilage_plates, joint_space
from xr2mri_jax.metrics.occupancy import GRID, occupancies, resampled, softened
from xr2mri_jax.metrics.surfaces import Surface, surface_of
from xr2mri_jax.metrics.voxels import Border
from xr2mri_jax.phantom.landmarks import PLATEAU_WIDTH_MM, Landmarks, find_landmarks
from xr2mri_jax.phantom.tissues import CODES

FULL = 255  # value of full occupancy in u8
_STRUCTURES = {
    "femur": ("femur",),
    "tibia": ("tibia",),
    "patella": ("patella",),
    "femoral_cartilage": ("femoral_cartilage",),
    "tibial_cartilage": ("medial_tibial_cartilage", "lateral_tibial_cartilage"),
    "patellar_cartilage": ("patellar_cartilage",),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Bone:
    """One bone, RAS mm with the joint's centre at the origin.

    Attributes:
      surface: the surface, open at the map's borders.
      occupied: occupancy times FULL, u8.
      known: the box that the map covers.
    """

    surface: Surface
    occupied: Volume
    known: Box

    def scaled(self, scale: float) -> "Bone":
        """The bone scaled about the joint's centre."""
        return dataclasses.replace(
            self.moved(Similarity(scale=scale)), known=self.known.scaled(scale)
        )

    def moved(self, fit: Similarity) -> "Bone":
        """The bone transformed; the box that the map covers stays."""
        one = self.surface
        return Bone(
            Surface(
                fit.points(one.points),
                fit.directions(one.normals),
                one.areas * fit.scale**2,
                one.reach * fit.scale,
            ),
            Volume(self.occupied.array, fit.matrix() @ self.occupied.affine),
            self.known,
        )

    def closed(self, field: Box) -> Surface:
        """The closed surface of the part inside a box, including the cut faces."""
        return field.closed(self.surface, self.occupied, FULL / 2)

    @functools.cached_property
    def voxels(self) -> Volume:
        """The bone as a bool mask of 1 mm voxels over `protocol.CUBE`."""
        count = round(2 * REACH_MM)
        affine = np.eye(4)
        affine[:3, 3] = 0.5 - REACH_MM
        grid = Volume(np.zeros((count,) * 3, bool), affine)
        return Volume(resampled(self.occupied, grid, np.eye(4), FULL / 2), affine)

    def border(self, field: Box) -> Border:
        """The border voxels of the part inside a box, including those at the cut faces."""
        voxels = self.voxels
        return Border(Volume(voxels.array & field.mask(voxels), voxels.affine))


@dataclasses.dataclass(frozen=True, eq=False)
class Knee:
    """A right knee (left knees are mirrored) with the joint's centre at the origin.

    Attributes:
      bones: femur and tibia by name.
      field: the box of the comparison, see `protocol.CONVENTION`.
      width_mm: width of the tibial plateau, see `landmarks.find_landmarks`.
      plates: cartilage by plate inside the canonical box (the patella lies partly outside
        `field`); without the plates whose cartilage or bone the map does not label.
      space_mm: joint space by compartment.
      labels: u8 on the 1 mm grid, for pictures.
      centre: f64[3], RAS mm, where the map of a right knee has the joint's centre.
      scale: of a predicted knee, mm of the patient per mm of the canonical box.
      seen, doubts: of a predicted knee, see `LabelPrediction`; None and () of a true one.
    """

    bones: Mapping[str, Bone]
    field: Box
    width_mm: float
    plates: Mapping[str, Plate]
    space_mm: Mapping[str, float]
    labels: Volume
    centre: np.ndarray
    scale: float = 1.0
    seen: np.ndarray | None = None
    doubts: tuple[str, ...] = ()

    def in_box(self, points: np.ndarray) -> np.ndarray:
        """Points f64[n, 3] of a predicted knee in RAS mm of the canonical box."""
        return (points + self.centre) / self.scale


def knee_of(labels: Volume, side: str) -> Knee:
    """Extracts the compared structures from a label map.

    Args:
      labels: codes of `tissues.TISSUES`, RAS mm of the patient.
      side: "left" or "right".

    Raises:
      InputError: femur, tibia or the joint between them is missing, or the map shows the other
        side.
    """
    labels, found = centred(labels, side)
    names = [name for name, parts in _STRUCTURES.items() if set(parts) & set(found.present)]
    filled = _occupied(labels, names)
    smooth = {
        name: softened(filled[name], labels) for name in (*BONES, "patella") if name in filled
    }
    surfaces = {name: surface_of(occupancy, name) for name, occupancy in smooth.items()}
    width = found.size * PLATEAU_WIDTH_MM
    field = Box.of(labels, MARGIN_MM, REACH_MM)
    known = Box.of(labels, MARGIN_MM, min(BOX_MM) / 2)
    return Knee(
        {name: Bone(surfaces[name], as_bytes(smooth[name]), known) for name in BONES},
        field,
        width,
        _plates(filled, surfaces, known),
        joint_space(surfaces["femur"], surfaces["tibia"], width),
        resample(labels, canonical_affine(GRID), GRID, order=0)[0],
        found.centre,
    )


def joint_space_of(labels: Volume, side: str) -> dict[str, float]:
    """Only the joint space, mm by compartment; arguments and errors as for `knee_of`."""
    labels, found = centred(labels, side)
    surfaces = {
        name: surface_of(softened(one, labels), name)
        for name, one in _occupied(labels, BONES).items()
    }
    return joint_space(surfaces["femur"], surfaces["tibia"], found.size * PLATEAU_WIDTH_MM)


def centred(labels: Volume, side: str) -> tuple[Volume, Landmarks]:
    """The map as a right knee with the joint's centre at the origin, and its landmarks."""
    found = find_landmarks(labels, side)
    if side == "left":
        labels = mirror_volume(labels, float(found.centre[0]))
    affine = labels.affine.copy()
    affine[:3, 3] -= found.centre
    return Volume(labels.array, affine), found


def _occupied(labels: Volume, names: Sequence[str]) -> dict[str, Volume]:
    return occupancies(
        labels, {name: tuple(CODES[part] for part in _STRUCTURES[name]) for name in names}
    )


def _plates(
    filled: Mapping[str, Volume], surfaces: Mapping[str, Surface], known: Box
) -> dict[str, Plate]:
    grid = filled["femur"]
    cartilages = {name: one for name, one in filled.items() if name.endswith("cartilage")}
    return cartilage_plates(cartilages, surfaces, Volume(known.mask(grid), grid.affine))


def as_bytes(occupancy: Volume) -> Volume:
    """An occupancy f32 in [0, 1] as u8, times FULL."""
    return Volume(np.rint(occupancy.array * FULL).astype(np.uint8), occupancy.affine)
