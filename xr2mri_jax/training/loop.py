"""The training run, from top to bottom in a fixed order.

`train`: config, own folder or earlier stage, stage, dataset. `fit`: shapes, state, checkpoint,
then for every step, in this order, which must not change because a continued run relies on it:
 1. the next batch                5. evaluation and sample pictures
 2. the step on the devices       6. checkpoint: state, input position, open sums
 3. check of the previous step    7. stop, if a signal requested it
 4. a line of metrics

Training starts from a checkpoint in the run's folder, or else from the earlier stage named in the
config, or else from random parameters.
"""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from xr2mri_jax import datasets, output_paths, stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import lock, signals
from xr2mri_jax.stages.base import Stage
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import (
    inference_settings,
    lost_host,
    parallel,
    resume_checks,
    run_log,
    trained_subjects,
)
from xr2mri_jax.training.inputs import DatasetInputs, Inputs, Position
from xr2mri_jax.training.run import NotFiniteError, Run, print_line

__all__ = ["NotFiniteError", "fit", "train"]


def train(config: Any, folder: str | os.PathLike[str]) -> int:
    """Trains a stage in a folder, or continues the run there.

    Args:
      config: ml_collections config, see `training.config`.
      folder: the run's workdir.

    Returns:
      0, or 128 + the number of the signal that ended the run early.

    Raises:
      InputError: for a wrong config, a missing dataset or earlier stage, a damaged checkpoint, or a
        folder that is not writable or that another run is using.
      NotFiniteError: at a NaN; the last good checkpoint is kept.
      LostHostError: if another host of the run ended or cannot be reached.
    """
    folder = Path(folder)
    asked = recipe.plain(config)
    recipe.validate(asked)
    with _alone_in(folder):
        resolved = _resolved(asked, folder)
        stage = stages.make_stage(resolved)
        inputs = DatasetInputs.from_config(resolved, stage)
        return fit(resolved, folder, stage, inputs, doubts=_doubts(resolved, folder, inputs))


def fit(
    config: Mapping[str, Any],
    folder: Path,
    stage: Stage,
    inputs: Inputs,
    devices: Any = None,
    doubts: Sequence[str] = (),
) -> int:
    """Trains a stage on batches.

    Args:
      config: resolved plain config.
      folder: the run's workdir.
      stage: the stage to train.
      inputs: its data.
      devices: the devices; None: all.
      doubts: about the start of a new run, for its record.

    Returns:
      0, or 128 + the number of the signal that ended the run early.

    Raises:
      InputError, NotFiniteError, LostHostError: see `train`.
    """
    with contextlib.closing(inputs.training()) as training:
        run = Run(config, folder, stage, inputs, training, devices, doubts)
        if run.step >= config["steps"]:
            print_line(f"{folder} already has all of its {run.step} steps: nothing to train")
            return 0
        first = parallel.host_index() == 0
        log = run_log.RunLog(folder, run.step, config["steps"]) if first else run_log.NullLog()
        together = lost_host.ends_quickly(folder)
        with together, signals.StopRequest() as stop, log as run.run_log:
            return _take_steps(config, folder, run, inputs, training, stop)


def _resolved(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The resolved config of a new run, or of the run in `folder` if it agrees with `asked`."""
    stored = workdir.read_config(folder) if workdir.steps(folder) else None
    if stored is not None and stored.get("stage") != asked["stage"]:
        raise InputError(
            f"{folder} holds a run of the stage {stored.get('stage')!r}, found "
            f"{asked['stage']!r}: choose another --workdir"
        )
    resolved = stages.resolve(asked, stored)
    builder = datasets.load_builder(asked["data"]["dataset"], asked["data"]["data_dir"])
    resolved = inference_settings.with_inference_settings(resolved, builder)
    if stored is not None:
        recipe.require_same_run(stored, resolved, folder)
        resume_checks.require_same_earlier(stored, asked, folder)
    return resolved


def _doubts(config: Mapping[str, Any], folder: Path, inputs: DatasetInputs) -> list[str]:
    """Warns on the first host of doubts about the start of a new run, and returns them."""
    if workdir.steps(folder) or parallel.host_index() != 0:
        return []
    found = trained_subjects.doubts_of_start(config, inputs.builder)
    for doubt in found:
        logging.warning(doubt)
    return found


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """The first host holds the lock of the run's folder; if it cannot, all hosts raise."""
    new = not folder.exists()
    try:
        with contextlib.ExitStack() as held:
            refusal = ""
            if parallel.host_index() == 0:
                try:
                    output_paths.require_writable(folder, "--workdir")
                    folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(lock.hold(folder, "a training run"))
                except InputError as error:
                    refusal = str(error)
            refusal = parallel.gather_text(f"-{refusal}")[0].removeprefix("-")
            if refusal:
                raise InputError(refusal)
            yield
    finally:
        if new and parallel.host_index() == 0:
            with contextlib.suppress(OSError):
                folder.rmdir()  # if nothing was written


def _take_steps(
    config: Mapping[str, Any],
    folder: Path,
    run: Run,
    inputs: Inputs,
    training: Position,
    stop: signals.StopRequest,
) -> int:
    """Takes the remaining steps, in the order documented above; returns the exit code."""
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
        # Hosts receive the signal at different steps and must agree on one.
        asked = (at_line or parallel.host_count() == 1) and parallel.any_host(
            stop.number is not None
        )
        if last or asked or step % config["checkpoint_every"] == 0:
            run.save(training)
        if asked and not last:
            print_line(
                f"stopped by a signal after step {step}; repeat the command to continue {folder}"
            )
            return 128 + (stop.number or signal.SIGTERM)
    return 0
