"""The training state: everything that a step updates."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """One pytree, without random keys, which are derived from the config's seed and `step`.

    Attributes:
      step: i32 scalar, number of steps taken.
      params: f32 parameters.
      model_state: other variables of the model, such as running statistics; may be {}.
      opt_state: state of the optimizer; frozen parameters have none.
      ema_params: exponential moving average of `params`, same shapes.
    """

    step: Any
    params: Any
    model_state: Any
    opt_state: Any
    ema_params: Any


def create(params: Any, model_state: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; traceable, so that its shapes can be inferred."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        # A copy, because a donated state must not contain the same buffer twice.
        ema_params=jax.tree.map(jnp.copy, params),
    )
