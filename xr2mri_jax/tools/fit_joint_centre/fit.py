"""The loop that fits the network of the joint's centre, and the network in JAX."""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_path
from xr2mri_jax.preprocess.joint_centre import GRID
from xr2mri_jax.tools.fit_joint_centre.examples import example, legs

# name, kernel's edge, channels in and out; the order of `preprocess.joint_centre.heat_map`.
LAYERS = (
    ("c1", 1, 16, 16),
    ("c2", 3, 16, 16),
    ("d2", 3, 16, 24),
    ("d3", 3, 24, 32),
    ("c4", 3, 32, 32),
    ("u2", 3, 56, 24),
    ("u1", 1, 40, 24),
)
SPREAD = 0.8  # voxels, of the target's bell on the heat map
Weights = dict[str, jax.Array]


def fit(
    output: str | os.PathLike[str],
    knees: int = 500,
    examples: int = 8000,
    steps: int = 1000,
    batch: int = 16,
    seed: int = 77001,
    say: Callable[[str], None] = print,
) -> Weights:
    """Fits the network on phantom knees and writes its weights, kernels as f16.

    Args:
      output: the .npz file, written atomically.
      knees: phantom knees that the examples are made of.
      examples: how many, made once; each is moved by up to two voxels whenever it is taken.
      steps, batch: of AdamW, with a warm-up and a cosine down to 0.
      seed: of the phantom population, the examples and the order.
      say: takes a line on the progress.

    Raises:
      InputError: a number below 1.
    """
    if min(knees, examples, steps, batch) < 1:
        raise InputError(f"found {knees} knees, {examples} examples, {steps} steps: expected 1 up")
    rng = np.random.default_rng(seed)
    population = legs(seed, knees)
    made = [example(rng, population) for _ in range(examples)]
    weights = init(jax.random.key(seed))
    rate = optax.warmup_cosine_decay_schedule(0.0, 4e-3, min(100, steps // 4 + 1), steps + 1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-4))
    state = optimizer.init(weights)

    @jax.jit
    def step(weights: Weights, state: Any, x: jax.Array, y: jax.Array, key: jax.Array) -> Any:
        value, gradients = jax.value_and_grad(loss)(weights, brightened(x, key), y)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, value

    recent = []
    for number in range(steps):
        pairs = [_moved(rng, *made[int(k)]) for k in rng.integers(len(made), size=batch)]
        x, y = (np.stack(part) for part in zip(*pairs, strict=True))
        key = jax.random.fold_in(jax.random.key(seed), number)
        weights, state, value = step(weights, state, x, y, key)
        recent.append(float(value))
        if number % 100 == 99 or number == steps - 1:
            say(f"step {number + 1} of {steps}: loss {np.mean(recent[-100:]):.3f}")
    stored: dict[str, Any] = {
        name: np.asarray(value, np.float16 if name.endswith(".w") else np.float32)
        for name, value in jax.device_get(weights).items()
    }
    with atomic_path(output) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **stored)
    return weights


def init(key: jax.Array) -> Weights:
    """Fresh weights by name, as `preprocess.joint_centre.heat_map` takes them."""
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


def logits(weights: Weights, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The network as `preprocess.joint_centre.heat_map` has it, for a batch.

    Args:
      weights: by name.
      x: f32[b, GRID, GRID, GRID, 2].

    Returns:
      f32[b, GRID^3] for the voxels and f32[b] for "nowhere", before the softmax over both.
    """

    def layer(name: str, *parts: jax.Array, stride: int = 1) -> jax.Array:
        values = _convolve(jnp.concatenate(parts, -1), weights[f"{name}.w"], stride)
        values = values - values.mean((1, 2, 3), keepdims=True)
        values = values * jax.lax.rsqrt((values**2).mean((1, 2, 3), keepdims=True) + 1e-3)
        return jax.nn.relu(values * weights[f"{name}.s"] + weights[f"{name}.b"])

    b, n = x.shape[0], GRID // 2
    folded = x.reshape(b, n, 2, n, 2, n, 2, 2).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    half = layer("c2", layer("c1", folded.reshape(b, n, n, n, 16)))
    quarter = layer("d2", half, stride=2)
    eighth = layer("c4", layer("d3", quarter, stride=2))
    up = layer("u2", _doubled(eighth), quarter)
    up = layer("u1", _doubled(up), half)
    heat = (up @ weights["heat"]).reshape(b, n, n, n, 2, 2, 2).transpose(0, 1, 4, 2, 5, 3, 6)
    nowhere = eighth.mean((1, 2, 3)) @ weights["null"][:-1] + weights["null"][-1]
    return heat.reshape(b, -1), 4.0 * nowhere


def loss(weights: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross entropy with a bell around the joint, or with "nowhere", and half the distance.

    Args:
      weights, x: as `logits`.
      y: f32[b, 3] voxels (d, h, w), negative where the joint is not there.

    Returns:
      The mean over the batch, f32[].
    """
    heat, nowhere = logits(weights, x)
    logarithm = jax.nn.log_softmax(jnp.concatenate([heat, nowhere[:, None]], 1))
    places = jnp.asarray(np.indices((GRID,) * 3).reshape(3, -1).T, jnp.float32)
    known = (y[:, 0] >= 0).astype(jnp.float32)
    bell = jnp.exp(-((places[None] - y[:, None]) ** 2).sum(-1) / (2 * SPREAD**2))
    bell = bell / jnp.maximum(bell.sum(1, keepdims=True), 1e-6)
    voxels = -(bell * logarithm[:, :-1]).sum(1)
    distance = jnp.abs(jax.nn.softmax(heat) @ places - y).sum(1)
    return (known * (voxels + 0.5 * distance) - (1 - known) * logarithm[:, -1]).mean()


def brightened(x: jax.Array, key: jax.Array) -> jax.Array:
    """Another gamma and a little more noise for every example, f32 of the same shape."""
    gamma_key, level_key, noise_key = jax.random.split(key, 3)
    each = (x.shape[0], 1, 1, 1)
    gamma = jax.random.uniform(gamma_key, each, minval=0.8, maxval=1.25)
    level = jax.random.uniform(level_key, each, maxval=0.03)
    noise = level * jax.random.normal(noise_key, x.shape[:-1])
    return jnp.stack([jnp.maximum(x[..., 0], 1e-4) ** gamma + x[..., 1] * noise, x[..., 1]], -1)


def _moved(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    by = rng.integers(-2, 3, 3)
    if y[0] >= 0:
        y = y + by.astype(np.float32)
        y = np.full_like(y, -1) if y.min() < 0 or y.max() > GRID - 1 else y
    return np.roll(x, by, (0, 1, 2)), y


def _convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """3D convolution as a 2D one with the depth taps folded into the channels: faster on a CPU."""
    if kernel.shape[0] == 1:
        return x @ kernel[0, 0, 0]
    b, n, _, _, c = x.shape
    m = n // stride
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    slabs = jnp.concatenate([x[:, k : k + n : stride] for k in range(3)], -1)
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(3, 3, 3 * c, -1)
    numbers = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(
        slabs.reshape(b * m, n + 2, n + 2, 3 * c), flat, (stride,) * 2, "VALID",
        dimension_numbers=numbers,
    )  # fmt: skip
    return out[:, :m, :m].reshape(b, m, m, m, -1)


def _doubled(x: jax.Array) -> jax.Array:
    return x.repeat(2, 1).repeat(2, 2).repeat(2, 3)
