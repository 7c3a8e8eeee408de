"""The pure steps: one update of the state, one evaluation of a batch; independent of devices."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

from xr2mri_jax.data import augment
from xr2mri_jax.metrics.base import Mean, from_batch
from xr2mri_jax.stages.base import Batch, Stage
from xr2mri_jax.training import optimizer
from xr2mri_jax.training.optimizer import ema_decay
from xr2mri_jax.training.state import TrainState

# Folded into the run's key for augmentation; no step has this number.
AUGMENTATION = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of a stage with an optimizer.

    Attributes:
      stage: the stage.
      optimizer: computes the updates of the trainable parameters.
      learning_rate: the schedule, for the log.
      ema_decay: decay of the moving average, in [0, 1).
      trainable: pytree of bool like the parameters.
      strength: strength of each augmentation of a training batch, see `augment.strengths`.
      mixup: see `augment.apply`.
    """

    stage: Stage
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    ema_decay: float
    trainable: Any
    strength: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: augment.strengths(None)
    )
    mixup: float = 0.0

    def train_step(
        self, state: TrainState, batch: Batch, rng: jax.Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Any]]:
        """One update.

        The loss is the mean over all unmasked examples of all devices. A loss or gradient that is
        not finite leaves the state unchanged. Masked examples must be finite too, because their
        gradient is multiplied by 0, not omitted.

        Args:
          state: before the step.
          batch: arrays [b, ...] with index i32[b] and example_mask f32[b].
          rng: the run's key for training noise and augmentation.
          axis_name: the axis over which devices share the batch; None: the batch is not shared.

        Returns:
          The new state; {"means": {name: Mean}, "grad_norm", "learning_rate": f32 scalars,
          "finite": bool scalar}, the same on every device.
        """
        batch = self._augmented(batch, rng, state.step)
        keys = example_keys(rng, state.step, batch["index"])
        weight = batch["example_mask"]

        def total(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, Any]]]:
            loss, (model_state, metrics) = self.stage.loss(
                params, state.model_state, batch, keys, True
            )
            kept = jnp.where(weight > 0, loss * weight, 0.0)
            return jnp.sum(kept), (model_state, {**metrics, "loss": loss})

        (_, (model_state, metrics)), gradient = jax.value_and_grad(total, has_aux=True)(
            state.params
        )
        sums = from_batch(metrics, weight), gradient, model_state
        means, gradient, model_state = _over_devices(sums, axis_name)
        if axis_name is not None:
            # The mean over devices; moments of a shared batch are equal on all devices already.
            devices = jax.lax.axis_size(axis_name)
            model_state = jax.tree.map(lambda total: total / devices, model_state)
        count = jnp.maximum(means["loss"].count, 1.0)
        gradient = jax.tree.map(
            lambda free, g: g / count if free else jnp.zeros_like(g), self.trainable, gradient
        )
        grad_norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient)))
        finite = jnp.isfinite(means["loss"].sum) & jnp.isfinite(grad_norm)
        updated = self._updated(state, gradient, model_state)
        new_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, state)
        return new_state, {
            "means": means,
            "grad_norm": grad_norm,
            "learning_rate": jnp.asarray(self.learning_rate(state.step), jnp.float32),
            "finite": finite,
        }

    def eval_step(
        self, params: Any, model_state: Any, batch: Batch, axis_name: str | None = None
    ) -> dict[str, Mean]:
        """The stage's metrics over a batch as (sum, count), summed over devices."""
        values = self.stage.evaluate(params, model_state, batch)
        return _over_devices(from_batch(values, batch["example_mask"]), axis_name)

    def _augmented(self, batch: Batch, rng: jax.Array, step: Any) -> Batch:
        """The batch augmented by keys separate from those of the loss; unchanged without any."""
        if not any(self.strength.values()) and not self.mixup:
            return batch
        keys = example_keys(jax.random.fold_in(rng, AUGMENTATION), step, batch["index"])
        return augment.apply(batch, keys, self.strength, self.mixup)

    def _updated(self, state: TrainState, gradient: Any, model_state: Any) -> TrainState:
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
        decay = ema_decay(self.ema_decay, state.step)

        # A frozen parameter is returned unchanged: even -0.0 + 0.0 would change its bits.
        def moved(free: bool, param: jax.Array, update: jax.Array) -> jax.Array:
            return param + update if free else param

        def averaged(free: bool, average: jax.Array, param: jax.Array) -> jax.Array:
            return average + (1.0 - decay) * (param - average) if free else average

        params = jax.tree.map(moved, self.trainable, state.params, updates)
        return TrainState(
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            ema_params=jax.tree.map(averaged, self.trainable, state.ema_params, params),
        )


def steps_of(config: Mapping[str, Any], stage: Stage, params: Any) -> Steps:
    """The steps of a stage by its resolved config; `params` may be abstract shapes."""
    trainable = stage.trainable(params)
    settings, count = config["optimizer"], config["steps"]
    return Steps(
        stage,
        optimizer.make(settings, count, trainable),
        optimizer.schedule(settings, count),
        settings["ema_decay"],
        trainable,
        augment.strengths(config["data"]["augment"]),
        config["data"].get("mixup", 0.0),
    )


def example_keys(rng: jax.Array, step: Any, index: jax.Array) -> jax.Array:
    """key[b]: a key for every example, from step and index, independent of the device."""
    at_step = jax.random.fold_in(rng, step)
    return jax.vmap(lambda i: jax.random.fold_in(at_step, i))(index)


def _over_devices(tree: Any, axis_name: str | None) -> Any:
    """Sums over devices in one operation, because each sum between processes takes milliseconds."""
    if axis_name is None:
        return tree
    flat, restore = jax.flatten_util.ravel_pytree(tree)
    return restore(jax.lax.psum(flat, axis_name))
