"""Radiographs of a family's knees without MRI, framed for a grader, with the signs of each grade.

The same knee is imaged once per grade, each time in another pose and on another film, so that its
shape does not reveal its grade.
"""

from typing import Any

import numpy as np

from xr2mri_jax.geometry import SIDES
from xr2mri_jax.simulation import family, poses, projection
from xr2mri_jax.simulation.atlas import Atlas
from xr2mri_jax.simulation.framing import COLUMN_MM, Frame
from xr2mri_jax.simulation.population import Population, population
from xr2mri_jax.simulation.projection import Standing
from xr2mri_jax.simulation.signs import Signs

GRADES = (0, 1, 2, 3, 4)
# Standard deviations of a frame's width (relative), of the joint's row (share of the height), and
# of the rotation in degrees.
_WIDTH, _ROW, _TURNS = 0.04, 0.025, 2.5


def draw_radiographs(
    atlas: Atlas, seed: int, index: int, pixels: int, measured: Population | None = None
) -> list[dict[str, Any]]:
    """Draws knee `index` of a family and takes its radiograph with every grade.

    Args:
      atlas: from `atlas.build`.
      seed: identifies the family, 0 or more.
      index: number of the knee, 0 or more.
      pixels: of the frame, each way.
      measured: as for `family.draw_knee`.

    Returns:
      For each grade of GRADES: xray u16[pixels, pixels, 1], value / 65535 in [0, 1], bone bright;
      side and kl, integers; subject, the same for all grades; spacing f32[2], mm per pixel.
    """
    rng = np.random.default_rng([seed, index])
    drawn = (measured or population()).draw(rng)
    bones = family.mix_bones(atlas, drawn, rng, 1.0, projection.BONES)
    examples = []
    for grade in GRADES:
        frame = draw_frame(rng)
        knee = draw_standing(bones, drawn, Signs.draw(grade, rng), rng)
        xray = take_radiograph(atlas, knee, frame, pixels, rng)
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


def draw_frame(rng: np.random.Generator) -> Frame:
    """Draws a frame with the variation of real crops."""
    zoom, row = float(np.exp(rng.normal(0, _WIDTH))), rng.normal(0, _ROW)
    turn = float(np.deg2rad(rng.normal(0, _TURNS)))
    return Frame.mean().moved(zoom, row, (0.0, rng.normal(0, COLUMN_MM)), turn)


def draw_standing(
    bones: dict[str, np.ndarray],
    drawn: dict[str, np.ndarray],
    signs: Signs,
    rng: np.random.Generator,
) -> Standing:
    """Draws the pose of a radiograph.

    Args:
      bones: by name of `projection.BONES` f32[SIZE, SIZE, SIZE], signed distances in mm.
      drawn: from `Population.draw`.
      signs: of the radiograph's grade.
      rng: of the pose.
    """
    zoom = family.zoom_of(bones["tibia"])
    points = poses.plateau_points(bones["tibia"])
    spaces = (drawn["space"] + poses.SPACE_MM) * zoom * np.exp(rng.normal(0, 0.08))
    wanted = np.clip(spaces * signs.left, 0.2, 8.0)
    lying = poses.measured_pose(drawn["pose"], family.FEMUR_PIVOT)
    tracking = poses.measured_pose(drawn["tracking"], family.PATELLA_PIVOT)
    seen = poses.draw_radiograph_pose(bones["femur"], points, lying, tracking, wanted, rng)
    return Standing(bones, seen, zoom, signs)


def take_radiograph(
    atlas: Atlas, knee: Standing, frame: Frame, pixels: int, rng: np.random.Generator
) -> np.ndarray:
    """Takes a framed radiograph of a standing knee in the soft tissue of one of the atlas' legs.

    Args:
      atlas: from `atlas.build`.
      knee: from `draw_standing`.
      frame: the section that the radiograph shows.
      pixels: of the frame, each way.
      rng: of the leg, densities, texture and film.

    Returns:
      f32[pixels, pixels] in [0, 1], bone bright.
    """
    soft = atlas.path[int(rng.integers(len(atlas.path)))]
    return projection.radiograph(knee, frame.backward(knee.zoom), frame, soft, pixels, rng)
