"""Families of drawn knees whose statistics leave measured knees out, so that these are unseen."""

from collections.abc import Iterator, Sequence

import numpy as np

from xr2mri_jax.simulation import population
from xr2mri_jax.simulation.atlas import Atlas
from xr2mri_jax.simulation.family import draw_knee
from xr2mri_jax.tools.anatomy.population import Departures
from xr2mri_jax.tools.frontal.samples import Reference, Sample, drawn_knee

FOLDS = 4
SEED = 7


def fold_of(knee: int) -> int:
    """The family that leaves out measured knee number `knee`."""
    return knee % FOLDS


def left_out(departures: Departures, knees: int, fold: int) -> population.Population:
    """The population of all measured knees except those of a fold.

    Args:
      departures: of the knees, followed by others that no fold leaves out.
      knees: number of knees that are divided into folds.
      fold: 0 to FOLDS - 1; FOLDS leaves nothing out.
    """
    count = len(departures.columns["size.femur"])
    kept = [i for i in range(count) if i >= knees or fold_of(i) != fold]
    return population.read(departures.statistics(kept))


def drawn_samples(
    atlas: Atlas,
    measured: population.Population | None,
    reference: Reference,
    numbers: Sequence[int],
    fold: int = 0,
) -> Iterator[Sample]:
    """Samples of drawn knees; equal `fold` and number give equal random numbers."""
    for number in numbers:
        rng = np.random.default_rng([SEED, fold, number])
        knee = draw_knee(atlas, rng, measured=measured)
        yield reference.sample(drawn_knee(knee), rng)
