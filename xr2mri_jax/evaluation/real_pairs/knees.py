"""Reads the true knees of a table and predicts the others, on all cores."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from absl import logging

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs.knee import Knee, knee_of
from xr2mri_jax.evaluation.real_pairs.table import Pair
from xr2mri_jax.inference.label_prediction import LabelPredictor
from xr2mri_jax.runtime import processor
from xr2mri_jax.runtime.progress import progress
from xr2mri_jax.simulation.knee_labels import read_knee
from xr2mri_jax.simulation.label_tables import find_table

Item = TypeVar("Item")
Made = TypeVar("Made")


def read_knees(pairs: Sequence[Pair], table: str) -> list[Knee]:
    """Reads the true knees.

    Args:
      pairs: the pairs whose label maps are read.
      table: see `label_tables.find_table`.

    Raises:
      InputError: a map cannot be used; the message names it.
    """
    find_table(table)

    def read(pair: Pair) -> Knee:
        try:
            return knee_of(read_knee(pair.labels, pair.side, table).volume, pair.side)
        except InputError as error:
            reason = str(error).removeprefix(f"{pair.labels}: ")
            raise InputError(f"{pair.labels}: {reason}") from error

    return in_threads(read, pairs, "true knees", "map")


def predict_knees(pairs: Sequence[Pair], predictor: LabelPredictor) -> list[Knee]:
    """Predicts the knees, and warns of doubts; every pair must have a radiograph.

    Raises:
      InputError: a radiograph cannot be used, or the prediction shows no knee.
    """
    made = []
    for pair in progress(pairs, "predictions", "radiograph", len(pairs), announced=True):
        assert pair.xray is not None
        try:
            made.append(predictor.predict(pair.xray, pair.side))
        except InputError as error:
            reason = str(error).removeprefix(f"{pair.xray}: ")
            raise InputError(f"{pair.xray}: {reason}") from error
    for pair, prediction in zip(pairs, made, strict=True):
        for doubt in prediction.doubts:
            logging.warning("%s: %s", pair.name, doubt)

    def knee(i: int) -> Knee:
        one = made[i]
        try:
            found = knee_of(one.volume(), "right")
            return dataclasses.replace(found, scale=one.scale, seen=one.seen, doubts=one.doubts)
        except InputError as error:
            raise InputError(f"{pairs[i].xray}: in the predicted labels: {error}") from error

    return in_threads(knee, range(len(pairs)), "predicted knees", "knee")


def in_threads(
    work: Callable[[Item], Made], items: Iterable[Item], what: str, unit: str
) -> list[Made]:
    """Applies `work` to every item with one thread per core; the first error ends the loop.

    Threads suffice because array operations release the interpreter lock.
    """
    listed = list(items)
    with ThreadPoolExecutor(processor.cores()) as pool:
        made = pool.map(work, listed)
        try:
            return list(progress(made, what, unit, len(listed), announced=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def first_maps(pairs: Sequence[Pair]) -> list[Pair]:
    """The rows whose maps are needed: all with a radiograph, and the first of other subjects."""
    with_xray = [pair for pair in pairs if pair.xray]
    seen = {pair.subject for pair in with_xray}
    others = {pair.subject: pair for pair in reversed(pairs) if pair.subject not in seen}
    return [*with_xray, *reversed(others.values())]
