"""A family of simulated knees from an atlas: mixed, deformed, worn, posed and imaged.

Every knee is scaled to the same plateau width, because a radiograph without pixel spacing does not
determine the size: the network learns the shape, and the caller scales the prediction.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from scipy import ndimage

from xr2mri_jax.geometry import BOX_MM, PLATEAU_MM, SIDES
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.mri import CARTILAGE_LEVEL, signal_table
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.simulation import framing, projection
from xr2mri_jax.simulation.atlas import (
    GROUPS,
    LIMIT_MM,
    SIZE,
    VOXEL_MM,
    Atlas,
    near_surface,
    on_grid,
)
from xr2mri_jax.simulation.population import Population, displacement, population, thickening
from xr2mri_jax.simulation.poses import (
    SPACE_MM,
    STILL,
    RadiographPose,
    compose,
    draw_radiograph_pose,
    gaps,
    measured_pose,
    narrowed_spaces,
    plateau_points,
    with_joint_spaces,
)

# Distances are computed on voxels of 2 mm and stored on voxels of 4 mm, because they are smooth.
DISTANCE_SHAPE, STORED_SHAPE = (64, 64, 64), (32, 32, 32)
# Nodes per axis and standard deviation (mm) of random displacement fields, which add details finer
# than the spacing of the measured places.
FIELDS = ((9, 0.35), (17, 0.25))
# Standard deviation of the share of each of the atlas' knees.
MIXTURE = 0.15
# Points, (d, h, w) in mm, about which measured sizes and poses scale and rotate the bones.
FEMUR_PIVOT, PATELLA_PIVOT = np.array([5.0, -20.0, 0.0]), np.array([-58.0, -38.0, -3.0])
# By cartilage: a factor of its thickness, and the thickness in mm at which its margin begins and
# is complete. Mixing knees whose plates end at different places gives thin, wide margins; with
# these values, drawn plates have the covered area and the mean thickness of measured ones.
THICKNESS = {"femoral_outer": 0.97, "tibial_outer": 0.98, "patellar_outer": 0.97}
MARGIN_MM = {"femoral_outer": (0.4, 1.3), "tibial_outer": (0.1, 0.7), "patellar_outer": (0.6, 1.6)}
# The mean of patellas whose ridges lie at different places is too thin: this factor corrects it.
DEEPER = np.array([1.06, 1.0, 1.0])
# Shares of the Kellgren-Lawrence grades 0 to 4.
_GRADE_SHARES = (0.34, 0.16, 0.24, 0.16, 0.10)
FILM_PIXELS = 224  # of a radiograph's frame, as in real crops


@dataclasses.dataclass(frozen=True, eq=False)
class Knee:
    """A drawn knee before it is imaged.

    Attributes:
      distances: by name f32[SIZE, SIZE, SIZE], each bone separately in its own frame.
      femur, patella: matrix f64[3, 3] and offset f64[3]: mm of the scan -> mm of the bone's frame.
      seen: the poses of the bones in the radiograph.
      zoom: mm of the box -> mm of the knee.
      grade: Kellgren-Lawrence grade, 0 to 4.
      gaps: least medial and lateral distance between the bones, mm.
    """

    distances: dict[str, np.ndarray]
    femur: tuple[np.ndarray, np.ndarray]
    patella: tuple[np.ndarray, np.ndarray]
    seen: RadiographPose
    zoom: float
    grade: int
    gaps: tuple[float, float]


def draw_case(
    atlas: Atlas,
    seed: int,
    index: int,
    shape: tuple[int, int, int],
    strange: float = 1.0,
    measured: Population | None = None,
) -> dict[str, Any]:
    """Draws and images knee `index` of a family.

    Args:
      atlas: from `atlas.build`.
      seed: identifies the family, 0 or more.
      index: number of the knee, 0 or more.
      shape: (d, h, w) in voxels over the canonical box.
      strange: factor of the variation that no population was measured for: random displacements and
        errors of the frame. Held-out knees with a larger factor than the training's predict the
        performance on patients better than knees of the same kind.
      measured: as for `draw_knee`.

    Returns:
      The same as `phantom.case.simulate_case`, with `distances` i8[k, 32, 32, 32], see
      `surfaces.stored`. The MRI has 256 levels and no noise, which cannot be predicted from a
      radiograph; the radiograph is framed by `framing`.
    """
    rng = np.random.default_rng([seed, index])
    knee = draw_knee(atlas, rng, strange, measured)
    jitter = framing.Jitter.draw(rng, strange)
    distances = scan_distances(knee, jitter)
    fine = surfaces.resized(distances, shape)
    labels = surfaces.labels(fine)
    leg = int(rng.integers(len(atlas.signal)))
    mri = _mri(fine, _soft(atlas.signal[leg], knee, jitter, shape), rng)
    frame = framing.Frame.draw(jitter, rng)
    backward = compose(jitter.backward(knee.zoom), frame.backward())
    standing = projection.Standing(knee.distances, knee.seen, knee.zoom)
    image = projection.radiograph(standing, backward, frame, atlas.path[leg], FILM_PIXELS, rng)
    xray = framing.canvas(image, shape[1], frame)
    return {
        "xray": np.rint(xray * 65535).astype(np.uint16)[..., None],
        "mri": (np.rint(mri * 255).astype(np.uint16) * 257)[..., None],
        "mask": np.ones((*shape, 1), np.uint8),
        "labels": labels,
        "distances": surfaces.stored(surfaces.halved(distances)),
        "side": SIDES.index("right"),
        "kl": knee.grade,
        "subject": f"family{seed}_{index:06d}",
        "spacing": np.array([b / n for b, n in zip(BOX_MM, shape, strict=True)], np.float32),
    }


def draw_knee(
    atlas: Atlas, rng: np.random.Generator, strange: float = 1.0, measured: Population | None = None
) -> Knee:
    """Draws shape, wear and poses.

    Args as for `draw_case`; measured: statistics at the package's own places; None: the package's.
    """
    drawn, shapes, grade = draw_shapes(atlas, rng, strange, measured)
    points = plateau_points(shapes["tibia"])
    zoom = zoom_of(shapes["tibia"])
    wanted = narrowed_spaces((drawn["space"] + SPACE_MM) * zoom, grade, rng)
    lying = measured_pose(drawn["pose"], FEMUR_PIVOT)
    femur = with_joint_spaces(shapes["femur"], points, lying, wanted)
    tracking = measured_pose(drawn["tracking"], PATELLA_PIVOT)
    seen = draw_radiograph_pose(shapes["femur"], points, femur, tracking, wanted, rng)
    space = tuple(gaps(shapes["femur"], points, femur))
    return Knee(shapes, femur, compose(tracking, femur), seen, zoom, grade, space)


def draw_shapes(
    atlas: Atlas, rng: np.random.Generator, strange: float = 1.0, measured: Population | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """Draws a knee's measures, its surfaces with the osteophytes of a grade, and the grade.

    Args as for `draw_knee`.

    Returns:
      The result of `Population.draw`; by name of `surfaces.NAMES` f32[SIZE, SIZE, SIZE], mm, each
      bone in its own frame; the Kellgren-Lawrence grade, 0 to 4.
    """
    drawn = (measured or population()).draw(rng)
    shapes = mix_bones(atlas, drawn, rng, strange)
    grade = int(rng.choice(len(_GRADE_SHARES), p=_GRADE_SHARES))
    _with_osteophytes(shapes, grade, rng)
    return drawn, shapes, grade


def mix_bones(
    atlas: Atlas,
    drawn: dict[str, np.ndarray],
    rng: np.random.Generator,
    strange: float,
    wanted: Collection[str] = NAMES,
) -> dict[str, np.ndarray]:
    """Mixes the distances of the atlas and deforms them by the measured departures `drawn`.

    Returns:
      By name of `wanted` f32[SIZE, SIZE, SIZE], mm, in each bone's own frame.
    """
    count = len(atlas.distances["femur"])
    weights = 1 / count + MIXTURE * (lambda x: x - x.mean())(rng.normal(size=count))
    axis = ((np.arange(SIZE) - (SIZE - 1) / 2) * VOXEL_MM).astype(np.float32)
    place = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    random = sum(_field(rng, nodes, strange * deviation) for nodes, deviation in FIELDS)
    sizes = np.exp(drawn["size"])
    scales = {
        "femur": (np.full(3, sizes[0]), FEMUR_PIVOT),
        "tibia": (np.ones(3), np.zeros(3)),
        "patella": (sizes[1] * DEEPER, PATELLA_PIVOT),
    }
    factor = surfaces.resized(thickening(drawn["cartilage"])[None], (SIZE,) * 3)[0]
    found: dict[str, np.ndarray] = {}
    for bone, names in GROUPS.items():
        field = random + surfaces.resized(displacement(bone, drawn[bone]), (SIZE,) * 3, order=3)
        for name in (n for n in names if n in wanted):
            source = np.tensordot(weights, atlas.distances[name], axes=1).astype(np.float32)
            if name.endswith("outer"):
                bare = np.tensordot(weights, atlas.distances[bone], axes=1).astype(np.float32)
                source = bare - _with_margin(THICKNESS[name] * factor * (bare - source), name)
            box = _bounds(source, 14.0)
            inside = (slice(None), *box)
            scale, pivot = (a.astype(np.float32)[:, None, None, None] for a in scales[bone])
            where = (place[inside] - pivot) / scale + pivot - field[inside]
            values = ndimage.map_coordinates(
                source, where / VOXEL_MM + (SIZE - 1) / 2, order=1, mode="nearest",
                output=np.float32,
            )  # fmt: skip
            result = np.full(source.shape, LIMIT_MM, np.float32)
            result[box] = values * float(np.cbrt(np.prod(scale)))
            found[name] = result
    return found


def _with_margin(thickness: np.ndarray, name: str) -> np.ndarray:
    """Thickness in mm of a cartilage that ends at its margin; thick parts stay unchanged."""
    begun, whole = MARGIN_MM[name]
    share = np.clip((thickness - begun) / (whole - begun), 0.0, 1.0)
    return thickness * share**2 * (3.0 - 2.0 * share)


def _bounds(distance: np.ndarray, margin_mm: float) -> tuple[slice, ...]:
    (box,) = ndimage.find_objects((distance < 0).astype(np.uint8))
    margin = round(margin_mm / VOXEL_MM)
    return tuple(slice(max(s.start - margin, 0), min(s.stop + margin, SIZE)) for s in box)


def _field(rng: np.random.Generator, nodes: int, deviation: float) -> np.ndarray:
    """Smooth displacement f32[3, SIZE, SIZE, SIZE] in mm: cubic splines through random nodes."""
    drawn = (deviation * rng.standard_normal((3, nodes, nodes, nodes))).astype(np.float32)
    return surfaces.resized(drawn, (SIZE,) * 3, order=3)


def _with_osteophytes(mixed: dict[str, np.ndarray], grade: int, rng: np.random.Generator) -> None:
    """Adds lips of bone at the margins of the joint, in place."""
    axis = ((np.arange(SIZE) - (SIZE - 1) / 2) * VOXEL_MM).astype(np.float32)
    height, width = axis[:, None], axis[None, :]
    for bone, outer, level in (("femur", "femoral_outer", -4.0), ("tibia", "tibial_outer", 5.0)):
        for sign in (-1.0, 1.0):
            size = (0.0, 0.3, 0.9, 1.6, 2.6)[grade] * rng.uniform(0.2, 1.8)
            rim = 1 / (1 + np.exp(-(sign * width - 29) / 2.5))
            lip = size * rim * np.exp(-0.5 * ((height - level) / 3.0) ** 2)
            mixed[bone] = mixed[bone] - lip
            mixed[outer] = mixed[outer] - lip


def zoom_of(tibia: np.ndarray) -> float:
    """Width of the plateau, 9 to 20 mm below the tip of the spines, over PLATEAU_MM."""
    inside = tibia < 0
    top = int(np.argmax(inside.sum(axis=(0, 2)) > 3))
    rows = slice(top + round(9 / VOXEL_MM), top + round(20 / VOXEL_MM))
    columns = np.flatnonzero(inside[:, rows].any(axis=(0, 1)))
    return float(columns[-1] - columns[0]) * VOXEL_MM / PLATEAU_MM


def scan_distances(knee: Knee, jitter: framing.Jitter) -> np.ndarray:
    """Signed distances f32[k, 64, 64, 64] in the pose of the scan, over the canonical box."""
    matrix, offset = jitter.backward(knee.zoom)
    found = {}
    for name in NAMES:
        pose = knee.femur if name.startswith(("femur", "femoral")) else (
            knee.patella if name.startswith("patell") else STILL
        )  # fmt: skip
        first, shift = compose(pose, (matrix, offset))
        found[name] = (
            near_surface(knee.distances[name], first, shift, DISTANCE_SHAPE, 9.0) / knee.zoom
        )
    _separate_cartilages(found)
    return np.stack([found[name] for name in NAMES])


def _separate_cartilages(found: dict[str, np.ndarray]) -> None:
    """Separates overlapping cartilages halfway, never inside a bone; in place."""
    femoral, tibial = found["femoral_outer"], found["tibial_outer"]
    half = 0.5 * (femoral - tibial)
    found["femoral_outer"] = np.minimum(np.maximum(femoral, half), found["femur"])
    found["tibial_outer"] = np.minimum(np.maximum(tibial, -half), found["tibia"])
    for name in ("medial_meniscus", "lateral_meniscus"):
        room = np.minimum(found["femoral_outer"], found["tibial_outer"])
        found[name] = np.maximum(found[name], -room)


def _soft(
    signal: np.ndarray, knee: Knee, jitter: framing.Jitter, shape: tuple[int, int, int]
) -> np.ndarray:
    matrix, offset = jitter.backward(knee.zoom)
    half = on_grid(signal, matrix, offset, DISTANCE_SHAPE)
    return surfaces.resized(half[None], shape)[0]


def _mri(fine: np.ndarray, soft: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The DESS scan without noise, f32[d, h, w] in [0, 1]."""
    table, voxel = signal_table(), 1.3
    by_name = dict(zip(NAMES, fine, strict=True))
    cover = {name: np.clip(0.5 - d / voxel, 0, 1) for name, d in by_name.items()}
    image = soft
    for name in ("medial_meniscus", "lateral_meniscus"):
        image = image + cover[name] * (table[CODES[name]] - image)
    for bone, outer in (("femur", "femoral_outer"), ("tibia", "tibial_outer"),
                        ("patella", "patellar_outer")):  # fmt: skip
        image = image + cover[outer] * (1.0 - image)
        image = _with_bone(image, by_name[bone], cover[bone], table, voxel)
    image = _with_bone(image, by_name["fibula"], cover["fibula"], table, voxel)
    small = rng.normal(1.0, 0.06, (5, 5, 5)).astype(np.float32)
    image = image * surfaces.resized(small[None], image.shape, order=3)[0]
    return np.clip(CARTILAGE_LEVEL * image, 0.0, 1.0)


def _with_bone(
    image: np.ndarray, distance: np.ndarray, cover: np.ndarray, table: np.ndarray, voxel: float
) -> np.ndarray:
    marrow = np.clip(0.5 - (distance + 1.0) / voxel, 0, 1)
    inside = table[CODES["cortical_bone"]] + marrow * (
        table[CODES["femur"]] - table[CODES["cortical_bone"]]
    )
    return image + cover * (inside - image)
