"""The training run, from top to bottom in a fixed order.

`train`: config, own folder or earlier stage, dataset, stage. `fit`: shapes, state, checkpoint,
then for every step, in this order, which must not change because a continued run relies on it:
 1. the next batch                5. evaluation and sample pictures
 2. the step on the devices       6. checkpoint: state, input position, open sums
 3. the check of the step before  7. a signal's wish to stop
 4. a line of metrics

Where training starts: a checkpoint in the run's own folder, else the earlier stage's folder that
the config names, else random parameters.
"""

import contextlib
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from xr2mri_jax import datasets, files, stages, workdir
from xr2mri_jax.data import selection
from xr2mri_jax.data.batches import example_shapes, make_iterator
from xr2mri_jax.errors import InputError, WorkError
from xr2mri_jax.metrics import base as metrics
from xr2mri_jax.runtime import lock, signals
from xr2mri_jax.stages.base import PICTURED, Stage
from xr2mri_jax.training import checkpoint, continuing, optimizer, parallel, record, soft_labels
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import state as states
from xr2mri_jax.training.step import Steps

Batches = Callable[[], Iterator[dict[str, np.ndarray]]]

# A mean over so many volumes is as good as over all, and costs seconds with any dataset.
FITTED = 512


class NotFiniteError(WorkError):
    """A loss, gradient or metric was NaN or infinite; the message names step and examples."""


class Data(Protocol):
    """Batches with a position that can be taken and set."""

    def __next__(self) -> dict[str, np.ndarray]:
        """The next batch."""
        ...

    def get_state(self) -> Any:
        """JSON-able position after the last batch."""
        ...

    def set_state(self, state: Any) -> None:
        """Continues at a position."""
        ...


def train(config: Any, folder: str | os.PathLike[str]) -> int:
    """Trains a stage into a folder, or continues there.

    Args:
      config: ml_collections config, see `training.config`.
      folder: the run's workdir.

    Returns:
      0, or 128 + the number of the signal that ended the run early.

    Raises:
      InputError: for a wrong config, a missing dataset or earlier stage, a broken checkpoint, a
        folder that another run works in or that cannot be written to.
      NotFiniteError: at a NaN; the last good checkpoint stays.
    """
    folder = Path(folder)
    asked = recipe.plain(config)
    recipe.validate(asked)
    with _alone_in(folder):
        return _train(asked, folder)


def _train(asked: dict[str, Any], folder: Path) -> int:
    stored = workdir.read_config(folder) if workdir.steps(folder) else None
    if stored is not None and stored.get("stage") != asked["stage"]:
        raise InputError(
            f"{folder} holds a run of the stage {stored.get('stage')!r}, asked for is "
            f"{asked['stage']!r}: choose another --workdir"
        )
    resolved = stages.resolve(asked, stored)
    if stored is not None:
        recipe.require_same_run(stored, resolved, folder)
        continuing.require_same_earlier(stored, asked, folder)
    stage = stages.make_stage(resolved)
    data, hosts = resolved["data"], parallel.host_count()
    if data["batch_size"] % hosts:
        raise InputError(
            f"config.data.batch_size is {data['batch_size']}, expected a multiple of the {hosts} "
            "hosts"
        )
    builder = datasets.load_builder(data["dataset"], data["data_dir"])

    def batches(split: str, **options: Any) -> Any:
        return whole_split(
            split,
            batch_size=data["batch_size"] // hosts,
            shard_index=parallel.host_index(),
            shard_count=hosts,
            **options,
        )

    taught = _soft_labels(resolved, folder, stored)

    def whole_split(split: str = "train_split", **options: Any) -> Any:
        training, fields = split == "train_split", stage.fields
        source = selection.from_config(builder, data, data[split], fields, training)
        if training and taught:
            source = soft_labels.attach(source, builder, data[split], taught)
            fields = (*fields, "taught")
        return make_iterator(
            source,
            data[split],
            seed=resolved["seed"],
            fields=fields,
            **{"batch_size": data["batch_size"], **options},
        )

    def first_examples() -> Iterator[dict[str, np.ndarray]]:
        with contextlib.closing(whole_split()) as every:
            yield from itertools.islice(every, -(-FITTED // data["batch_size"]))

    shapes = example_shapes(builder)
    example = {
        name: jax.ShapeDtypeStruct((1, *shapes[name][0]), shapes[name][1])
        for name in stage.fields
        if name in shapes
    }
    training = batches(
        "train_split",
        shuffle=True,
        augment=data["augment"],
        mixup=data.get("mixup", 0.0),
        epochs=None,
        cache=data["cache"],
        stand_back=jax.default_backend() == "cpu",
    )
    with contextlib.closing(training):
        return fit(
            resolved,
            folder,
            stage,
            example,
            training,
            lambda: batches("eval_split"),
            examples=first_examples,
            fingerprints=continuing.fingerprints(builder, data),
        )


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """The first host holds the lock of the run's folder; where it is refused, all hosts are."""
    new = not folder.exists()
    try:
        with contextlib.ExitStack() as held:
            refusal = ""
            if parallel.host_index() == 0:
                try:
                    files.require_writable(folder, "--workdir")
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
                folder.rmdir()  # where nothing came of it


def _soft_labels(
    config: Mapping[str, Any], folder: Path, stored: Mapping[str, Any] | None
) -> soft_labels.Labels:
    """Those of the run's own table where it is continued, else the teachers'; none without any."""
    if not config.get("teacher_workdirs"):
        return {}
    grades = config["data"]["grades"]
    if stored is not None:
        return soft_labels.read(folder, grades)
    labels = soft_labels.ask(config["teacher_workdirs"].split(","), config["data"])
    if parallel.host_index() == 0:
        soft_labels.write(folder, labels, grades)
    return labels


def fit(
    config: Mapping[str, Any],
    folder: Path,
    stage: Stage,
    example: Mapping[str, Any],
    training: Data,
    evaluation: Batches,
    devices: Any = None,
    examples: Batches = lambda: iter(()),
    fingerprints: Mapping[str, str] | None = None,
) -> int:
    """Trains a stage on batches.

    Args:
      config: resolved plain config.
      folder: the run's workdir.
      stage: what is trained.
      example: abstract shapes of a batch of one.
      training: endless batches.
      evaluation: makes one pass over the evaluation split, equally many batches on every host.
      devices: all if None.
      examples: makes a pass over training examples, the same on every host, for `Stage.fitted`.
      fingerprints: what tells the splits' data from other data, by the split's name.

    Returns:
      0, or 128 + the number of the signal that ended the run early.

    Raises:
      InputError, NotFiniteError: see `train`.
    """
    run = _Run(config, folder, stage, example, training, examples, devices, fingerprints or {})
    start, steps = run.step, config["steps"]
    if start >= steps:
        _say(f"{folder} has its {start} steps already: nothing to train")
        return 0
    with signals.StopRequest() as stop, _recorder(folder, start, steps) as run.recorder:
        for step in range(start + 1, steps + 1):
            run.take_step(next(training))
            if step == start + 1:
                run.settle()
                run.restart_clock()
            last, at_line = step == steps, step % config["log_every"] == 0
            if last or at_line:
                run.log()
            if last or step % config["eval_every"] == 0:
                run.evaluate(evaluation)
            # Several hosts see the signal at different steps and must agree on one.
            asked = (at_line or parallel.host_count() == 1) and parallel.any_host(
                stop.number is not None
            )
            if last or asked or step % config["checkpoint_every"] == 0:
                run.save(training)
            if asked and not last:
                _say(f"stopped by a signal after step {step}; started again, {folder} continues")
                return 128 + (stop.number or signal.SIGTERM)
    return 0


class _Run:
    """What the loop holds between steps."""

    recorder: record.Recorder | None = None

    def __init__(
        self,
        config: Mapping[str, Any],
        folder: Path,
        stage: Stage,
        example: Mapping[str, Any],
        training: Data,
        examples: Batches,
        devices: Any,
        fingerprints: Mapping[str, str],
    ):
        """Infers shapes, then continues from a checkpoint or starts the state anew."""
        self._config, self._folder, self._stage = config, folder, stage
        self._fingerprints = fingerprints
        init_rng, noise_rng = (
            jax.random.fold_in(jax.random.key(config["seed"]), i) for i in (0, 1)
        )
        params, _ = jax.eval_shape(stage.create, init_rng)
        trainable = stage.trainable(params)
        tx = optimizer.make(config["optimizer"], config["steps"], trainable)
        steps = Steps(
            stage,
            tx,
            optimizer.schedule(config["optimizer"], config["steps"]),
            config["optimizer"]["ema_decay"],
            trainable,
        )
        like = jax.eval_shape(lambda rng: states.create(*stage.create(rng), tx), init_rng)
        self._parallel = parallel.make_parallel(config["parallel"], steps, devices)
        restored = checkpoint.restore(folder, like, config)
        if restored is None:
            if parallel.host_index() == 0:
                workdir.start_run(folder, continuing.earlier_runs(config))
            params, model_state = stage.init(init_rng, example)
            state = states.create(stage.fitted(params, examples()), model_state, tx)
            sums: Mapping[str, Any] = {}
        else:
            continuing.require_same_data(restored.data, fingerprints, folder, config["data"])
            state, sums = restored.state, restored.sums
            training.set_state(json.loads(restored.position))
            _say(f"continuing {folder} after step {int(state.step)}")
            count = self._parallel.device_count
            if restored.devices not in (None, count):
                _say(
                    f"note: it was trained on {restored.devices} devices until now and is "
                    f"continued on {count}: sums in another order change the last bits"
                )
        if parallel.host_index() == 0:
            workdir.write_config(folder, config)
        self.step = int(state.step)
        self._state = self._parallel.replicate(state)
        self._rng = self._parallel.replicate(noise_rng)
        self._sums = record.Sums(sums)
        self._open: tuple[int, np.ndarray, Any] | None = None

    def take_step(self, batch: Mapping[str, np.ndarray]) -> None:
        """Starts a step and, while the devices work, checks the one before."""
        on_devices = self._parallel.prepare_batch(batch)
        self._state, outcome = self._parallel.train_step(self._state, on_devices, self._rng)
        self.step += 1
        self.settle()
        self._open = (self.step, batch["index"], outcome)

    def settle(self) -> None:
        """Waits for the step that is open; stops the run where it was not finite."""
        if self._open is None:
            return
        step, index, outcome = self._open
        self._open = None
        outcome = parallel.unreplicate(outcome)
        if not outcome["finite"]:
            loss = float(outcome["means"]["loss"].sum) / float(outcome["means"]["loss"].count)
            norm = float(outcome["grad_norm"])
            self._refuse(f"step {step}: loss {loss}, gradient norm {norm}, not finite", index)
        for name, mean in outcome["means"].items():
            self._sums.add(name, float(mean.sum), float(mean.count))
        for name in ("grad_norm", "learning_rate"):
            self._sums.add(name, float(outcome[name]), 1.0)
        if self.recorder is not None:
            self.recorder.stepped(float(outcome["means"]["loss"].count))

    def restart_clock(self) -> None:
        """Leaves what was until now out of the speed that is shown."""
        if self.recorder is not None:
            self.recorder.restart_clock(self.step)

    def log(self) -> None:
        """Writes the means since the last line."""
        self.settle()
        means = self._sums.take()
        if self.recorder is not None:
            self.recorder.train(self.step, means)

    def evaluate(self, evaluation: Batches) -> None:
        """Evaluates the averaged parameters, and draws the first batch."""
        self.settle()
        model = (self._state.ema_params, self._state.model_state)
        total: dict[str, metrics.Mean] | None = None
        first: Mapping[str, np.ndarray] | None = None
        for batch in evaluation():
            first = batch if first is None else first
            part = self._parallel.eval_step(*model, self._parallel.prepare_batch(batch))
            found = jax.tree.map(np.asarray, parallel.unreplicate(part))
            wrong = [name for name, mean in found.items() if not np.isfinite(mean.sum).all()]
            if wrong:
                self._refuse(
                    f"evaluation after step {self.step}: {wrong[0]} is not finite", batch["index"]
                )
            total = found if total is None else metrics.merge(total, found)
        if total is None or first is None:
            raise InputError("the evaluation split gave no batch, expected one example or more")
        if self.recorder is not None:
            self.recorder.evaluation(self.step, summary(self._stage, total))
            real = np.flatnonzero(first["example_mask"])[:PICTURED]
            shown = {name: value[real] for name, value in first.items()}
            params, model_state = parallel.unreplicate(model)
            pictures = self._stage.pictures(params, model_state, shown)
            self.recorder.pictures(self.step, pictures)
        self.restart_clock()

    def save(self, training: Data) -> None:
        """Writes a checkpoint of the state, the input's position and the open sums."""
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

    def _refuse(self, what: str, index: np.ndarray) -> None:
        numbers = " ".join(parallel.gather_text(" ".join(str(i) for i in index if i >= 0)))
        saved = workdir.steps(self._folder)
        kept = f"the checkpoint of step {saved[-1]} is untouched" if saved else "no checkpoint yet"
        raise NotFiniteError(
            f"{what}; the batch's examples, by position in the split: {numbers}; {kept}"
        )


def summary(stage: Stage, total: Mapping[str, metrics.Mean]) -> dict[str, float]:
    """The metrics over a whole split: the means, or what the stage makes of them."""
    whole = getattr(stage, "whole", None)
    return metrics.compute(total) if whole is None else whole(total)


def _recorder(folder: Path, start: int, steps: int) -> contextlib.AbstractContextManager[Any]:
    """The first host keeps the record."""
    if parallel.host_index() == 0:
        return record.Recorder(folder, start, steps)
    return contextlib.nullcontext()


def _say(line: str) -> None:
    if parallel.host_index() == 0:
        print(line, flush=True)
