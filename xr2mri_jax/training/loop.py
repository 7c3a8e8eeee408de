"""The training run, from top to bottom in a fixed order.

`train`: config, own folder or earlier stage, stage, dataset. `fit`: shapes, state, checkpoint,
then for every step, in this order, which must not change because a continued run relies on it:
 1. the next batch                5. evaluation and sample pictures
 2. the step on the devices       6. checkpoint: state, input position, open sums
 3. the check of the step before  7. a signal's wish to stop
 4. a line of metrics

Where training starts: a checkpoint in the run's own folder, else the earlier stage's folder that
the config names, else random parameters.
"""

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import datasets, stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import signals
from xr2mri_jax.stages.base import Stage
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import parallel, record, served
from xr2mri_jax.training.inputs import DatasetInputs, Inputs, Position
from xr2mri_jax.training.run import NotFiniteError, Run, say

__all__ = ["NotFiniteError", "fit", "train"]


def train(config: Any, folder: str | os.PathLike[str]) -> int:
    """Trains a stage into a folder, or continues there.

    Args:
      config: ml_collections config, see `training.config`.
      folder: the run's workdir.

    Returns:
      0, or 128 + the number of the signal that ended the run early.

    Raises:
      InputError: for a wrong config, a missing dataset or earlier stage, a broken checkpoint.
      NotFiniteError: at a NaN; the last good checkpoint stays.
    """
    folder = Path(folder)
    resolved = _resolved(recipe.plain(config), folder)
    stage = stages.make_stage(resolved)
    return fit(resolved, folder, stage, DatasetInputs.from_config(resolved, stage))


def fit(
    config: Mapping[str, Any], folder: Path, stage: Stage, inputs: Inputs, devices: Any = None
) -> int:
    """Trains a stage on batches.

    Args:
      config: resolved plain config.
      folder: the run's workdir.
      stage: what is trained.
      inputs: its data.
      devices: all if None.

    Returns:
      0, or 128 + the number of the signal that ended the run early.

    Raises:
      InputError, NotFiniteError: see `train`.
    """
    with contextlib.closing(inputs.training()) as training:
        run = Run(config, folder, stage, inputs, training, devices)
        if run.step >= config["steps"]:
            say(f"{folder} has its {run.step} steps already: nothing to train")
            return 0
        first = parallel.host_index() == 0
        recorder = (
            record.Recorder(folder, run.step, config["steps"]) if first else record.NullRecorder()
        )
        with signals.StopRequest() as stop, recorder as run.recorder:
            return _take_steps(config, folder, run, inputs, training, stop)


def _resolved(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The resolved config of a new run, or of the one in `folder`, which it must agree with."""
    recipe.validate(asked)
    stored = workdir.read_config(folder) if workdir.steps(folder) else None
    if stored is not None and stored.get("stage") != asked["stage"]:
        raise InputError(
            f"{folder} holds a run of the stage {stored.get('stage')!r}, asked for is "
            f"{asked['stage']!r}: choose another --workdir"
        )
    resolved = stages.resolve(asked, stored)
    builder = datasets.load_builder(asked["data"]["dataset"], asked["data"]["data_dir"])
    resolved = served.with_served(resolved, builder)
    if stored is not None:
        recipe.require_same_run(stored, resolved, folder)
    return resolved


def _take_steps(
    config: Mapping[str, Any],
    folder: Path,
    run: Run,
    inputs: Inputs,
    training: Position,
    stop: signals.StopRequest,
) -> int:
    """The steps that are left, in the order of this file's first lines; returns the exit code."""
    start, steps = run.step, config["steps"]
    for step in range(start + 1, steps + 1):
        run.take_step(next(training))
        if step == start + 1:
            run.settle()
            run.restart_clock()
        last, at_line = step == steps, step % config["log_every"] == 0
        if last or at_line:
            run.log()
        if last or step % config["eval_every"] == 0:
            run.evaluate(inputs.evaluation())
        # Several hosts see the signal at different steps and must agree on one.
        asked = (at_line or parallel.host_count() == 1) and parallel.any_host(
            stop.number is not None
        )
        if last or asked or step % config["checkpoint_every"] == 0:
            run.save(training)
        if asked and not last:
            say(f"stopped by a signal after step {step}; started again, {folder} continues")
            return 128 + (stop.number or signal.SIGTERM)
    return 0
