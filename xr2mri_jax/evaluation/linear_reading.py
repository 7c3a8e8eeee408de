"""Fits the linear reading of a generator of the form `shape`: hidden variables -> coefficients.

The coefficients of shape components, and of the knee's size, turn and place in the image, are a
ridge regression on the encoder's hidden variables, in closed form, from simulated radiographs of
known knees. Simulated radiographs differ from real
ones in ways that a regression mistakes for shape. So unlabelled real radiographs take part: they
ask for predictions near the mean knee, which penalises every direction by the variance that real
radiographs have in it.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import linalg
from tqdm import tqdm

from xr2mri_jax.data import passes
from xr2mri_jax.datasets.workers import on_one_thread, ordered_map
from xr2mri_jax.models import shape_generator
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.simulation import atlas as atlases
from xr2mri_jax.simulation.reading_examples import draw_example

FILMS = 3  # radiographs of a simulated knee
# Components of shape, and of how a radiograph shows the knee (`reading_examples.view_of`).
SHAPES, VIEWS = 40, 4
COEFFICIENTS = SHAPES + VIEWS
# Weight of the real radiographs' variance against the simulated ones', and of the ridge against
# the mean square of an example's features.
REAL_WEIGHT, RIDGE = 0.3, 1.0
_SEED = 1  # of the family, another one than the datasets'
_BATCH = 50

# Of `reading_examples.draw_example`.
Example = tuple[np.ndarray, np.ndarray, np.ndarray]


def examples(atlas: Path, knees: int, size: int, workers: int) -> Iterator[Example]:
    """Draws simulated knees: see `reading_examples.draw_example`.

    Args:
      atlas: file of the family's atlas.
      knees: how many.
      size: pixels of a radiograph each way.
      workers: processes.
    """
    draw = functools.partial(on_one_thread, functools.partial(_draw, atlas, size))
    made = ordered_map(draw, range(knees), workers)
    yield from tqdm(made, "simulated knees", knees, unit="knee", mininterval=1)


def _draw(atlas: Path, size: int, index: int) -> Example:
    return draw_example(_loaded(atlas), _SEED, index, FILMS, size)


_loaded = functools.lru_cache(maxsize=1)(atlases.load)


def fit(
    stage: Any,
    params: Any,
    simulated: Iterator[Example],
    real: Any,
    mean_knee: Callable[[np.ndarray], np.ndarray],
    shapes: int = SHAPES,
) -> dict[str, Any]:
    """The generator's parameters with the linear reading.

    Args:
      stage: a generator stage of the form "shape".
      params: its parameters; its encoder, template and levels stay.
      simulated: from `examples`, more knees than coefficients.
      real: a TFDS builder, or examples by split, of real radiographs as the encoder sees them.
      mean_knee: from a view f64[VIEWS], see `reading_examples.view_of`, to the signed distances
        f32[k, d, h, w] in mm of the mean knee that is shown so.
      shapes: number of components of shape.

    Returns:
      The tree of "generator" for a spec with the reading "linear".
    """
    encoder = params["encoder"]

    @jax.jit
    def features(xray: Any) -> Any:
        hidden = stage.encoder.apply({"params": encoder}, jnp.asarray(xray))
        return shape_generator.reading_features(hidden)

    rows, seen, views = [], [], []
    for films, distances, shown in simulated:
        rows.append(distances.ravel())
        views.append(shown)
        seen.append(np.asarray(features(films[..., None].astype(np.float32) / 255)))
    mean = mean_knee(np.zeros(VIEWS))
    distances = np.stack(rows).astype(np.float32) / surfaces.STEPS
    _, scores, basis = shape_generator.principal_components(distances, mean.shape, shapes)
    shown = np.concatenate(views)
    deviation = shown.std(axis=0)
    steps = np.diag(deviation)
    changes = [(mean_knee(step) - mean_knee(-step)) / 2 for step in steps]
    wanted = np.repeat(scores, [len(part) for part in seen], axis=0)
    wanted = np.concatenate([wanted, (shown - shown.mean(axis=0)) / deviation], axis=1)
    known, _ = passes.predictions(features, real, "train", _BATCH, "real radiographs")
    kernel, offset = regression(np.concatenate(seen), wanted, known)
    kept = {name: params["generator"][name] for name in ("template", "levels")}
    made = {
        "mean": mean,
        "basis": np.concatenate([basis, np.stack(changes)]),
        "reading": kernel,
        "reading_offset": offset,
    }
    return {**kept, **{name: jnp.asarray(value, jnp.float32) for name, value in made.items()}}


def regression(
    features: np.ndarray, scores: np.ndarray, real: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression that real radiographs without scores take part in.

    Minimises mean |y - x W|^2 over the simulated radiographs + REAL_WEIGHT mean |z W|^2 over the
    real ones + ridge |W|^2, where x and z are features less their means over the simulated and over
    the real radiographs. Solved for one unknown a radiograph, since there are more features.

    Args:
      features: f32[n, f] of simulated radiographs.
      scores: f32[n, c] of their knees.
      real: f32[m, f], of real radiographs.

    Returns:
      The kernel f32[f, c] and the offset f32[c], such that the mean over the real radiographs of
      z @ kernel + offset is 0.
    """
    n, m = len(features), len(real)
    centre = real.mean(axis=0)
    rows = np.concatenate([features - features.mean(axis=0), real - centre]).astype(np.float32)
    rows[:n] /= np.sqrt(n)
    rows[n:] *= np.sqrt(REAL_WEIGHT / m)
    gram = rows @ rows.T
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / (n + m)
    wanted = np.zeros((n + m, scores.shape[1]), np.float32)
    wanted[:n] = scores / np.sqrt(n)
    kernel = rows.T @ linalg.solve(gram, wanted, assume_a="pos", overwrite_a=True)
    return kernel, -(centre @ kernel)
