"""Suite `siamese_gap_epoch`: an epoch of the classifier's training, including its input.

The suite `siamese_gap` measures the step on a ready input. Here every radiograph is shuffled,
batched and augmented, as in training, and both frameworks do this on the cores that train.
"""

import contextlib
import importlib.util
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from xr2mri_jax import stages
from xr2mri_jax.data import augment
from xr2mri_jax.data.batches import make_iterator
from xr2mri_jax.runtime import host_memory, local_processes, processor
from xr2mri_jax.stages.base import initialise
from xr2mri_jax.tools.benchmarks import timing
from xr2mri_jax.tools.benchmarks.generator import MISSING
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import parallel
from xr2mri_jax.training import state as states
from xr2mri_jax.training.step import steps_of

# The strengths and settings of `configs/siamese_gap.py:fine`, except Muon, which PyTorch lacks for
# kernels.
AUGMENT = {
    "shift": 8.0,
    "rotate": 7.0,
    "scale": 0.08,
    "gamma": 0.2,
    "contrast": 0.2,
    "brightness": 0.08,
    "noise": 0.02,
}
OPTIMIZER = {"learning_rate": 1e-3, "weight_decay": 1e-2, "clip_norm": 5.0, "ema_decay": 0.99}
LABEL_SMOOTHING = 0.1
# An epoch of the real training radiographs: 2040 in batches of 32.
STEPS = 64
# Steps for compilation and the allocators before timing.
WARMUP = 2


def run(
    image_size: int = 224,
    repeats: int = 3,
    batch_size: int = 32,
    steps: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures `steps` training steps from stored radiographs, with PyTorch's if it is installed.

    JAX runs as by `train.py --local_processes=0`: one process per core, with `make_iterator` and
    the step of `training.step`. PyTorch has the same radiographs, network and sizes, and the same
    augmentation, in NumPy (`numpy_augment`), whereas JAX augments in its step. Both use AdamW,
    clipping, label smoothing and a moving average of the weights. PyTorch's input is a DataLoader
    without workers and with one worker per core, its memory format the default one and
    channels_last: four forms. All take turns, each in processes of its own; float32.

    Args:
      image_size: pixels of the radiograph each way.
      repeats: timed epochs of each form.
      batch_size: radiographs in a step.
      steps: of an epoch, 1 or more; None: STEPS.
      overrides: sizes of the network that differ from the default.

    Returns:
      JSON-able: "machine", "batch_size", "steps", "torch" (its version, or that it is missing),
      "seconds" of an epoch by form, "ratios" of JAX to each form of PyTorch: of the medians, and
      the median of the ratios of epochs in the same turn ("paired").
    """
    spec = {"image_shape": (image_size, image_size), **(overrides or {})}
    steps = STEPS if steps is None else steps
    count = local_processes.largest_divisor(processor.cores(), batch_size)
    work: dict[str, Any] = {"spec": spec, "batch_size": batch_size, "steps": steps}
    ours = "jax a process a core" if count > 1 else "jax"
    makers: dict[str, timing.Maker | list[timing.Maker]] = {
        ours: [
            partial(_jax_epoch, environment, **work)
            for environment in local_processes.environments(count)
        ]
    }
    report: dict[str, Any] = {
        "suite": "siamese_gap_epoch",
        "machine": timing.machine(),
        "processes": count,
        "batch_size": batch_size,
        "steps": steps,
        "torch": MISSING,
    }
    if importlib.util.find_spec("torch") is not None:
        report["torch"] = report["machine"]["versions"]["torch"]
        for memory in ("default", "channels_last"):
            for workers in (0, processor.cores()):
                name = f"torch {memory}, {workers} workers"
                makers[name] = partial(_torch_epoch, memory, workers, **work)
    report["seconds"] = timing.in_processes(makers, repeats, warmup=0)
    report["ratios"] = {
        f"{ours} / {name}": timing.ratios(report["seconds"][ours], found)
        for name, found in report["seconds"].items()
        if name != ours
    }
    return report


def table(report: Mapping[str, Any]) -> str:
    """The report as lines for the screen."""
    machine = report["machine"]
    lines = [
        f"siamese_gap_epoch, {report['steps']} steps of {report['batch_size']}, "
        f"{machine['cores']} cores, load {machine['load_average'][0]:.1f}; torch: "
        f"{report['torch']}",
        *timing.rows("an epoch with its input", report["seconds"], digits=1),
    ]
    for name, found in report["ratios"].items():
        lines.append(f"{name}: {found['medians']:.2f}, of the same turn {found['paired']:.2f}")
    return "\n".join(lines)


def radiographs(spec: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Noise as stored radiographs: xray uint16[h, w, 1] and kl, 0 and 2 by turns."""
    random = np.random.default_rng(0)
    shape = (*spec["image_shape"], 1)
    return [
        {"xray": random.integers(0, 65536, shape, np.uint16), "kl": np.int32(index % 2 * 2)}
        for index in range(count)
    ]


def _config(spec: Mapping[str, Any], batch_size: int, steps: int) -> dict[str, Any]:
    config = recipe.default("siamese_gap")
    config.steps = steps
    config.loss.label_smoothing = LABEL_SMOOTHING
    config.optimizer.update(OPTIMIZER)
    config.data.update(batch_size=batch_size, augment=AUGMENT)
    config.model.classifier.update(spec)
    return stages.resolve(recipe.plain(config), None)


def _jax_epoch(
    environment: Mapping[str, str], spec: Mapping[str, Any], batch_size: int, steps: int
) -> Callable[[], None]:
    """One process's part of an epoch."""
    os.environ.update(environment)
    host_memory.keep_freed_memory()
    parallel.divide_cores(1, batch_size)
    parallel.start_distributed()
    config = _config(spec, batch_size, steps)
    stage = stages.make_stage(config)
    key = jax.random.key(0)
    params, model_state = initialise(stage, key)
    taken = steps_of(config, stage, params)
    hosts = parallel.make_parallel("pmap", taken)
    state = hosts.replicate(states.create(params, model_state, taken.optimizer))
    key = hosts.replicate(key)
    films = radiographs(spec, steps * batch_size)
    seeds = itertools.count()

    def train(films: Sequence[Mapping[str, Any]]) -> None:
        nonlocal state
        outcome = None
        batches = make_iterator(
            films,
            "train",
            seed=next(seeds),
            batch_size=batch_size // parallel.host_count(),
            shard_index=parallel.host_index(),
            shard_count=parallel.host_count(),
            shuffle=True,
            fields=stage.fields,
        )
        with contextlib.closing(batches):
            for batch in batches:
                state, following = hosts.train_step(state, hosts.prepare_batch(batch), key)
                if outcome is not None:
                    parallel.unreplicate(outcome)
                outcome = following
        state = jax.block_until_ready(state)

    train(films[: WARMUP * batch_size])
    return partial(train, films)


def _torch_epoch(
    memory: str, workers: int, spec: Mapping[str, Any], batch_size: int, steps: int
) -> Callable[[], None]:
    host_memory.keep_freed_memory()
    from xr2mri_jax.models import siamese_gap
    from xr2mri_jax.tools.benchmarks import torch_siamese_gap

    train = torch_siamese_gap.training(
        siamese_gap.make(spec).spec,
        augment.strengths(AUGMENT),
        batch_size=batch_size,
        workers=workers,
        channels_last=memory == "channels_last",
        label_smoothing=LABEL_SMOOTHING,
        **OPTIMIZER,
    )
    films = radiographs(spec, steps * batch_size)
    train(films[: WARMUP * batch_size])
    return partial(train, films)
