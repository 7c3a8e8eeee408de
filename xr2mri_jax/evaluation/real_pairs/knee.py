"""A label map as what is compared: bones as surfaces, cartilage by plate, joint space."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from xr2mri_jax.geometry import Volume, canonical_affine, mirror_volume, resample
from xr2mri_jax.metrics.joint import Plate, cartilage_plates, joint_space
from xr2mri_jax.metrics.occupancy import GRID, occupancies, softened
from xr2mri_jax.metrics.surfaces import Surface, surface_of
from xr2mri_jax.phantom.landmarks import Landmarks, find_landmarks
from xr2mri_jax.phantom.tissues import CODES

BONES = ("femur", "tibia")
REACH_MM = 48.0  # bone is compared within this distance of the joint's centre along each axis
# Labels drawn by hand taper off towards the ends of a map.
MARGIN_MM = 4.0
FULL = 255  # of an occupancy that is kept as u8
_WIDTH_OF_SIZE_1_MM = 74.0
_STRUCTURES = {
    "femur": ("femur",),
    "tibia": ("tibia",),
    "patella": ("patella",),
    "femoral_cartilage": ("femoral_cartilage",),
    "tibial_cartilage": ("medial_tibial_cartilage", "lateral_tibial_cartilage"),
    "patellar_cartilage": ("patellar_cartilage",),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Extent:
    """Where a map knows what is there: inside its grid, away from its ends.

    Attributes:
      to_index: f64[4, 4], RAS mm to voxel index.
      low, high: f64[3], voxel indices.
      reach_mm: from the origin along each axis.
    """

    to_index: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reach_mm: float = np.inf

    @classmethod
    def of(cls, volume: Volume, reach_mm: float = np.inf) -> "Extent":
        """The volume's grid without MARGIN_MM at its ends."""
        margin = MARGIN_MM / np.asarray(volume.spacing)
        high = np.asarray(volume.shape) - 0.5 - margin
        return cls(np.linalg.inv(volume.affine), margin - 0.5, high, reach_mm)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """bool[n] of points f64[n, 3]."""
        index = points @ self.to_index[:3, :3].T + self.to_index[:3, 3]
        inside = ((index >= self.low) & (index <= self.high)).all(axis=1)
        if np.isfinite(self.reach_mm):
            inside &= (np.abs(points) <= self.reach_mm).all(axis=1)
        return inside

    def moved(self, transform: np.ndarray) -> "Extent":
        """The extent of the map after its points were moved by f64[4, 4]."""
        return dataclasses.replace(self, to_index=self.to_index @ np.linalg.inv(transform))

    def mask(self, grid: Volume) -> np.ndarray:
        """bool of the grid's shape: the voxels inside."""
        index = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)
        return self(grid.world(index)).reshape(grid.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Bone:
    """One bone, RAS mm with the joint's centre at the origin.

    Attributes:
      surface: open where the map ends.
      occupied: occupancy times FULL, u8.
      extent: where it is known.
    """

    surface: Surface
    occupied: Volume
    extent: Extent

    def scaled(self, scale: float) -> "Bone":
        """About the joint's centre."""
        matrix = np.diag((scale, scale, scale, 1.0))
        one = self.surface
        return Bone(
            Surface(one.points * scale, one.normals, one.areas * scale**2, one.reach * scale),
            Volume(self.occupied.array, matrix @ self.occupied.affine),
            self.extent.moved(matrix),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Knee:
    """A right knee (a left one was mirrored), the joint's centre at the origin.

    Attributes:
      bones: by name, femur and tibia.
      field: where it is compared: the extent, and REACH_MM around the joint.
      width_mm: of the tibial plateau, see `landmarks.find_landmarks`.
      plates: cartilage by plate, within the field; empty of a map without cartilage.
      space_mm: joint space by compartment.
      labels: u8 on the 1 mm grid, for pictures.
    """

    bones: Mapping[str, Bone]
    field: Extent
    width_mm: float
    plates: Mapping[str, Plate]
    space_mm: Mapping[str, float]
    labels: Volume


def knee_of(labels: Volume, side: str) -> Knee:
    """What is compared of a map.

    Args:
      labels: codes of `tissues.TISSUES`, RAS mm of the patient.
      side: "left" or "right".

    Raises:
      InputError: no femur, tibia or joint between them, or another side than the map shows.
    """
    labels, found = centred(labels, side)
    names = [name for name, parts in _STRUCTURES.items() if set(parts) & set(found.present)]
    filled = _occupied(labels, names)
    bones = {name: filled[name] for name in (*BONES, "patella") if name in filled}
    smooth = {name: softened(occupancy, labels) for name, occupancy in bones.items()}
    surfaces = {name: surface_of(occupancy, name) for name, occupancy in smooth.items()}
    width = found.size * _WIDTH_OF_SIZE_1_MM
    field = Extent.of(labels, REACH_MM)
    extent = Extent.of(labels)
    return Knee(
        {name: Bone(surfaces[name], as_bytes(smooth[name]), extent) for name in BONES},
        field,
        width,
        _plates(filled, surfaces, field),
        joint_space(surfaces["femur"], surfaces["tibia"], width),
        resample(labels, canonical_affine(GRID), GRID, order=0)[0],
    )


def bones_of(labels: Volume, side: str) -> tuple[dict[str, Bone], float]:
    """The bones alone, and the width of the tibial plateau in mm; arguments as for `knee_of`."""
    labels, found = centred(labels, side)
    smooth = {name: softened(one, labels) for name, one in _occupied(labels, BONES).items()}
    extent = Extent.of(labels)
    bones = {
        name: Bone(surface_of(one, name), as_bytes(one), extent) for name, one in smooth.items()
    }
    return bones, found.size * _WIDTH_OF_SIZE_1_MM


def centred(labels: Volume, side: str) -> tuple[Volume, Landmarks]:
    """The map of a right knee with the joint's centre at the origin, and what was found in it."""
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
    filled: Mapping[str, Volume], surfaces: Mapping[str, Surface], field: Extent
) -> dict[str, Plate]:
    if not any(name.endswith("cartilage") for name in filled):
        return {}
    grid = filled["femur"]
    nothing = Volume(np.zeros(grid.shape, np.float32), grid.affine)
    cartilages = {name: filled.get(name, nothing) for name in _STRUCTURES if "cartilage" in name}
    return cartilage_plates(cartilages, surfaces, Volume(field.mask(grid), grid.affine))


def as_bytes(occupancy: Volume) -> Volume:
    """An occupancy f32 in [0, 1] as u8, times FULL."""
    return Volume(np.rint(occupancy.array * FULL).astype(np.uint8), occupancy.affine)
