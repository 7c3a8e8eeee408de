"""The optimizer: AdamW with warm-up and cosine decay, clipped, for the trainable part alone."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def schedule(config: Mapping[str, Any], steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then a cosine to 0 at the last step.

    Args:
      config: learning_rate, warmup_steps; a warm-up longer than a tenth of the run is cut to that,
        so that short runs learn too.
      steps: the run's length.
    """
    warmup = min(config["warmup_steps"], steps // 10)
    cosine = optax.cosine_decay_schedule(config["learning_rate"], steps - warmup)
    if warmup == 0:
        return cosine
    rise = optax.linear_schedule(0.0, config["learning_rate"], warmup)
    return optax.join_schedules([rise, cosine], [warmup])


def make(config: Mapping[str, Any], steps: int, trainable: Any) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on the trainable parameters.

    Weight decay spares vectors (biases, scales). Frozen parameters get no update and no memory.

    Args:
      config: learning_rate, warmup_steps, weight_decay, clip_norm (0: no clipping).
      steps: the run's length.
      trainable: pytree of bool like the parameters.
    """
    parts = [
        optax.adamw(
            schedule(config, steps),
            weight_decay=config["weight_decay"],
            mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
        )
    ]
    if config["clip_norm"]:
        parts.insert(0, optax.clip_by_global_norm(config["clip_norm"]))
    labels = jax.tree.map(lambda free: "trained" if free else "frozen", trainable)
    return optax.multi_transform(
        {"trained": optax.chain(*parts), "frozen": optax.set_to_zero()}, labels
    )


def ema_decay(decay: float, step: jax.Array) -> jax.Array:
    """The moving average's decay at a step: it starts low, so that the start is soon forgotten.

    min(decay, (1 + step) / (10 + step)), as in TensorFlow's ExponentialMovingAverage.

    Args:
      decay: the final value in [0, 1).
      step: i32 scalar, steps taken before this one.
    """
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(np.float32(decay), (1.0 + step) / (10.0 + step))
