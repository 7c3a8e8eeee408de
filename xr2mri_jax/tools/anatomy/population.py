"""Measures `simulation/population.json`: departures of segmented knees from an atlas.

Every bone is aligned to the atlas' mean bone by a similarity. Offsets are taken along the normals
of the mean bone, averaged over a few millimetres around each place. The content is means, standard
deviations and correlations only.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from skimage.measure import marching_cubes

from xr2mri_jax.simulation.atlas import SIZE, VOXEL_MM, Atlas
from xr2mri_jax.simulation.family import FEMUR_PIVOT, PATELLA_PIVOT
from xr2mri_jax.simulation.population import BONES
from xr2mri_jax.tools.anatomy.frames import Reference, Similarity, align
from xr2mri_jax.tools.anatomy.surfaces import Surface

COUNTS = {"femur": 72, "tibia": 72, "patella": 32}
# Range of heights in mm below the joint's centre where a bone is measured: visible in all maps.
ENDS = {"femur": (-46.0, 60.0), "tibia": (-60.0, 44.0), "patella": (-99.0, 99.0)}
_OUTERS = {"femur": "femoral_outer", "tibia": "tibial_outer", "patella": "patellar_outer"}
_SIGMA_MM = 5.0
_FAR_MM = 9.0  # larger offsets have no counterpart
_THIN_MM = 0.8  # thinner cartilage of the atlas has no region
# From (x, y, z), medially, posteriorly, inferiorly, to (d, h, w) and back.
TO_DHW, TO_XYZ = [1, 2, 0], [2, 0, 1]


class Measured(NamedTuple):
    """One bone of n knees: frames, offsets f64[n, k] and ratios of thickness f64[n, r]."""

    frames: list[Similarity]
    points: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray
    regions: np.ndarray
    ratios: np.ndarray


class Departures(NamedTuple):
    """Departures of n knees from the atlas: f64[n] by quantity, and their bones."""

    columns: dict[str, np.ndarray]
    bones: dict[str, Measured]

    def statistics(self, knees: Sequence[int] | None = None) -> dict[str, Any]:
        """The content of `population.json` for some knees, by their numbers; None: for all."""
        count = len(self.columns["size.femur"])
        chosen = list(range(count)) if knees is None else list(knees)
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return _table(columns, self.bones, len(chosen))


def measure_population(
    atlas: Atlas, knees: Sequence[Mapping[str, Surface]], spaces: np.ndarray
) -> dict[str, Any]:
    """The content of `population.json`; arguments as for `measure_departures`."""
    return measure_departures(atlas, knees, spaces).statistics()


def measure_departures(
    atlas: Atlas, knees: Sequence[Mapping[str, Surface]], spaces: np.ndarray
) -> Departures:
    """Measures knees at the places where they are compared with the atlas' bones.

    Args:
      atlas: of the family.
      knees: n knees with all of BONES, from `surfaces.find_surfaces`.
      spaces: f64[n, 2], medial and lateral joint space in mm of knees without wear at the usual
        plateau width; NaN for the others.
    """
    bones = {bone: _measured(atlas, bone, [knee[bone] for knee in knees]) for bone in BONES}
    columns: dict[str, np.ndarray] = {}
    for bone, found in bones.items():
        columns |= {f"{bone}.{i}": found.offsets[:, i] for i in range(found.offsets.shape[1])}
    ratios = np.concatenate([found.ratios for found in bones.values()], axis=1)
    columns |= {f"cartilage.{i}": ratios[:, i] for i in range(ratios.shape[1])}
    scale = {bone: np.log([f.scale for f in found.frames]) for bone, found in bones.items()}
    columns |= {f"size.{bone}": scale[bone] - scale["tibia"] for bone in ("femur", "patella")}
    for part, bone, beside, pivot in (
        ("pose", "femur", "tibia", FEMUR_PIVOT),
        ("tracking", "patella", "femur", PATELLA_PIVOT),
    ):
        pairs = zip(bones[bone].frames, bones[beside].frames, strict=True)
        values = np.array([_pose(one, other, pivot) for one, other in pairs])
        columns |= {f"{part}.{i}": values[:, i] for i in range(6)}
    columns |= {f"space.{side}": spaces[:, i] for i, side in enumerate(("medial", "lateral"))}
    return Departures(columns, bones)


def mean_bone(atlas: Atlas, bone: str) -> Reference:
    """The surface of the atlas' mean bone, in (x, y, z) mm of its frame."""
    points, normals = surface_points(atlas.distances[bone].mean(axis=0))
    return Reference(points, normals, ENDS[bone])


def surface_points(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals f64[n, 3] in (x, y, z) of the zero level of f32[SIZE, SIZE, SIZE] mm."""
    vertices, _, normals, _ = marching_cubes(distance, 0.0, gradient_direction="ascent")
    inner = ((vertices > 1) & (vertices < SIZE - 2)).all(axis=1)
    points = (vertices[inner] - (SIZE - 1) / 2) * VOXEL_MM
    return points[:, TO_XYZ], -normals[inner][:, TO_XYZ]


def interpolate(distance: np.ndarray, points: np.ndarray) -> np.ndarray:
    """f64[n]: the nearest voxel of f32[SIZE, SIZE, SIZE] at (x, y, z) mm."""
    place = np.rint(points[:, TO_DHW] / VOXEL_MM + (SIZE - 1) / 2).astype(int)
    return distance[tuple(np.clip(place, 0, SIZE - 1).T)]


def _measured(atlas: Atlas, bone: str, surfaces: Sequence[Surface]) -> Measured:
    reference = mean_bone(atlas, bone)
    low, high = ENDS[bone]
    kept = (reference.points[:, 2] > low) & (reference.points[:, 2] < high)
    points, normals = reference.points[kept], reference.normals[kept]
    chosen = _spread(points, COUNTS[bone])
    shares = _shares(points, normals, chosen)
    frames = [align(one.points, reference) for one in surfaces]
    offsets, thickness = [], []
    for one, frame in zip(surfaces, frames, strict=True):
        local = frame.local(one.points)
        index = cKDTree(local).query(points)[1]
        away = np.sum((local[index] - points) * normals, axis=1)
        good = (np.abs(away) < _FAR_MM) * 1.0
        offsets.append(shares @ (away * good) / np.maximum(shares @ good, 1e-6))
        thickness.append(shares @ one.cartilage[index] / frame.scale)
    own = -interpolate(atlas.distances[_OUTERS[bone]].mean(axis=0), points)
    usual = shares @ np.maximum(own, 0.0)
    covered = (usual > _THIN_MM) & (np.mean(thickness, axis=0) > _THIN_MM)
    return Measured(
        frames,
        points[chosen],
        normals[chosen],
        np.array(offsets),
        points[chosen][covered],
        np.array(thickness)[:, covered] / usual[covered],
    )


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` points, each the farthest from those before it."""
    chosen, away = [0], np.full(len(points), np.inf)
    while len(chosen) < count:
        away = np.minimum(away, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(away.argmax()))
    return np.array(chosen)


def _shares(points: np.ndarray, normals: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """f64[k, n]: weights of the points around each chosen one, on the same side of the bone."""
    apart = np.linalg.norm(points[chosen][:, None] - points[None], axis=-1)
    weight = np.exp(-0.5 * (apart / _SIGMA_MM) ** 2) * (normals[chosen] @ normals.T > 0.3)
    return weight / weight.sum(axis=1, keepdims=True)


def _pose(bone: Similarity, beside: Similarity, pivot: np.ndarray) -> np.ndarray:
    """The pose of a bone relative to its neighbour, as `family.measured_pose` takes it."""
    turn = (bone.rotation @ beside.rotation.T)[np.ix_(TO_DHW, TO_DHW)]
    middle = pivot[TO_XYZ][None]
    shift = (beside.local(bone.outer(middle)) - middle)[0, TO_DHW]
    return np.concatenate([np.rad2deg(Rotation.from_matrix(turn).as_rotvec()), shift])


def _table(
    columns: Mapping[str, np.ndarray], bones: Mapping[str, Measured], count: int
) -> dict[str, Any]:
    values = np.stack(list(columns.values()), axis=1)
    mean, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)
    scores = np.nan_to_num((values - mean) / deviation)
    known = np.isfinite(values).astype(float)
    correlation = scores.T @ scores / np.maximum(known.T @ known - 1, 1)
    return {
        "source": f"xr2mri benchmark --suite=anatomy: {count} segmented knees",
        "names": list(columns),
        "mean": np.round(mean, 3).tolist(),
        "deviation": np.round(deviation, 3).tolist(),
        "correlation": np.round(correlation[np.triu_indices(len(mean), 1)], 2).tolist(),
        "places": {
            bone: {
                "points": np.round(found.points[:, TO_DHW], 1).tolist(),
                "normals": np.round(found.normals[:, TO_DHW], 2).tolist(),
            }
            for bone, found in bones.items()
        },
        "regions": np.round(
            np.concatenate([found.regions for found in bones.values()])[:, TO_DHW], 1
        ).tolist(),
    }
