"""The measured population of knees: departures of bones from an atlas, and draws of them.

`population.json` holds the measurements of `tools.anatomy.population` in segmented knees: means,
standard deviations and correlations of the offsets of bone surfaces at a few places, of cartilage
thickness by region, of sizes and of poses. All lengths refer to a knee whose tibial plateau is
`geometry.PLATEAU_MM` wide. A Gaussian process interpolates between the places.
"""

import dataclasses
import functools
import json
from importlib import resources

import numpy as np

from xr2mri_jax.simulation.atlas import SIZE, VOXEL_MM

FILE = "population.json"
BONES = ("femur", "tibia", "patella")
# The kernel's width in mm by bone: about the distance between places.
KERNEL_MM = {"femur": 14.0, "tibia": 14.0, "patella": 9.0}
CARTILAGE_MM = 11.0
# Variance of an offset's error relative to the kernel's, which keeps the interpolation smooth.
_NOISE = 0.03
# Share of every measured correlation that is kept, because a few dozen knees overestimate them.
# Between places of one bone the rest decreases with their distance.
_KEPT, _NEAR_MM = 0.8, 20.0
# Compensates the loss of an offset's deviation by averaging and smooth interpolation.
_SPREAD = 1.2
# Factor of the spread of joint spaces: drawing by grade spreads them further.
_SPACE_SPREAD = 0.8
_CUT = 2.5  # draws are clipped at this many deviations
_NODES = 25  # nodes per axis of the grid on which displacements are computed


@dataclasses.dataclass(frozen=True, eq=False)
class SurfacePoints:
    """The places where one bone was measured.

    Attributes:
      points: f64[n, 3], (d, h, w) in mm of the atlas' frame, on the bone's surface.
      normals: f64[n, 3], unit vectors out of the bone.
    """

    points: np.ndarray
    normals: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """Statistics of m quantities.

    Attributes:
      names: of the quantities; a part's quantities begin with its name and a dot.
      mean, deviation: f64[m].
      factor: f64[m, m]: factor @ standard normal numbers has the correlation.
      places: by bone of BONES, in the order of its quantities.
      regions: f64[r, 3] mm, the middles of the cartilage regions, in the order of their quantities.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    factor: np.ndarray
    places: dict[str, SurfacePoints]
    regions: np.ndarray

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draws one knee's quantities by part, f64[n] each, in the order of the part's names."""
        normal = np.clip(self.factor @ rng.standard_normal(len(self.names)), -_CUT, _CUT)
        return self.parted(self.mean + self.deviation * normal)

    def without_shapes(self) -> "Population":
        """The same sizes, poses and joint spaces, without departures of surfaces or cartilage.

        For an atlas of many maps, whose own shapes are the variety.
        """
        shape, cartilage = np.isin(self._part, BONES), self._part == "cartilage"
        mean = np.where(shape, 0.0, np.where(cartilage, 1.0, self.mean))
        deviation = np.where(shape | cartilage, 0.0, self.deviation)
        return dataclasses.replace(self, mean=mean, deviation=deviation)

    def parted(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Groups quantities f64[m] by part."""
        part = self._part
        return {name: values[part == name] for name in dict.fromkeys(part.tolist())}

    @property
    def _part(self) -> np.ndarray:
        """The part of every quantity."""
        return np.array([name.split(".")[0] for name in self.names])


@functools.cache
def population() -> Population:
    """The statistics in the package."""
    text = resources.files("xr2mri_jax.simulation").joinpath(FILE).read_text()
    return read(json.loads(text))


def read(table: dict) -> Population:
    """Statistics from the content of `population.json`."""
    names = tuple(table["names"])
    places = {
        bone: SurfacePoints(
            *(np.array(table["places"][bone][key]) for key in ("points", "normals"))
        )
        for bone in BONES
    }
    m = len(names)
    correlation = np.eye(m)
    correlation[np.triu_indices(m, 1)] = table["correlation"]
    correlation = np.triu(correlation) + np.triu(correlation, 1).T
    rest = np.eye(m)
    for bone in BONES:
        index = np.flatnonzero([name.startswith(f"{bone}.") for name in names])
        apart = np.linalg.norm(places[bone].points[:, None] - places[bone].points[None], axis=-1)
        rest[np.ix_(index, index)] = np.exp(-0.5 * (apart / _NEAR_MM) ** 2)
    values, vectors = np.linalg.eigh(_KEPT * correlation + (1 - _KEPT) * rest)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    factor /= np.linalg.norm(factor, axis=1, keepdims=True)
    deviation = np.array(table["deviation"])
    deviation[[name.split(".")[0] in (*BONES, "cartilage") for name in names]] *= _SPREAD
    deviation[[name.startswith("space.") for name in names]] *= _SPACE_SPREAD
    return Population(
        names, np.array(table["mean"]), deviation, factor, places,
        np.array(table["regions"]),
    )  # fmt: skip


def displacement(bone: str, offsets: np.ndarray) -> np.ndarray:
    """A smooth displacement that moves the places of a bone by `offsets` along their normals.

    Args:
      bone: one of BONES.
      offsets: f64[n], mm, positive out of the bone.

    Returns:
      f32[3, NODES, NODES, NODES]: (d, h, w) in mm, on nodes over the atlas' grid.
    """
    kernel, inverse = _interpolation(bone)
    weights = (inverse @ offsets)[:, None] * population().places[bone].normals
    field = kernel @ weights.astype(np.float32)
    return field.T.reshape(3, *(_NODES,) * 3)


def thickening(factors: np.ndarray) -> np.ndarray:
    """Smooth factor of the cartilages' thickness from factors f64[r] in the regions.

    Returns:
      f32[NODES, NODES, NODES] > 0, on nodes over the atlas' grid.
    """
    departed = _near_regions() @ (factors - 1.0).astype(np.float32)
    return np.maximum(1.0 + departed, 0.1).reshape((_NODES,) * 3)


@functools.cache
def _interpolation(bone: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel f32[nodes, n] between nodes and places, and the inverse f64[n, n] between places."""
    places, width = population().places[bone], KERNEL_MM[bone]
    apart = np.linalg.norm(places.points[:, None] - places.points[None], axis=-1)
    alike = (places.normals @ places.normals.T) * np.exp(-0.5 * (apart / width) ** 2)
    inverse = np.linalg.inv(alike + _NOISE * np.eye(len(alike)))
    return _gaussian(places.points, width), inverse


@functools.cache
def _near_regions() -> np.ndarray:
    """Weights f32[nodes, r] of the regions at every node."""
    near = _gaussian(population().regions, CARTILAGE_MM)
    return near / (near.sum(axis=1, keepdims=True) + 0.02)


def _gaussian(points: np.ndarray, width: float) -> np.ndarray:
    """f32[nodes, n]: Gaussians of the distance from every node to every point."""
    axis = ((np.arange(_NODES) + 0.5) / _NODES - 0.5) * SIZE * VOXEL_MM
    d, h, w = (np.exp(-0.5 * ((axis[:, None] - x) / width) ** 2) for x in points.T)
    product = d[:, None, None] * h[None, :, None] * w[None, None]
    return product.reshape(-1, len(points)).astype(np.float32)
