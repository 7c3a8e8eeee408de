"""The optimizer: AdamW, or Muon for kernels, with warm-up, cosine decay and gradient clipping."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xr2mri_jax.training import muon

# Muon costs about 15 products of square matrices of a kernel's smaller side in every step. For the
# dense layer from a vector to a volume, these would take most of the time.
LARGEST_SIDE = 1024


def schedule(config: Mapping[str, Any], steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then a cosine to 0 at the last step.

    Args:
      config: learning_rate, warmup_steps; the warm-up is limited to a tenth of the run, so that
        short runs also reach the full learning rate.
      steps: the run's length.
    """
    warmup = min(config["warmup_steps"], steps // 10)
    cosine = optax.cosine_decay_schedule(config["learning_rate"], steps - warmup)
    if warmup == 0:
        return cosine
    rise = optax.linear_schedule(0.0, config["learning_rate"], warmup)
    return optax.join_schedules([rise, cosine], [warmup])


def make(config: Mapping[str, Any], steps: int, trainable: Any) -> optax.GradientTransformation:
    """AdamW or Muon on the trainable parameters.

    AdamW: Loshchilov and Hutter 2019, arXiv 1711.05101; no weight decay for vectors (biases,
    scales). Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks")
    orthogonalises the momentum of every kernel, taken as a matrix of inputs by outputs, whose
    smaller side is at most LARGEST_SIDE; all other parameters use Adam. Frozen parameters have no
    update and no optimizer state.

    Args:
      config: learning_rate, warmup_steps, weight_decay, clip_norm (0: no clipping),
        muon_learning_rate (0: AdamW for all).
      steps: the run's length.
      trainable: pytree of bool like the parameters.
    """
    parts = [_muon(config, steps) if config["muon_learning_rate"] else _adamw(config, steps)]
    if config["clip_norm"]:
        parts.insert(0, optax.clip_by_global_norm(config["clip_norm"]))
    labels = jax.tree.map(lambda free: "trained" if free else "frozen", trainable)
    return optax.multi_transform(
        {"trained": optax.chain(*parts), "frozen": optax.set_to_zero()}, labels
    )


def _adamw(config: Mapping[str, Any], steps: int) -> optax.GradientTransformation:
    return optax.adamw(
        schedule(config, steps),
        weight_decay=config["weight_decay"],
        mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
    )


def _muon(config: Mapping[str, Any], steps: int) -> optax.GradientTransformation:
    kernels = optax.chain(
        muon.scale_by_muon(),
        optax.add_decayed_weights(config["weight_decay"]),
        optax.scale_by_learning_rate(
            schedule({**config, "learning_rate": config["muon_learning_rate"]}, steps)
        ),
    )
    others = optax.adam(schedule(config, steps), nesterov=True)

    def labels(params: Any) -> Any:
        def label(path: Any, leaf: jax.Array) -> str:
            if "kernel" not in jax.tree_util.keystr(path[-1:]):
                return "other"
            outputs = leaf.shape[-1]
            return "kernel" if min(leaf.size // outputs, outputs) <= LARGEST_SIDE else "other"

        return jax.tree_util.tree_map_with_path(label, params)

    return optax.multi_transform({"kernel": kernels, "other": others}, labels)


def ema_decay(decay: float, step: jax.Array) -> jax.Array:
    """The decay of the moving average at a step; low at first, to forget the initial parameters.

    min(decay, (1 + step) / (10 + step)), as in TensorFlow's ExponentialMovingAverage.

    Args:
      decay: the final value in [0, 1).
      step: i32 scalar, steps taken before this one.
    """
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(np.float32(decay), (1.0 + step) / (10.0 + step))
