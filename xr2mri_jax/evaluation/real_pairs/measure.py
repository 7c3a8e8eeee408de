"""All pairs measured: the predictions, their controls, joint space, cartilage and retrieval."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import controls
from xr2mri_jax.evaluation.real_pairs import retrieval
from xr2mri_jax.evaluation.real_pairs.compare import (
    ALIGNMENTS,
    CUT_METRICS,
    METRICS,
    Fits,
    compare,
)
from xr2mri_jax.evaluation.real_pairs.joint import joint_values
from xr2mri_jax.evaluation.real_pairs.knee import BONES, Bone, Knee, knee_of
from xr2mri_jax.evaluation.real_pairs.mean_shape import Mean, MeanShapes, phantom_mean
from xr2mri_jax.evaluation.real_pairs.table import Pair
from xr2mri_jax.inference.label_prediction import LabelPredictor
from xr2mri_jax.io import read_volume
from xr2mri_jax.presentation.sources import MODEL
from xr2mri_jax.simulation.label_tables import apply_table, find_table

MEAN, MEAN_SCALED, MEAN_TRUE_WIDTH = "mean_shape", "mean_shape_scaled", "mean_shape_true_width"
PHANTOM, SHUFFLED = "phantom_mean_shape", "shuffled_xray"
CONTROLS = {
    MEAN: "mean signed distance map of all other subjects' true knees, the first map of each",
    MEAN_SCALED: "the same, scaled to the width of the tibial plateau that the prediction has: "
    "what the model reads of the size, with everybody's shape",
    MEAN_TRUE_WIDTH: "the same, scaled to the true width of the plateau, which no radiograph "
    "without spacing tells: a reference",
    PHANTOM: "mean signed distance map of simulated knees: needs no patient's map",
    SHUFFLED: "the prediction from the radiograph of another subject, each used once",
}
_CUT = (MODEL, MEAN)

# By source, bone, alignment and metric: f64[n].
Values = dict[str, dict[str, dict[str, dict[str, np.ndarray]]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """The numbers of n pairs.

    Attributes:
      pairs: with a radiograph.
      true, predicted: their knees.
      values: METRICS by source (the model and CONTROLS), bone and alignment.
      cut: CUT_METRICS likewise, of the model and the mean shape.
      fits: of the model's bones, by bone, for every pair.
      joint: (true, predicted) by quantity, f64[n] each, NaN where the true map has none.
      distances: for the retrieval, by alignment.
      partner: whose radiograph the shuffled control was given.
    """

    pairs: Sequence[Pair]
    true: Sequence[Knee]
    predicted: Sequence[Knee]
    values: Values
    cut: Values
    fits: list[dict[str, Fits]]
    joint: dict[str, tuple[np.ndarray, np.ndarray]]
    distances: dict[str, np.ndarray]
    partner: np.ndarray


def read_knees(pairs: Sequence[Pair], table: str) -> list[Knee]:
    """The true knees.

    Args:
      pairs: of which the label maps are read.
      table: see `label_tables.find_table`.

    Raises:
      InputError: a map cannot be used; it is named.
    """
    chosen, knees = find_table(table), []
    for pair in tqdm(pairs, desc="true knees", unit="map", mininterval=1):
        try:
            knees.append(knee_of(apply_table(read_volume(pair.labels), chosen)[0], pair.side))
        except InputError as error:
            raise InputError(f"{pair.labels}: {error}") from error
    return knees


def predict_knees(pairs: Sequence[Pair], predictor: LabelPredictor) -> list[Knee]:
    """The predicted knees; every pair must have a radiograph.

    Raises:
      InputError: a radiograph cannot be used, or the prediction shows no knee.
    """
    knees = []
    for pair in tqdm(pairs, desc="predicted knees", unit="radiograph", mininterval=1):
        assert pair.xray is not None
        try:
            predicted = predictor.predict(pair.xray, pair.side)
        except InputError as error:
            raise InputError(f"{pair.xray}: {error}") from error
        try:
            knees.append(knee_of(predicted.volume(), "right"))
        except InputError as error:
            raise InputError(f"{pair.xray}: in the predicted labels: {error}") from error
    return knees


def first_maps(pairs: Sequence[Pair]) -> list[Pair]:
    """The rows whose maps are needed: those with a radiograph, and of other subjects the first."""
    with_xray = [pair for pair in pairs if pair.xray]
    seen = {pair.subject for pair in with_xray}
    others = {pair.subject: pair for pair in reversed(pairs) if pair.subject not in seen}
    return [*with_xray, *reversed(others.values())]


def measure(pairs: Sequence[Pair], predictor: LabelPredictor, table: str, seed: int) -> Measured:
    """Measures all pairs of a table.

    Args:
      pairs: from `table.read_pairs`.
      predictor: makes the predictions.
      table: of the true maps' labels.
      seed: of who gets whose radiograph.

    Raises:
      InputError: a file cannot be used, or a prediction shows no knee.
    """
    shapes = first_maps(pairs)
    pairs = [pair for pair in shapes if pair.xray]
    subjects = [pair.subject for pair in pairs]
    partner = controls.shuffled(subjects, seed)
    predicted = predict_knees(pairs, predictor)
    every = read_knees(shapes, table)
    true = every[: len(pairs)]
    means = MeanShapes(
        [knee.bones for knee in every],
        [knee.width_mm for knee in every],
        [pair.subject for pair in shapes],
    )
    phantom = phantom_mean()
    values = _empty((MODEL, *CONTROLS), METRICS, len(pairs))
    cut = _empty(_CUT, CUT_METRICS, len(pairs))
    fits: list[dict[str, Fits]] = [{} for _ in pairs]
    for i in tqdm(range(len(pairs)), desc="comparing", unit="knee", mininterval=1):
        mean = means.without(subjects[i])
        sources = _sources(i, predicted, true[i], mean, phantom, partner)
        for source, bone, shape in sources:
            found = compare(shape, true[i].bones[bone], true[i].field, source in _CUT)
            _store(values[source][bone], found.scores, i)
            if source in _CUT:
                _store(cut[source][bone], found.cut, i)
            if source == MODEL:
                fits[i][bone] = found.fits
    return Measured(
        pairs,
        true,
        predicted,
        values,
        cut,
        fits,
        joint_values(true, predicted),
        retrieval.distances(predicted, true),
        partner,
    )


def _sources(
    i: int,
    predicted: Sequence[Knee],
    true: Knee,
    mean: Mean,
    phantom: Mean,
    partner: np.ndarray,
) -> Iterator[tuple[str, str, Bone]]:
    """What is compared with the true knee i: source, bone, shape."""
    shapes: dict[str, Mapping[str, Bone]] = {
        MODEL: predicted[i].bones,
        MEAN: mean.bones,
        MEAN_SCALED: mean.of_width(predicted[i].width_mm),
        MEAN_TRUE_WIDTH: mean.of_width(true.width_mm),
        PHANTOM: phantom.bones,
        SHUFFLED: predicted[partner[i]].bones,
    }
    for source, bones in shapes.items():
        for bone in BONES:
            yield source, bone, bones[bone]


def _empty(sources: Sequence[str], metrics: Sequence[str], count: int) -> Values:
    return {
        source: {
            bone: {name: {m: np.zeros(count) for m in metrics} for name in ALIGNMENTS}
            for bone in BONES
        }
        for source in sources
    }


def _store(
    values: dict[str, dict[str, np.ndarray]], found: Mapping[str, Mapping[str, float]], i: int
) -> None:
    for alignment, scores in found.items():
        for metric, value in scores.items():
            values[alignment][metric][i] = value
