"""Shared parts of image losses and metrics: shape checks and the masked mean."""

from typing import Any

import jax
import jax.numpy as jnp


def checked(prediction: Any, target: Any, mask: Any) -> tuple[jax.Array, jax.Array, Any]:
    """Prediction, target and mask (or None) as f32[b, ...].

    Raises:
      ValueError: if shapes differ or there is no batch axis.
    """
    shape = jnp.shape(prediction)
    if len(shape) < 1:
        raise ValueError("prediction is a scalar, expected a batch axis first")
    if jnp.shape(target) != shape:
        raise ValueError(f"target has shape {jnp.shape(target)}, the prediction {shape}")
    if mask is not None and jnp.shape(mask) != shape:
        raise ValueError(f"mask has shape {jnp.shape(mask)}, the prediction {shape}")
    prediction, target = (jnp.asarray(x, jnp.float32) for x in (prediction, target))
    return prediction, target, None if mask is None else jnp.asarray(mask, jnp.float32)


def masked_mean(values: Any, mask: Any) -> jax.Array:
    """Mean of f32[b, ...] weighted by the mask, f32[b]; 0 for an example whose mask is empty."""
    axes = tuple(range(1, values.ndim))
    if mask is None:
        return jnp.mean(values, axis=axes)
    total = jnp.sum(mask, axis=axes)
    # A NaN outside the mask must not reach the sum.
    kept = jnp.sum(jnp.where(mask > 0, values * mask, 0.0), axis=axes)
    return kept / jnp.where(total > 0, total, 1.0)
