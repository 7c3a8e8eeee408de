"""A bilateral posteroanterior fixed-flexion radiograph of one phantom subject, with its truth."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from xr2mri_jax.geometry import KneePlace
from xr2mri_jax.phantom.film import Film, draw_film, expose_film, leg_on_film
from xr2mri_jax.phantom.leg import Leg, project_leg

# A film of 35 x 43 cm.
SHAPE, SPACING = (2500, 3000), (0.143, 0.143)


@dataclasses.dataclass(frozen=True, eq=False)
class BilateralRadiograph:
    """Both knees of a subject on one film, the patient's right knee at the image's left.

    Attributes:
      image: u16[rows, cols], value / 65535 in [0, 1], bone bright.
      spacing: (row_mm, col_mm).
      places: the true place of the knee by side.
      box_centres: (row, col) of the centre of each knee's canonical box; the box of
        `case.simulate_case` is centred near the joint, not on it.
    """

    image: np.ndarray
    spacing: tuple[float, float]
    places: Mapping[str, KneePlace]
    box_centres: Mapping[str, tuple[float, float]]


def simulate_bilateral(
    seed: int,
    subject: int,
    shape: tuple[int, int] = SHAPE,
    spacing: tuple[float, float] = SPACING,
    film: Film | None = None,
    grid_rows: int = 128,
) -> BilateralRadiograph:
    """Simulates the bilateral radiograph of a subject of the phantom population `seed`.

    Its right knee is that of `simulate_case(seed, 2 * subject, ...)`, its left knee that of
    `simulate_case(seed, 2 * subject + 1, ...)`.

    Args:
      seed, subject: identify the subject, 0 or more; they and the settings determine everything.
      shape: pixels (rows, cols).
      spacing: (row_mm, col_mm); the film covers shape * spacing.
      film: how it is taken; None draws it from (seed, subject).
      grid_rows: pixels of the projection across the canonical box, see `leg.project_leg`.
    """
    legs = project_leg(seed, 2 * subject, grid_rows), project_leg(seed, 2 * subject + 1, grid_rows)
    rng = np.random.default_rng((seed, subject))
    extent = (shape[0] * spacing[0], shape[1] * spacing[1])
    drawn = draw_film(rng, extent)
    return take(legs, drawn if film is None else film, shape, spacing, rng)


def take(
    legs: tuple[Leg, Leg],
    film: Film,
    shape: tuple[int, int],
    spacing: tuple[float, float],
    rng: np.random.Generator,
) -> BilateralRadiograph:
    """Takes a film of two projected legs; arguments as for `film.expose_film`."""
    image = expose_film(legs, film, shape, spacing, rng)
    places, centres = {}, {}
    for leg in legs:

        def pixel(point: tuple[float, float], leg: Leg = leg) -> tuple[float, float]:
            down, right = leg_on_film(film, leg, point)
            return (shape[0] - 1) / 2 + down / spacing[0], (shape[1] - 1) / 2 + right / spacing[1]

        first, second = sorted((pixel(end) for end in leg.joint_line), key=lambda end: end[1])
        places[leg.side] = KneePlace(leg.side, pixel(leg.joint), (first, second))
        centres[leg.side] = pixel((0.0, 0.0))
    image = np.round(image * 65535.0).astype(np.uint16)
    return BilateralRadiograph(image, spacing, places, centres)
