"""Radiographs of a family's knees alone, framed as a grader sees them, with the signs of a grade.

The same knee is imaged once for every grade, each time in another pose and on another film, so that
its shape says nothing about its grade.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from xr2mri_jax.geometry import CENTRE_ROW, LINE_SHARE, PLATEAU_MM, SIDES
from xr2mri_jax.simulation import family, framing, margins, poses, projection
from xr2mri_jax.simulation.atlas import Atlas, near_surface
from xr2mri_jax.simulation.population import Population, population
from xr2mri_jax.simulation.poses import Pose
from xr2mri_jax.simulation.signs import Signs

GRADES = (0, 1, 2, 3, 4)
BONES = ("femur", "patella", "tibia", "fibula")
# Depth of a slab, and how many: 144 mm along the beam.
_SLAB_MM, _SLABS = 3.0, 48
_SOFT_MM = 0.8  # over which a surface is blurred
# Deviation of a frame's width, relative, and of the joint's row.
_WIDTH, _ROW = 0.05, 0.025
# Brings the joint line, found as in real crops, to the middle and to the horizontal: mm, degrees.
_DOWN_MM, _RIGHT_MM, _TURN = -1.8, 2.7, 3.4
# Median strength of the trabeculae: that of real radiographs' finest wavelengths.
_TRABECULAE = 0.009


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where the film shows the knee.

    Attributes:
      wide_mm: width and height of the frame, mm of a knee whose plateau is PLATEAU_MM wide.
      middle_mm: (d, h, w) of the frame's middle from the joint's centre.
      turn: in the frontal plane, radians.
    """

    wide_mm: float
    middle_mm: tuple[float, float, float]
    turn: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Frame":
        """Draws a frame as real crops differ."""
        wide = PLATEAU_MM / LINE_SHARE * float(np.exp(rng.normal(0, _WIDTH)))
        down = -wide * (CENTRE_ROW - 0.5 + rng.normal(0, _ROW)) + _DOWN_MM
        right = rng.normal(_RIGHT_MM, 1.5)
        return cls(wide, (0.0, down, right), float(np.deg2rad(rng.normal(_TURN, 2.5))))

    def backward(self, zoom: float) -> Pose:
        """Matrix and offset from mm of the frame to mm of a knee, `zoom` times as wide."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        matrix = zoom * np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
        return matrix, matrix @ np.array(self.middle_mm)


def draw_radiographs(
    atlas: Atlas, seed: int, index: int, pixels: int, measured: Population | None = None
) -> list[dict[str, Any]]:
    """Draws knee `index` of a family and takes its radiograph with every grade.

    Args:
      atlas: from `atlas.build`.
      seed: names the family, 0 or more.
      index: number of the knee, 0 or more.
      pixels: of the frame, each way.
      measured: as for `family.draw_knee`.

    Returns:
      For each grade of GRADES: xray u16[pixels, pixels, 1], value / 65535 in [0, 1], bone bright;
      side and kl, integers; subject, the same for all grades; spacing f32[2], mm of a pixel.
    """
    rng = np.random.default_rng([seed, index])
    drawn = (measured or population()).draw(rng)
    bones = family.mixed(atlas, drawn, rng, 1.0, BONES)
    examples = []
    for grade in GRADES:
        frame = Frame.draw(rng)
        path = _path(atlas, bones, drawn, Signs.draw(grade, rng), frame, pixels, rng)
        xray = developed(path, frame.wide_mm / pixels, rng)
        examples.append(
            {
                "xray": np.rint(xray * 65535).astype(np.uint16)[..., None],
                "side": SIDES.index("right"),
                "kl": grade,
                "subject": f"family{seed}_{index:06d}",
                "spacing": np.full(2, frame.wide_mm / pixels, np.float32),
            }
        )
    return examples


def developed(path: np.ndarray, pixel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Line integrals f32[h, w] of a frame -> a radiograph in [0, 1] as departments differ."""
    blurred = ndimage.gaussian_filter(np.exp(-path), rng.uniform(0.1, 0.45) / pixel_mm)
    scattered = ndimage.gaussian_filter(blurred, framing.SCATTER_MM / pixel_mm, mode="nearest")
    counts = blurred + rng.uniform(0.0, 0.25) * scattered
    image = -np.log(np.maximum(counts, 1e-7))
    image = image + rng.normal(0, rng.uniform(0.0, 0.025), image.shape)
    # Edge enhancement, as of digital radiography.
    fine = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0) / pixel_mm, mode="nearest")
    image = image + rng.uniform(0.0, 1.5) * (image - fine)
    if rng.random() < 0.1:
        image = framing.with_marker(image, rng)
    slow = ndimage.gaussian_filter(image, rng.uniform(8, 20) / pixel_mm, mode="nearest")
    image = image - rng.uniform(0, 0.8) * slow
    image = framing.scaled(image, rng.uniform(0.2, 2.0), rng.uniform(98, 99.9))
    if rng.random() < 0.9:
        image = framing.equalised(image, rng)
    return framing.scaled(image ** float(np.exp(rng.normal(0, 0.25)))).astype(np.float32)


def _path(
    atlas: Atlas,
    bones: dict[str, np.ndarray],
    drawn: dict[str, np.ndarray],
    signs: Signs,
    frame: Frame,
    pixels: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Line integrals f32[pixels, pixels] of a knee with its signs, in a drawn pose."""
    zoom = family.zoom_of(bones["tibia"])
    matrix, offset = frame.backward(zoom)
    beam, seen = _posed(bones, drawn, signs, zoom, rng)
    shape, extent = (_SLABS, pixels, pixels), (_SLABS * _SLAB_MM, frame.wide_mm, frame.wide_mm)
    pixel = frame.wide_mm / pixels
    density, cortex = rng.uniform(0.8, 1.8), rng.uniform(0.2, 0.8)
    plate = rng.uniform(0.1, 0.7)
    total, spongy = np.zeros(shape[1:], np.float32), np.zeros(shape[1:], np.float32)
    for name in BONES:
        first, shift = poses.chained(seen[name], (beam @ matrix, beam @ offset))
        distance = near_surface(bones[name], first, shift, shape, 8.0, extent) / zoom
        shell = projection.shell(cortex, _shaft(pixels, frame))
        if name in signs.osteophytes:
            margins.grow(distance, name, signs.osteophytes[name], (_SLAB_MM, pixel), rng)
            shell = shell + margins.plates(distance, name, plate + signs.sclerosis, pixel)
        bone, marrow = _integrals(distance, density, shell, pixels, frame)
        share = rng.uniform(0.3, 1.0) if name == "patella" else 1.0
        total += share * bone
        spongy += share * marrow
    soft = atlas.path[int(rng.integers(len(atlas.path)))]
    flesh = projection.soft_path(soft, (matrix, offset), np.full(2, pixel), shape[1:])
    return (
        total
        + rng.uniform(0.75, 1.25) * flesh
        + projection.texture(spongy, density, rng, _TRABECULAE)
    )


def _posed(
    bones: dict[str, np.ndarray],
    drawn: dict[str, np.ndarray],
    signs: Signs,
    zoom: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, Pose]]:
    """The beam's rotation f64[3, 3] and the poses of the standing, flexed knee's bones."""
    points = poses.plateau_points(bones["tibia"])
    spaces = (drawn["space"] + poses.SPACE_MM) * zoom * np.exp(rng.normal(0, 0.08))
    wanted = np.clip(spaces * signs.left, 0.2, 8.0)
    slope = np.arctan(np.polyfit(points[:, 0], points[:, 1], 1)[0])
    tilt = np.clip(-slope + np.deg2rad(rng.normal(0, 3.0)), -0.35, 0.2)
    flexion = np.deg2rad(rng.uniform(2, 26))
    lying = poses.measured_pose(drawn["pose"], family.FEMUR_PIVOT)
    turned = poses.chained(lying, poses.turned(bones["femur"], flexion))
    flexed = poses.seated(bones["femur"], points, turned, wanted)
    tracking = poses.measured_pose(drawn["tracking"], family.PATELLA_PIVOT)
    matrix, offset = poses.chained(tracking, poses.chained(lying, poses.turned(
        bones["femur"], 0.7 * flexion)))  # fmt: skip
    standing = matrix, offset - matrix @ np.array([0.0, rng.normal(-5.0, 5.0), rng.normal(0, 2.0)])
    axial = poses.rotation(1, np.deg2rad(rng.normal(0, 4.0)))
    beam = (poses.rotation(2, float(tilt)) @ axial).T
    still = poses.STILL
    return beam, {"femur": flexed, "patella": standing, "tibia": still, "fibula": still}


def _shaft(pixels: int, frame: Frame) -> np.ndarray:
    middle = (np.arange(pixels) + 0.5) / pixels - 0.5
    return projection.shaft_share(np.abs(middle * frame.wide_mm + frame.middle_mm[1]))


def _integrals(
    distance: np.ndarray, density: float, shell: np.ndarray, pixels: int, frame: Frame
) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation a bone adds to muscle along the beam, and its path length in spongy bone, mm."""
    # Between slabs the distance is linear: a surface that the beam crosses covers a part of a slab.
    middle = 0.5 * (distance[1:] + distance[:-1])
    per_mm = 1 / np.maximum(np.abs(distance[1:] - distance[:-1]), np.float32(_SOFT_MM))
    cover = np.clip(0.5 - middle * per_mm, 0, 1).sum(axis=0)
    inside = np.clip(0.5 - (middle + shell) * per_mm, 0, 1).sum(axis=0)
    return projection.absorbed(cover, inside, density, _shaft(pixels, frame), _SLAB_MM)
