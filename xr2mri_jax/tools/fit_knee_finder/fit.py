"""Fits the knee finder: first to phantoms, then to real crops with its own pseudo-labels."""

import dataclasses
import functools
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xr2mri_jax.files import atomic_path
from xr2mri_jax.preprocess.knee_finder import network
from xr2mri_jax.tools.fit_knee_finder import hard_examples, pictures
from xr2mri_jax.tools.fit_knee_finder.labels import label_crops
from xr2mri_jax.tools.fit_knee_finder.pictures import Picture
from xr2mri_jax.tools.fit_knee_finder.views import training_view

# Share of each kind among the views of a batch, by part of the training.
PHANTOM_SHARES = {
    "film": 0.30,
    "film_zoom": 0.10,
    "single": 0.25,
    "single_zoom": 0.25,
    "none": 0.10,
}
MIXED_SHARES = {
    "film": 0.11,
    "film_zoom": 0.03,
    "single": 0.02,
    "single_zoom": 0.03,
    "real": 0.10,
    "real_zoom": 0.16,
    "hard": 0.06,
    "hard_zoom": 0.10,
    "pair": 0.08,
    "pasted": 0.12,
    "pasted_zoom": 0.07,
    "none": 0.05,
    "turned": 0.05,
    "lateral": 0.02,
}
# Severe grades are rare and hard: their crops are repeated this many times in the pools.
REPEATED = {"3": 2, "4": 3}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a fit.

    Attributes:
      seed: of all random numbers; also identifies the phantom population.
      subjects, films, singles, pairs, strange, hard, pasted, turned, laterals: sizes of the pools.
      phantom_steps, mixed_steps: optimiser steps of the two parts.
      relabel: steps of the second part after which crops without a label are labelled again.
      batch_size, learning_rate: of the optimiser.
    """

    seed: int = 20_000
    subjects: int = 80
    films: int = 500
    singles: int = 400
    pairs: int = 600
    strange: int = 300
    hard: int = 1500
    pasted: int = 1500
    turned: int = 400
    laterals: int = 40
    phantom_steps: int = 400
    mixed_steps: int = 1500
    relabel: int = 400
    batch_size: int = 16
    learning_rate: float = 3e-3


Pools = dict[str, list[Picture]]


def phantom_pools(plan: Plan) -> Pools:
    """Phantom films, films around one knee, and pictures without a knee."""
    rng = np.random.default_rng(plan.seed)
    legs = pictures.legs(plan.seed, plan.subjects)
    films = [pictures.phantom_picture(legs, rng, False) for _ in range(plan.films)]
    singles = [pictures.phantom_picture(legs, rng, True) for _ in range(plan.singles)]
    strange = [pictures.strange_picture(films + singles, rng) for _ in range(plan.strange)]
    lateral = hard_examples.lateral_views(plan.seed, plan.laterals, rng)
    return {"film": films, "single": singles, "none": strange, "lateral": lateral}


def real_pools(plan: Plan, points: np.ndarray, crops: pictures.Crops) -> Pools:
    """Real crops alone, in pairs, changed and pasted, with their labels f64[n, 3, 2]."""
    rng = np.random.default_rng(plan.seed + 1)
    alone: list[Picture] = []
    groups: tuple[list[Picture], list[Picture]] = ([], [])
    for image, side, grade, place in zip(
        crops.images, crops.sides, crops.grades, points, strict=True
    ):
        places = pictures.nowhere()
        places[side] = place
        repeated = [Picture(image, places)] * REPEATED.get(grade, 1)
        alone += repeated
        groups[side].extend(repeated)

    def drawn(group: Sequence[Picture]) -> Picture:
        return group[int(rng.integers(len(group)))]

    def changed(picture: Picture) -> Picture:
        picture = hard_examples.deformed(picture, rng) if rng.random() < 0.7 else picture
        return hard_examples.with_metal(picture, rng) if rng.random() < 0.25 else picture

    def either(group: Sequence[Picture]) -> Picture:
        return changed(drawn(group)) if rng.random() < 0.4 else drawn(group)

    def pasted() -> Picture:
        right, left = (either(group) for group in groups)
        absent = rng.random(3)
        if absent[0] < 0.3:
            one = absent[1] < 0.5
            return hard_examples.pasted_film(right if one else None, None if one else left, rng)
        return hard_examples.pasted_film(right, left, rng)

    pairs = [
        pictures.pair_picture(either(groups[0]), either(groups[1]), rng) for _ in range(plan.pairs)
    ]
    films = [pasted() for _ in range(plan.pasted)]
    return {
        "real": alone,
        "hard": [changed(drawn(alone)) for _ in range(plan.hard)],
        "pair": pairs,
        "pasted": films,
        "turned": [
            hard_examples.not_upright(drawn(films if rng.random() < 0.3 else alone), rng)
            for _ in range(plan.turned)
        ],
    }


def batches(
    pools: Pools, shares: dict[str, float], size: int, seed: int
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Endless views f32[size, SIZE, SIZE, 2] and targets; the next batch is made in advance."""
    ready: queue.Queue = queue.Queue(maxsize=4)
    stop = threading.Event()

    def make() -> None:
        rng = np.random.default_rng(seed)
        names, weights = list(shares), np.array(list(shares.values()))
        while not stop.is_set():
            drawn = [names[i] for i in rng.choice(len(names), size, p=weights / weights.sum())]
            pairs = []
            for name in drawn:
                kind, _, zoom = name.partition("_")
                pool = pools[kind]
                pairs.append(training_view(pool[rng.integers(len(pool))], rng, bool(zoom)))
            views, targets = zip(*pairs, strict=True)
            ready.put((np.stack(views), np.stack(targets)))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            yield ready.get()
    finally:
        stop.set()
        while thread.is_alive():  # it may wait for space in the queue
            try:
                ready.get(timeout=0.1)
            except queue.Empty:
                continue


def loss(parameters: Any, views: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross entropy of the maps f32[b, 6, n] with their targets, minus the targets' entropy."""
    logits = network.KneeFinder().apply({"params": parameters}, views)
    entropy = jax.scipy.special.entr(targets).sum(-1)
    return jnp.mean(optax.softmax_cross_entropy(logits, targets) - entropy)


@dataclasses.dataclass
class State:
    """The state of training; `mean` is the running mean of the parameters, which is shipped."""

    parameters: Any
    mean: Any
    moments: Any
    step: int = 0


def train(
    state: State, source: Iterator, steps: int, rate: float, save: Callable[[State], None]
) -> State:
    """Runs `steps` steps of AdamW with a cosine schedule; saves every 100."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, rate, min(50, steps // 4), steps, 0.01 * rate
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, 0.9, 0.99))

    @jax.jit
    def step(parameters: Any, mean: Any, moments: Any, views: Any, targets: Any) -> tuple:
        value, gradient = jax.value_and_grad(loss)(parameters, views, targets)
        updates, moments = optimizer.update(gradient, moments, parameters)
        parameters = optax.apply_updates(parameters, updates)
        mean = optax.incremental_update(parameters, mean, 0.01)
        return parameters, mean, moments, value

    if state.moments is None:
        state.moments = optimizer.init(state.parameters)
    start, total = time.time(), 0.0
    while state.step < steps:
        views, targets = next(source)
        state.parameters, state.mean, state.moments, value = step(
            state.parameters, state.mean, state.moments, views, targets
        )
        state.step += 1
        total += float(value)
        if state.step % 100 == 0 or state.step == steps:
            print(
                f"step {state.step}: loss {total / 100:.3f}, {time.time() - start:.0f} s",
                flush=True,
            )
            total = 0.0
            save(state)
    return state


def fit(real: Sequence[Path], workdir: Path, output: Path, plan: Plan) -> None:
    """Fits the network and writes its weights; an interrupted run continues from its last save.

    Crops whose labels remain uncertain after two rounds, the most deformed ones, get the typical
    position of such crops, because they are cut around the joint.

    Args:
      real: folders of real crops, `GRADE/NAME{R,L}.png`, all of one size.
      workdir: folder for pools, states and labels; belongs to one plan.
      output: the weights, .npz.
      plan: sizes of the fit.

    Raises:
      InputError: no real crops, or pictures that cannot be used.
    """
    crops = pictures.read_crops(*real)
    pools = _cached(workdir / "phantom.pickle", lambda: phantom_pools(plan))
    fresh = network.initial(jax.random.key(plan.seed))
    state = _part(workdir / "part1.pickle", pools, PHANTOM_SHARES, plan, plan.phantom_steps, fresh)
    number = len(crops.images)
    points, trusted = np.zeros((number, 3, 2)), np.zeros(number, bool)
    for part, steps in enumerate((plan.relabel, plan.mixed_steps), 2):
        open_ = ~trusted  # crops labelled once keep their label
        labels = workdir / f"labels{part}.pickle"
        points[open_], trusted[open_], dark = _cached(
            labels, _labelling(state.mean, crops.images[open_], crops.sides[open_])
        )
        # All crops show bright bone from here on, so that the network recognises an inverted image.
        crops.images[np.flatnonzero(open_)[dark]] ^= 255
        said = f"{trusted.mean():.1%} of {number} trusted, {dark.sum()} inverted"
        print(f"labels {part}: {said}", flush=True)
        known = trusted
        if steps == plan.mixed_steps:
            points[~trusted] = usual_place(points[trusted])
            known = np.ones(number, bool)
        chosen = _cached(
            workdir / f"real{part}.pickle",
            functools.partial(real_pools, plan, points[known], crops.only(known)),
        )
        path = workdir / f"part{part}.pickle"
        state = _part(path, pools | chosen, MIXED_SHARES, plan, steps, state.mean)
    network.save_weights(output, jax.device_get(state.mean))
    print(f"wrote {output}: {os.path.getsize(output)} bytes", flush=True)


def usual_place(points: np.ndarray) -> np.ndarray:
    """The median place f64[3, 2] of labels f64[n, 3, 2]."""
    return np.median(points, axis=0)


def _labelling(parameters: Any, images: np.ndarray, sides: np.ndarray) -> Callable:
    function = jax.jit(network.probabilities)
    return lambda: label_crops(lambda views: np.asarray(function(parameters, views)), images, sides)


def _part(
    path: Path, pools: Pools, shares: dict[str, float], plan: Plan, steps: int, start: Any
) -> State:
    """One part of the training, from parameters `start` or from the state in `path`."""
    state = State(start, start, None)
    if path.exists():
        state = pickle.loads(path.read_bytes())
    source = batches(pools, shares, plan.batch_size, plan.seed + 7 * steps + state.step)
    rate = plan.learning_rate
    try:
        return train(state, source, steps, rate, lambda now: _keep(path, _on_host(now)))
    finally:
        source.close()


def _cached(path: Path, make: Callable[[], Any]) -> Any:
    """The content of the cache file `path`, which `make` creates if missing."""
    if not path.exists():
        _keep(path, make())
    return pickle.loads(path.read_bytes())


def _keep(path: Path, content: Any) -> None:
    with atomic_path(path) as partial:
        partial.write_bytes(pickle.dumps(content))


def _on_host(state: State) -> State:
    parameters, mean, moments = jax.device_get((state.parameters, state.mean, state.moments))
    return State(parameters, mean, moments, state.step)
