"""Images without an upright knee, of other kinds than those in the knee finder's training."""

import numpy as np

from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.phantom.bilateral import take
from xr2mri_jax.phantom.film import draw_film
from xr2mri_jax.phantom.leg import project_leg

# The phantom population of the knee film that is rotated and cut.
SEED = 31_000


def strange_films() -> dict[str, Radiograph]:
    """Images without an upright knee, of other kinds than those in the network's training."""
    rng = np.random.default_rng(5)
    row, column = np.mgrid[-1:1:512j, -1:1:512j]
    chest = np.zeros((512, 512))
    for side in (-1, 1):
        lung = ((column - side * 0.42) / 0.33) ** 2 + ((row + 0.05) / 0.7) ** 2
        chest -= 1.2 / (1 + np.exp(8 * (lung - 1)))
        for number in range(9):
            arc = row + 0.75 - 0.17 * number - 0.35 * (side * column - 0.1) ** 2
            chest += 0.35 * np.exp(-((arc / 0.03) ** 2)) * (side * column > 0.05) * (lung < 1.3)
    chest += 1.1 * np.exp(-((column / 0.13) ** 2)) + 0.8 * np.exp(
        -(((column - 0.15) / 0.3) ** 2) - ((row - 0.35) / 0.28) ** 2
    )
    chest += rng.normal(0, 0.05, chest.shape)
    fingers = np.zeros((512, 512))
    for number in range(5):
        middle = -0.7 + 0.33 * number + 0.12 * row * (number - 2)
        fingers += np.exp(-(((column - middle) / 0.06) ** 4)) * (
            1 + 0.4 * np.cos(14 * row + number)
        )
    legs = project_leg(SEED, 0, 64), project_leg(SEED, 1, 64)
    film = take(legs, draw_film(rng, (350.0, 430.0)), (500, 614), (0.7, 0.7), rng).image
    brown = np.cumsum(np.cumsum(rng.normal(size=(400, 400)), 0), 1)
    return {
        "blank": Radiograph(np.full((400, 500), 7.0)),
        "chest_like": Radiograph(chest),
        "hand_like": Radiograph(fingers + rng.normal(0, 0.05, fingers.shape)),
        "white_noise": Radiograph(rng.normal(size=(400, 500))),
        "brown_noise": Radiograph(brown),
        "ramp": Radiograph(row + 0.3 * column),
        "checkers": Radiograph((np.sin(20 * row) * np.sin(20 * column) > 0).astype(np.float32)),
        "upside_down_film": Radiograph(film[::-1]),
        "film_on_its_side": Radiograph(film.T),
        "thighs_alone": Radiograph(film[: film.shape[0] // 4]),
    }
