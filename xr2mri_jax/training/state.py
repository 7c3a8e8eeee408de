"""The training state: everything that a step changes."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """One pytree; random keys are not in it, for they follow from the config's seed and `step`.

    Attributes:
      step: i32 scalar, how many steps were taken.
      params: f32 parameters.
      model_state: what else the model carries; {} if there is nothing.
      opt_state: the optimizer's; frozen parameters have none.
      ema_params: exponential moving average of `params`, same shapes.
    """

    step: Any
    params: Any
    model_state: Any
    opt_state: Any
    ema_params: Any


def create(params: Any, model_state: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; traceable, so that its shapes are known beforehand."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        # A copy, for a donated state must not hold one buffer twice.
        ema_params=jax.tree.map(jnp.copy, params),
    )
