"""Suite `input`: the time that reading and augmentation add to the classifier's training step."""

import contextlib
import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from xr2mri_jax import stages
from xr2mri_jax.data import augment
from xr2mri_jax.data.batches import make_iterator
from xr2mri_jax.stages.base import initialise
from xr2mri_jax.tools.benchmarks import siamese_gap_epoch, timing
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import parallel
from xr2mri_jax.training import state as states
from xr2mri_jax.training.step import example_keys, steps_of

# The strengths and the mixup of `configs/siamese_gap.py:real`.
AUGMENT = {
    "shift": 12.0,
    "rotate": 12.0,
    "scale": 0.15,
    "gamma": 0.35,
    "contrast": 0.3,
    "brightness": 0.1,
    "noise": 0.04,
}
MIXUP = 0.4
# Steps for compilation and the allocators before timing.
WARMUP = 2
# Batches of distinct radiographs.
BATCHES = 8


def run(
    image_size: int = 224,
    repeats: int = 15,
    batch_size: int = 32,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures steps on a ready batch, and steps that wait for their batch and augment it.

    Both kinds take turns in one process with all devices, as in training without --local_processes.
    The network, its sizes and the optimizer are those of `configs/siamese_gap.py:real`.

    Args:
      image_size: pixels of the radiograph each way.
      repeats: steps of each kind.
      batch_size: radiographs in a step.
      overrides: sizes of the network that differ from the default.

    Returns:
      JSON-able: "machine", "batch_size", medians in seconds: "step_s" without input, "wait_s" for
      the next batch, "augmented_s" of the step with augmentation, "alone_s" of the augmentation
      alone on one device; "share": the median over the turns of (wait + augmented - step) / step.
    """
    spec = {"image_shape": (image_size, image_size), **(overrides or {})}
    bare_config, config = (_config(spec, batch_size, augmented) for augmented in (False, True))
    stage = stages.make_stage(config)
    plain, augmented = (_training(made, stage) for made in (bare_config, config))
    films = siamese_gap_epoch.radiographs(spec, BATCHES * batch_size)
    batches = make_iterator(
        films, "train", batch_size=batch_size, shuffle=True, epochs=None, fields=stage.fields,
        cache=True, partners=True,
    )  # fmt: skip
    alone = _augmentation()
    times: dict[str, list[float]] = {"step_s": [], "wait_s": [], "augmented_s": [], "alone_s": []}
    with contextlib.closing(batches):
        ready = next(batches)
        bare = {name: ready[name] for name in ("xray", "kl", "index", "example_mask")}
        for _ in range(WARMUP + repeats):
            times["step_s"].append(_timed(plain, bare))
            start = time.perf_counter()
            batch = next(batches)
            times["wait_s"].append(time.perf_counter() - start)
            times["augmented_s"].append(_timed(augmented, batch))
            times["alone_s"].append(_timed(alone, ready))
    kept = {name: found[WARMUP:] for name, found in times.items()}
    turns = zip(kept["step_s"], kept["wait_s"], kept["augmented_s"], strict=True)
    return {
        "suite": "input",
        "machine": timing.machine(),
        "devices": len(jax.devices()),
        "batch_size": batch_size,
        "image_size": image_size,
        **{name: statistics.median(found) for name, found in kept.items()},
        "share": statistics.median((w + a - s) / s for s, w, a in turns),
    }


def table(report: Mapping[str, Any]) -> str:
    """The report as lines for the screen."""
    machine = report["machine"]
    return "\n".join(
        [
            f"input, batches of {report['batch_size']} radiographs of {report['image_size']} "
            f"pixels, {report['devices']} devices, {machine['cores']} cores, "
            f"load {machine['load_average'][0]:.1f}",
            f"step without input     {report['step_s']:.3f} s",
            f"step with augmentation {report['augmented_s']:.3f} s",
            f"wait for the batch     {report['wait_s'] * 1e3:.1f} ms",
            f"augmentation alone     {report['alone_s'] * 1e3:.1f} ms, one device",
            f"share of the input     {report['share']:.1%}",
        ]
    )


def _config(spec: Mapping[str, Any], batch_size: int, augmented: bool) -> dict[str, Any]:
    config = recipe.default("siamese_gap")
    config.optimizer.update(
        learning_rate=2e-3, muon_learning_rate=0.02, weight_decay=0.1, clip_norm=5.0, ema_decay=0.99
    )
    config.loss.label_smoothing = 0.0
    config.data.batch_size = batch_size
    if augmented:
        config.data.update(augment=AUGMENT, mixup=MIXUP)
    config.model.classifier.update(spec)
    return stages.resolve(recipe.plain(config), None)


def _training(config: Mapping[str, Any], stage: Any) -> Any:
    """A function that runs a step on a batch and returns when it is finished."""
    key = jax.random.key(0)
    params, model_state = initialise(stage, key)
    steps = steps_of(config, stage, params)
    devices = parallel.make_parallel("pmap", steps)
    state = devices.replicate(states.create(params, model_state, steps.optimizer))
    key = devices.replicate(key)

    def step(batch: Mapping[str, np.ndarray]) -> None:
        nonlocal state
        state, outcome = devices.train_step(state, devices.prepare_batch(batch), key)
        jax.block_until_ready((state, outcome))

    return step


def _augmentation() -> Any:
    """A function that augments a batch and returns when it is finished."""
    strength = augment.strengths(AUGMENT)

    @jax.jit
    def change(batch: Mapping[str, jax.Array]) -> Any:
        keys = example_keys(jax.random.key(0), 0, batch["index"])
        return augment.apply(batch, keys, strength, MIXUP)

    return lambda batch: jax.block_until_ready(change(batch))


def _timed(step: Any, batch: Mapping[str, np.ndarray]) -> float:
    start = time.perf_counter()
    step(batch)
    return time.perf_counter() - start
