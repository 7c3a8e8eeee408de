"""The state of a run between steps: training state, metric sums, and the step not yet checked."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xr2mri_jax import workdir
from xr2mri_jax.errors import InputError, WorkError
from xr2mri_jax.metrics import base as metrics
from xr2mri_jax.stages.base import PICTURED, Stage, Summarises
from xr2mri_jax.training import (
    checkpoint,
    compilations,
    mesh,
    parallel,
    resume_checks,
    run_log,
)
from xr2mri_jax.training import state as states
from xr2mri_jax.training.inputs import Batch, Inputs, Position
from xr2mri_jax.training.state import TrainState
from xr2mri_jax.training.step import Steps, steps_of


class NotFiniteError(WorkError):
    """A loss, gradient or metric was NaN or infinite; the message names step and examples."""


class Run:
    """A stage in training.

    Attributes:
      step: number of steps taken.
      run_log: the log; writes nothing until the loop sets another.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        folder: Path,
        stage: Stage,
        inputs: Inputs,
        training: Position,
        devices: Any = None,
        doubts: Sequence[str] = (),
    ):
        """Infers shapes, then continues from a checkpoint or creates a new state.

        Args:
          config: resolved plain config.
          folder: the run's workdir.
          stage: the stage to train.
          inputs: shapes, and examples for `Stage.fitted`.
          training: the batches; restored to the checkpoint's position.
          devices: the devices; None: all.
          doubts: about the start of a new run, for its record.
        """
        self.run_log: run_log.RunLog | run_log.NullLog = run_log.NullLog()
        self._config, self._folder, self._stage = config, folder, stage
        self._fingerprints = inputs.fingerprints()
        init_rng, noise_rng = (
            jax.random.fold_in(jax.random.key(config["seed"]), i) for i in (0, 1)
        )
        params, model_state = jax.eval_shape(stage.create, init_rng)
        steps = steps_of(config, stage, params)
        depth = mesh.depth_of(config)
        self._parallel = parallel.make_parallel(config["parallel"], steps, devices, depth)
        if jax.tree.leaves(model_state):
            _require_equal_shares(config, self._parallel.device_count // depth)
        restored = self._restored(steps, init_rng, training)
        if restored is None and parallel.host_index() == 0:
            workdir.start_run(folder, resume_checks.earlier_runs(config), doubts)
        state, sums = restored or (_fresh(stage, steps, init_rng, inputs), {})
        self.step = int(state.step)
        # A run with more steps than asked for is left alone.
        if parallel.host_index() == 0 and self.step <= config["steps"]:
            workdir.write_config(folder, config)
        self._state = self._parallel.replicate(state)
        self._rng = self._parallel.replicate(noise_rng)
        self._sums = run_log.Sums(sums)
        self._open: tuple[int, list[str], Any] | None = None
        # Shapes of the batch for which the step was compiled.
        self._shapes: dict[str, str] | None = None

    def take_step(self, batch: Batch) -> None:
        """Starts a step and, while the devices compute, checks the previous step.

        Arrays move between host and devices only by explicit transfers: JAX raises at any implicit
        one, which would make the devices wait. The step is compiled once; a later compilation gives
        a RuntimeWarning.
        """
        with jax.transfer_guard("disallow"):
            on_devices = self._parallel.prepare_batch(batch)
            compiled = compilations.count()
            self._state, outcome = self._parallel.train_step(self._state, on_devices, self._rng)
            self.step += 1
            if self._shapes is None:
                self._shapes = _shapes(on_devices)
            elif compilations.count() > compiled:
                self._warn_of_compilation(on_devices)
            self.settle()
        self._open = (self.step, _places(batch), outcome)

    def settle(self) -> None:
        """Waits for the current step; stops the run if it is not finite."""
        if self._open is None:
            return
        step, places, outcome = self._open
        self._open = None
        outcome = parallel.unreplicate(outcome)
        if not outcome["finite"]:
            loss = float(outcome["means"]["loss"].sum) / float(outcome["means"]["loss"].count)
            norm = float(outcome["grad_norm"])
            self._refuse(f"step {step}: loss {loss}, gradient norm {norm}, not finite", places)
        for name, mean in outcome["means"].items():
            self._sums.add(name, float(mean.sum), float(mean.count))
        for name in ("grad_norm", "learning_rate"):
            self._sums.add(name, float(outcome[name]), 1.0)
        self.run_log.stepped(float(outcome["means"]["loss"].count))

    def restart_clock(self) -> None:
        """Excludes the time until now from the displayed speed."""
        self.run_log.restart_clock(self.step)

    def log(self) -> None:
        """Writes the means since the last line."""
        self.settle()
        self.run_log.train(self.step, self._sums.take())

    def evaluate(self, batches: Iterable[Batch]) -> None:
        """Evaluates the averaged parameters, and draws pictures of the first batch.

        Raises:
          InputError: if there is no batch.
        """
        self.settle()
        total: dict[str, metrics.Mean] | None = None
        first: Batch | None = None
        for batch in batches:
            first = batch if first is None else first
            found = self._evaluated(batch)
            total = found if total is None else metrics.merge(total, found)
        if total is None or first is None:
            raise InputError("the evaluation split has no batch, expected at least one example")
        self.run_log.evaluation(self.step, summary(self._stage, total))
        real = np.flatnonzero(first["example_mask"])[:PICTURED]
        shown = {name: value[real] for name, value in first.items()}
        self.run_log.pictures(self.step, lambda: self._sample_pictures(shown))
        self.restart_clock()

    def save(self, training: Position) -> None:
        """Writes a checkpoint of the state, the input position and the metric sums."""
        self.settle()
        position = json.dumps(training.get_state())
        checkpoint.save(
            self._folder,
            self._state,
            position,
            self._sums.to_json(),
            self._config,
            self._parallel.device_count,
            self._fingerprints,
        )
        self.restart_clock()

    def _evaluated(self, batch: Batch) -> dict[str, metrics.Mean]:
        model = self._state.ema_params, self._state.model_state
        part = self._parallel.eval_step(*model, self._parallel.prepare_batch(batch))
        found = jax.tree.map(np.asarray, parallel.unreplicate(part))
        wrong = [name for name, mean in found.items() if not np.isfinite(mean.sum).all()]
        if wrong:
            self._refuse(
                f"evaluation after step {self.step}: {wrong[0]} is not finite", _places(batch)
            )
        return found

    def _warn_of_compilation(self, batch: Mapping[str, jax.Array]) -> None:
        before, now = self._shapes or {}, _shapes(batch)
        changed = [
            f"{name} {before.get(name)} -> {now.get(name)}"
            for name in sorted(before | now)
            if before.get(name) != now.get(name)
        ]
        self._shapes = now
        warnings.warn(
            f"step {self.step} compiled the training step again, expected one compilation per run; "
            f"changed in the batch: {', '.join(changed) or 'nothing'}",
            RuntimeWarning,
            stacklevel=3,
        )

    def _sample_pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        model = self._state.ema_params, self._state.model_state
        params, model_state = parallel.unreplicate(model)
        with self._parallel.on_this_host():
            return self._stage.pictures(params, model_state, batch)

    def _refuse(self, what: str, places: Sequence[str]) -> None:
        own = " ".join(places)
        with jax.transfer_guard("allow"):
            numbers = " ".join(parallel.gather_text(own))
        saved = workdir.steps(self._folder)
        kept = f"the checkpoint of step {saved[-1]} is untouched" if saved else "no checkpoint yet"
        raise NotFiniteError(
            f"{what}; the batch's examples, by position in the split: {numbers}; {kept}"
        )

    def _restored(
        self, steps: Steps, init_rng: jax.Array, training: Position
    ) -> tuple[TrainState, Mapping[str, Any]] | None:
        """State and metric sums of the newest checkpoint; restores the position of `training`."""
        tx, stage, folder = steps.optimizer, self._stage, self._folder
        like = jax.eval_shape(lambda rng: states.create(*stage.create(rng), tx), init_rng)
        restored = checkpoint.restore(folder, like, self._config)
        if restored is None:
            return None
        resume_checks.require_same_data(
            restored.data, self._fingerprints, folder, self._config["data"]
        )
        training.set_state(json.loads(restored.position))
        print_line(f"continuing {folder} after step {int(restored.state.step)}")
        self._print_changes(restored)
        return restored.state, restored.sums

    def _print_changes(self, restored: checkpoint.Restored) -> None:
        """Prints a note if the number of hosts or devices differs from the checkpoint's."""
        hosts, devices = parallel.host_count(), self._parallel.device_count
        if restored.hosts != hosts:
            print_line(
                f"note: it was trained on {restored.hosts} hosts and continues on {hosts}, with "
                "the same examples in every step"
            )
        if restored.devices not in (None, devices):
            print_line(
                f"note: it was trained on {restored.devices} devices and continues on {devices}: "
                "a different order of summation changes the last bits"
            )


def _require_equal_shares(config: Mapping[str, Any], devices: int) -> None:
    """Batch normalisation uses the moments of the whole batch, in which padding would count.

    Raises:
      InputError: if the devices that share a batch cannot have equally many examples.
    """
    size = config["data"]["batch_size"]
    if size % devices:
        raise InputError(
            f"config.data.batch_size is {size}, expected a multiple of the {devices} devices, "
            f"because {config['stage']} uses batch normalisation: change it, or use fewer devices"
        )


def summary(stage: Stage, total: Mapping[str, metrics.Mean]) -> dict[str, float]:
    """The metrics over a split: the means, or the stage's own summary."""
    return stage.summarise(total) if isinstance(stage, Summarises) else metrics.compute(total)


def _places(batch: Batch) -> list[str]:
    """Where the examples are in the split, without padding."""
    places = batch.get("place", batch["index"])
    return [str(place) for place, i in zip(places, batch["index"], strict=True) if i >= 0]


def _shapes(batch: Mapping[str, jax.Array]) -> dict[str, str]:
    return {name: f"{value.dtype}{list(value.shape)}" for name, value in batch.items()}


def print_line(line: str) -> None:
    """Prints a line on the first host."""
    if parallel.host_index() == 0:
        print(line, flush=True)


def _fresh(stage: Stage, steps: Steps, init_rng: jax.Array, inputs: Inputs) -> TrainState:
    params, model_state = stage.init(init_rng, inputs.example())
    return states.create(stage.fitted(params, inputs.fitted()), model_state, steps.optimizer)
