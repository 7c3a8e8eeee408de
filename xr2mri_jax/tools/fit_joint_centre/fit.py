"""Fits the network that finds the joint's centre: phantom examples, AdamW, a fixed seed."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.joint_centre.network import GRID, LAYERS, logits, save_weights
from xr2mri_jax.tools.fit_joint_centre.examples import UNKNOWN, example, legs

SPREAD = 0.8  # voxels, standard deviation of the target on the heat map
LARGEST_RATE = 4e-3
REPORTED = 100  # steps between progress lines
Weights = dict[str, jax.Array]
Example = tuple[np.ndarray, np.ndarray]


class Plan(NamedTuple):
    """Sizes of a fit.

    Attributes:
      knees: number of phantom knees for the examples.
      examples: number of examples; each is shifted by up to two voxels at every use.
      steps: of AdamW, with a warm-up and a cosine decay to 0.
      batch: examples per step.
      seed: of the phantom population, the examples, the initial weights and the order.
    """

    knees: int = 600
    examples: int = 8000
    steps: int = 2000
    batch: int = 16
    seed: int = 77001


def fit(
    output: str | os.PathLike[str], plan: Plan | None = None, say: Callable[[str], None] = print
) -> Weights:
    """Fits the network on phantom knees and writes its weights, kernels as float16.

    Args:
      output: the .npz file, written atomically at the end.
      plan: sizes; None: the defaults of `Plan`.
      say: receives progress lines.

    Raises:
      InputError: a size below 1.
    """
    plan = plan or Plan()
    if min(plan[:-1]) < 1:
        raise InputError(f"found {plan}, expected sizes of at least 1")
    rng = np.random.default_rng(plan.seed)
    population = legs(plan.seed, plan.knees)
    made = [example(rng, population) for _ in range(plan.examples)]
    say(f"made {plan.examples} examples of {plan.knees} knees")
    weights = train(init(jax.random.key(plan.seed)), _batches(rng, made, plan.batch), plan, say)
    save_weights(output, jax.device_get(weights))
    return weights


def train(
    weights: Weights, source: Iterator[Example], plan: Plan, say: Callable[[str], None]
) -> Weights:
    """Runs `plan.steps` steps on the batches of `source` (see `loss`)."""
    warmup = min(REPORTED, plan.steps // 4 + 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, LARGEST_RATE, warmup, plan.steps + 1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-4))
    state = optimizer.init(weights)
    update = jax.jit(optimizer.update)
    recent = []
    for number in range(plan.steps):
        key = jax.random.fold_in(jax.random.key(plan.seed), number)
        value, gradients = _gradients(weights, *next(source), key)
        updates, state = update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
        recent.append(float(value))
        if number % REPORTED == REPORTED - 1 or number == plan.steps - 1:
            say(f"step {number + 1} of {plan.steps}: loss {np.mean(recent[-REPORTED:]):.3f}")
    return weights


@jax.jit
def _gradients(weights: Weights, x: jax.Array, y: jax.Array, key: jax.Array) -> Any:
    return jax.value_and_grad(loss)(weights, brightened(x, key), y)


def init(key: jax.Array) -> Weights:
    """Initial weights by name, as `preprocess.joint_centre.network.logits` takes them."""
    weights: Weights = {}
    for number, (name, edge, count_in, count_out) in enumerate(LAYERS):
        shape = (edge, edge, edge, count_in, count_out)
        deviation = np.sqrt(2 / (edge**3 * count_in))
        draw = jax.random.normal(jax.random.fold_in(key, number), shape)
        weights[f"{name}.w"] = deviation * draw
        weights[f"{name}.s"], weights[f"{name}.b"] = jnp.ones(count_out), jnp.zeros(count_out)
    weights["heat"] = 0.1 * jax.random.normal(jax.random.fold_in(key, len(LAYERS)), (24, 8))
    weights["null"] = jnp.zeros(33)
    return weights


def loss(weights: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross entropy with a normal distribution around the joint, plus half the distance.

    Args:
      weights: by name.
      x: f32[b, GRID, GRID, GRID, 2] of `network_input`.
      y: f32[b, 3] voxels (d, h, w), negative if the joint is outside the field; the target is then
        the logit for that.

    Returns:
      The mean over the batch, f32[].
    """
    heat, nowhere = logits(weights, x)
    logarithm = jax.nn.log_softmax(jnp.concatenate([heat, nowhere[:, None]], 1))
    places = jnp.asarray(np.indices((GRID,) * 3).reshape(3, -1).T, jnp.float32)
    known = (y[:, 0] >= 0).astype(jnp.float32)
    target = jnp.exp(-((places[None] - y[:, None]) ** 2).sum(-1) / (2 * SPREAD**2))
    target = target / jnp.maximum(target.sum(1, keepdims=True), 1e-6)
    voxels = -(target * logarithm[:, :-1]).sum(1)
    distance = jnp.abs(jax.nn.softmax(heat) @ places - y).sum(1)
    return (known * (voxels + 0.5 * distance) - (1 - known) * logarithm[:, -1]).mean()


def brightened(x: jax.Array, key: jax.Array) -> jax.Array:
    """Random gamma and a little more noise for every example, f32 of the same shape."""
    gamma_key, level_key, noise_key = jax.random.split(key, 3)
    each = (x.shape[0], 1, 1, 1)
    gamma = jax.random.uniform(gamma_key, each, minval=0.8, maxval=1.25)
    level = jax.random.uniform(level_key, each, maxval=0.03)
    noise = level * jax.random.normal(noise_key, x.shape[:-1])
    return jnp.stack([jnp.maximum(x[..., 0], 1e-4) ** gamma + x[..., 1] * noise, x[..., 1]], -1)


def shifted(x: np.ndarray, y: np.ndarray, by: np.ndarray) -> Example:
    """Shifts an example by whole voxels; voxels from outside the grid are outside the field.

    Args:
      x: f32[GRID, GRID, GRID, 2] of `network_input`.
      y: f32[3] of `examples.example`.
      by: i[3] along (d, h, w).
    """
    moved = np.zeros_like(x)
    to = tuple(slice(max(n, 0), GRID + min(n, 0)) for n in by)
    source = tuple(slice(max(-n, 0), GRID + min(-n, 0)) for n in by)
    moved[to] = x[source]
    if y[0] < 0:
        return moved, y
    place = y + by.astype(np.float32)
    inside = place.min() >= 0 and place.max() <= GRID - 1
    return moved, place if inside else np.full_like(y, UNKNOWN)


def _batches(rng: np.random.Generator, made: Sequence[Example], batch: int) -> Iterator[Example]:
    while True:
        chosen = rng.integers(len(made), size=batch)
        pairs = [shifted(*made[int(k)], rng.integers(-2, 3, 3)) for k in chosen]
        yield np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])
