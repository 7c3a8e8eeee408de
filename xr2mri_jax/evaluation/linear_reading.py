"""Fits the linear reading of a generator of the form `shape`: radiograph -> coefficients.

The coefficients of shape components, and of the knee's turn and place in the image, are a ridge
regression on the bottleneck and on oriented gradients of the radiograph, in closed form, from
simulated radiographs of known knees. Simulated radiographs differ from real ones in ways that a
regression mistakes for shape. So unlabelled real radiographs of both knees of patients take part:
the two knees of a patient have nearly the same shape, left ones mirrored, so that what differs
between their radiographs is mostly pose, film and wear. The regression is penalised by the variance
of this difference.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import linalg

from xr2mri_jax.data import passes
from xr2mri_jax.datasets.workers import on_one_thread, ordered_map
from xr2mri_jax.errors import InputError
from xr2mri_jax.models import shape_generator
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.runtime.progress import progress
from xr2mri_jax.simulation import atlas as atlases
from xr2mri_jax.simulation.reading_examples import draw_example

FILMS = 3  # radiographs of a simulated knee
# Components of shape, and of how a radiograph shows the knee (`reading_examples.view_of`).
SHAPES, VIEWS = 40, 3
COEFFICIENTS = SHAPES + VIEWS
# Weight of the difference between a patient's knees against the simulated examples' error, and of
# the ridge against the mean square of a real radiograph's features.
BOTH_WEIGHT, RIDGE = 1.0, 1e-4
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
    yield from progress(made, "simulated knees", "knee", knees)


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
    exclude: Collection[str] = (),
) -> tuple[dict[str, Any], int]:
    """The generator's parameters with the linear reading.

    Args:
      stage: a generator stage of the form "shape".
      params: its parameters; its encoder, template and levels stay.
      simulated: from `examples`, more knees than coefficients.
      real: a TFDS builder, or examples by split, of real radiographs as the encoder sees them;
        patients with both knees in the split "train" take part.
      mean_knee: from a view f64[VIEWS], see `reading_examples.view_of`, to the signed distances
        f32[k, d, h, w] in mm of the mean knee in that view.
      shapes: number of components of shape.
      exclude: patients whose radiographs do not take part.

    Returns:
      The tree of "generator" for a spec with the reading "linear", and the number of patients with
      both knees.

    Raises:
      InputError: the real radiographs cannot be read, or show both knees of no patient.
    """
    encoder = params["encoder"]

    @jax.jit
    def parts_of(xray: Any) -> Any:
        xray = jnp.asarray(xray)
        hidden = stage.encoder.apply({"params": encoder}, xray)
        return shape_generator.reading_parts(hidden, xray)

    known, columns = passes.predictions(parts_of, real, "train", _BATCH, "real radiographs")
    kept = [i for i, subject in enumerate(columns["subject"]) if subject not in exclude]
    known = [part[kept] for part in known]
    columns = {name: [columns[name][i] for i in kept] for name in ("subject", "side")}
    pairs = both_knees(columns)
    rows, seen, views = [], [], []
    for films, distances, shown in simulated:
        rows.append(distances.ravel())
        views.append(shown)
        seen.append(parts_of(films[..., None].astype(np.float32) / 255))
    mean = mean_knee(np.zeros(VIEWS))
    distances = np.stack(rows).astype(np.float32) / surfaces.STEPS
    _, scores, basis = shape_generator.principal_components(distances, mean.shape, shapes)
    shown = np.concatenate(views)
    deviation = shown.std(axis=0)
    steps = np.diag(deviation)
    changes = [(mean_knee(step) - mean_knee(-step)) / 2 for step in steps]
    wanted = np.repeat(scores, [len(part) for part in views], axis=0)
    wanted = np.concatenate([wanted, (shown - shown.mean(axis=0)) / deviation], axis=1)
    scales = _scales(known)
    simulated_parts = [np.concatenate(part) for part in zip(*seen, strict=True)]
    features, real_features = (_scaled(parts, scales) for parts in (simulated_parts, known))
    kernel, offset = regression(features, wanted, real_features, pairs)
    painting = {name: params["generator"][name] for name in ("template", "levels")}
    made = {
        "mean": mean,
        "basis": np.concatenate([basis, np.stack(changes)]),
        "reading": kernel * np.repeat(scales, [part.shape[1] for part in known])[:, None],
        "reading_offset": offset,
    }
    tree = {**painting, **{name: jnp.asarray(value, jnp.float32) for name, value in made.items()}}
    return tree, len(pairs)


def both_knees(columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Positions of the left and the right knee of every patient who has both: i64[p, 2].

    Args:
      columns: subject and side ("left" or "right") of every radiograph; of several radiographs of
        a knee the last counts.

    Raises:
      InputError: there is no such patient.
    """
    knees: dict[str, dict[str, int]] = {}
    for place, (subject, side) in enumerate(zip(columns["subject"], columns["side"], strict=True)):
        knees.setdefault(subject, {})[side] = place
    found = [(one["left"], one["right"]) for one in knees.values() if {"left", "right"} <= set(one)]
    if not found:
        raise InputError(
            f"--real: found both knees of none of {len(knees)} patients, expected radiographs of "
            "both knees of the same patients"
        )
    return np.array(found)


def regression(
    features: np.ndarray, scores: np.ndarray, real: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression in which pairs of real radiographs without scores take part.

    Minimises mean |y - x W|^2 over the simulated radiographs + BOTH_WEIGHT / 2 mean
    |(z_left - z_right) W|^2 over the patients + RIDGE |W|^2, where x are features less their mean.
    Solved for one unknown for each radiograph and patient, because there are more features.

    Args:
      features: f32[n, f] of simulated radiographs.
      scores: f32[n, c] of their knees.
      real: f32[m, f], of real radiographs.
      pairs: i64[p, 2], positions in `real` of the knees of a patient.

    Returns:
      The kernel f32[f, c] and the offset f32[c], such that the mean over the real radiographs of
      real @ kernel + offset is 0.
    """
    n, p = len(features), len(pairs)
    differences = real[pairs[:, 0]] - real[pairs[:, 1]]
    rows = np.concatenate([features - features.mean(axis=0), differences]).astype(np.float32)
    rows[:n] /= np.sqrt(n)
    rows[n:] *= np.sqrt(BOTH_WEIGHT / (2 * p))
    gram = (rows @ rows.T).astype(np.float64)
    gram[np.diag_indices_from(gram)] += RIDGE
    wanted = np.zeros((n + p, scores.shape[1]))
    wanted[:n] = scores / np.sqrt(n)
    solution = linalg.solve(gram, wanted, assume_a="pos", overwrite_a=True)
    kernel = rows.T @ solution.astype(np.float32)
    return kernel, -(real.mean(axis=0) @ kernel)


def _scales(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Factors with which all parts vary equally, and features have the mean square 1 together."""
    squares = [np.square(part - part.mean(axis=0)).sum(axis=1).mean() for part in parts]
    return np.array([1 / np.sqrt(max(square, 1e-12) * len(parts)) for square in squares])


def _scaled(parts: Sequence[np.ndarray], scales: np.ndarray) -> np.ndarray:
    """The parts, each times its scale, beside each other: f32[n, f]."""
    scaled = [np.asarray(part) * np.float32(k) for part, k in zip(parts, scales, strict=True)]
    return np.concatenate(scaled, axis=1)
