"""Compares training in bfloat16 with float32: the generator on simulated arrays, one seed.

The volumes are sums of ellipsoids; the hidden variables are random projections of the volume's mean
along depth, pooled to the size of each level. Both trainings use the same batches in one order.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.tools.benchmarks import gpu_cases
from xr2mri_jax.tools.benchmarks.gpu_budget import Budget

HELD_OUT = 4


def run(sizes: gpu_cases.Sizes, steps: int, batch_size: int, budget: Budget) -> dict[str, Any]:
    """Trains the generator in both dtypes.

    Args:
      sizes: of volume and network.
      steps: of each training.
      batch_size: examples of a step.
      budget: of both trainings.

    Returns:
      {"steps", "batch_size", "by_dtype": {dtype: {"training_loss" (mean of the last tenth),
      "held_out_loss" (L1 of averaged parameters on 4 batches not used in training)}}, and, if both
      had time, "held_out_ratio": bfloat16 / float32}.
    """
    report: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "by_dtype": {}}
    for dtype in ("float32", "bfloat16"):
        found = _trained(sizes, dtype, steps, batch_size, budget)
        if found is not None:
            report["by_dtype"][dtype] = found
    losses = {dtype: row["held_out_loss"] for dtype, row in report["by_dtype"].items()}
    if len(losses) == 2:
        report["held_out_ratio"] = losses["bfloat16"] / losses["float32"]
    return report


def _trained(
    sizes: gpu_cases.Sizes, dtype: str, steps: int, batch_size: int, budget: Budget
) -> dict[str, float] | None:
    """The losses of one training, or None if there is no time for all of its steps."""
    case = gpu_cases.make("generator", dtype, sizes)
    row = f"quality, {dtype}: {steps} steps"
    if not budget.allows(row):
        return None
    options: dict[str, Any] = {"compiler_options": sizes.options}
    batch_of = jax.jit(lambda number: _batch(sizes, batch_size, number), **options)
    step = jax.jit(case.steps.train_step, donate_argnums=(0,), **options)
    evaluate = jax.jit(case.steps.stage.loss, static_argnums=4, **options)
    state, key, losses = case.new_state(), jax.random.key(1), []
    for number in range(steps):
        if number % 20 == 0 and number and not budget.allows(f"{row}, {number} done"):
            return None
        state, outcome = step(state, batch_of(number), key)
        losses.append(outcome["means"]["loss"].sum / batch_size)
        if number % 20 == 19:
            jax.block_until_ready(losses[-1])
    held_out = [
        evaluate(state.ema_params, {}, batch_of(steps + number), None, False)[0]
        for number in range(HELD_OUT)
    ]
    return {
        "training_loss": float(np.mean(jax.device_get(losses[-max(1, steps // 10) :]))),
        "held_out_loss": float(np.mean(jax.device_get(held_out))),
    }


def _batch(sizes: gpu_cases.Sizes, size: int, number: Any) -> dict[str, jax.Array]:
    key = jax.random.fold_in(jax.random.key(5), number)
    volume = jax.vmap(lambda one: _ellipsoids(one, sizes.volume))(jax.random.split(key, size))
    xray = volume.mean(axis=1)
    batch = {
        "mri": volume[..., None],
        "index": jnp.arange(size),
        "example_mask": jnp.ones(size, jnp.float32),
    }
    for level, (height, width, channels) in enumerate(gpu_cases.hidden_shapes(sizes)):
        rows, columns = xray.shape[1] // height, xray.shape[2] // width
        pooled = xray.reshape(size, height, rows, width, columns).mean(axis=(2, 4))
        weights = jax.random.normal(jax.random.fold_in(jax.random.key(6), level), (2, channels))
        batch[f"hidden{level}"] = pooled[..., None] * weights[0] + 0.1 * weights[1]
    return batch


def _ellipsoids(key: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """f32[d, h, w] in [0, 1]: four smooth ellipsoids in a unit box."""
    axes = jnp.meshgrid(*(jnp.linspace(-1, 1, n) for n in shape), indexing="ij")
    places = jax.random.uniform(key, (4, 6))
    total = jnp.zeros(shape, jnp.float32)
    for place in places:
        squares = [
            jnp.square((axis - (c - 0.5)) / (0.2 + 0.4 * r))
            for axis, c, r in zip(axes, place[:3], place[3:], strict=True)
        ]
        total = total + jax.nn.sigmoid(8.0 * (1.0 - sum(squares)))
    return total / 4.0
