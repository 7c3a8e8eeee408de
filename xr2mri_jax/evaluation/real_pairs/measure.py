"""Measures all pairs: predictions, controls, joint space, cartilage and retrieval."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from xr2mri_jax.evaluation.real_pairs.compare import Comparison, Fits, Target, compare
from xr2mri_jax.evaluation.real_pairs.individual_shape import Departures, departures
from xr2mri_jax.evaluation.real_pairs.joint import joint_values
from xr2mri_jax.evaluation.real_pairs.knee import Bone, Knee
from xr2mri_jax.evaluation.real_pairs.knees import (
    first_maps,
    in_threads,
    predict_knees,
    read_knees,
)
from xr2mri_jax.evaluation.real_pairs.mean_shape import MeanShapes
from xr2mri_jax.evaluation.real_pairs.protocol import (
    ALIGNMENTS,
    BONES,
    METRICS,
    PROTOCOLS,
    SURFACE_POINTS,
)
from xr2mri_jax.evaluation.real_pairs.table import Pair
from xr2mri_jax.inference.label_prediction import LabelPredictor
from xr2mri_jax.presentation.model_and_controls import MODEL

MEAN, MEAN_SCALED, MEAN_TRUE_WIDTH = "mean_shape", "mean_shape_scaled", "mean_shape_true_width"
TRUE_SHAPE = "true_shape_mean_width"
MEAN_PREDICTION, SHUFFLED = "mean_prediction", "shuffled_xray"
CONTROLS = {
    MEAN: "mean of all other subjects' true bones, the first map of each: aligned bone by bone, "
    "averaged as signed distance maps, put back into the mean pose and size",
    MEAN_SCALED: "the same, scaled to the predicted width of the tibial plateau: the size that the "
    "model infers, with the mean shape",
    MEAN_TRUE_WIDTH: "the same, scaled to the true width of the plateau, which a radiograph "
    "without spacing does not determine: a reference",
    TRUE_SHAPE: "the true shape and pose, scaled to the mean width of all other subjects' "
    "plateaus: a reference that shows the error of the size alone",
    MEAN_PREDICTION: "the same mean of the model's predictions from all other subjects' "
    "radiographs: the model's own mean knee",
    SHUFFLED: "the predictions from the radiographs of all other subjects: the mean over all of "
    "them, which is the mean over all derangements",
}

# Values of all pairs, f64[n], by alignment and metric.
OfBone = dict[str, dict[str, np.ndarray]]
# By protocol, source and bone.
Values = dict[str, dict[str, dict[str, OfBone]]]
Targets = Sequence[Mapping[str, Target]]


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of n pairs.

    Attributes:
      pairs: the pairs with a radiograph.
      true, predicted: their knees.
      values: METRICS by protocol, source (the model and CONTROLS), bone and alignment.
      fits: transforms of the model's bones, by bone and protocol, for every pair.
      joint: (true, predicted) by quantity, f64[n] each, NaN where the true map lacks it.
      departures: of the individual shapes, by bone.
      distances: for the retrieval, by protocol and alignment: f64[n, n], the ASSD (mean of femur
        and tibia) between prediction i and true knee j.
    """

    pairs: Sequence[Pair]
    true: Sequence[Knee]
    predicted: Sequence[Knee]
    values: Values
    fits: list[dict[str, dict[str, Fits]]]
    joint: dict[str, tuple[np.ndarray, np.ndarray]]
    departures: dict[str, Departures]
    distances: dict[str, dict[str, np.ndarray]]


def measure(pairs: Sequence[Pair], predictor: LabelPredictor, table: str) -> Measured:
    """Measures all pairs of a table.

    Args:
      pairs: from `table.read_pairs`.
      predictor: makes the predictions.
      table: label table of the true maps.

    Raises:
      InputError: a file cannot be used, or a prediction shows no knee.
    """
    shapes = first_maps(pairs)
    pairs = [pair for pair in shapes if pair.xray]
    predicted = predict_knees(pairs, predictor)
    every = read_knees(shapes, table)
    true = every[: len(pairs)]
    targets = [{bone: Target(knee.bones[bone], knee.field) for bone in BONES} for knee in true]
    crossed = _crossed(predicted, targets)
    own = _own(predicted, targets)
    means = MeanShapes(every, [pair.subject for pair in shapes])
    found = {MODEL: own, **_mean_shapes(pairs, means, predicted, every, targets)}
    values: Values = {
        protocol: {
            source: {bone: _column([one[bone].scores[protocol] for one in made]) for bone in BONES}
            for source, made in found.items()
        }
        for protocol in PROTOCOLS
    }
    subjects = [pair.subject for pair in pairs]
    for protocol in PROTOCOLS:
        values[protocol][SHUFFLED] = {
            bone: exchanged(values[protocol][MODEL][bone], crossed[bone], protocol, subjects)
            for bone in BONES
        }
    return Measured(
        pairs,
        true,
        predicted,
        values,
        [{bone: one[bone].fits for bone in BONES} for one in own],
        joint_values(true, predicted),
        departures(true, predicted, means.without(None).bones),
        {protocol: _distances(crossed, protocol) for protocol in PROTOCOLS},
    )


def _crossed(predicted: Sequence[Knee], targets: Targets) -> dict[str, list[list[Comparison]]]:
    """Compares every prediction with every true knee: by bone, [prediction][truth].

    All of them from SURFACE_POINTS, so that the own knee is compared like the others.
    """
    places = list(np.ndindex(len(predicted), len(targets)))

    def one(place: tuple[int, ...]) -> dict[str, Comparison]:
        i, j = place
        return {
            bone: compare(predicted[i].bones[bone], targets[j][bone], SURFACE_POINTS)
            for bone in BONES
        }

    made = in_threads(one, places, "predictions against truths", "pair")
    width = len(targets)
    return {
        bone: [
            [one[bone] for one in made[i * width : (i + 1) * width]] for i in range(len(predicted))
        ]
        for bone in BONES
    }


def _own(predicted: Sequence[Knee], targets: Targets) -> list[dict[str, Comparison]]:
    """Compares every prediction with its own true knee, from all points of the surfaces."""

    def one(i: int) -> dict[str, Comparison]:
        return {bone: compare(predicted[i].bones[bone], targets[i][bone]) for bone in BONES}

    return in_threads(one, range(len(targets)), "predictions against own truths", "knee")


def _mean_shapes(
    pairs: Sequence[Pair],
    true_means: MeanShapes,
    predicted: Sequence[Knee],
    every: Sequence[Knee],
    targets: Targets,
) -> dict[str, list[dict[str, Comparison]]]:
    """Compares the controls that are mean or true shapes with every true knee: by source."""
    own_means = MeanShapes(predicted, [pair.subject for pair in pairs])

    def one(i: int) -> dict[str, dict[str, Comparison]]:
        mean = true_means.without(pairs[i].subject)
        sources: dict[str, Mapping[str, Bone]] = {
            MEAN: mean.bones,
            MEAN_SCALED: mean.of_width(predicted[i].width_mm),
            MEAN_TRUE_WIDTH: mean.of_width(every[i].width_mm),
            TRUE_SHAPE: {
                bone: own.scaled(mean.width_mm / every[i].width_mm)
                for bone, own in every[i].bones.items()
            },
            MEAN_PREDICTION: own_means.without(pairs[i].subject).bones,
        }
        return {
            source: {bone: compare(bones[bone], targets[i][bone]) for bone in BONES}
            for source, bones in sources.items()
        }

    made = in_threads(one, range(len(pairs)), "mean shapes against truths", "knee")
    return {source: [one[source] for one in made] for source in made[0]}


def _column(scores: Sequence[Mapping[str, Mapping[str, float]]]) -> OfBone:
    return {
        alignment: {m: np.array([one[alignment][m] for one in scores]) for m in METRICS}
        for alignment in ALIGNMENTS
    }


def exchanged(
    model: OfBone, crossed: Sequence[Sequence[Comparison]], protocol: str, subjects: Sequence[str]
) -> OfBone:
    """The values of SHUFFLED, comparable with the model's.

    Other subjects' predictions are measured from SURFACE_POINTS, the model's own from all points,
    and these differ (a Hausdorff distance by half a millimetre). The difference between the
    other subjects' predictions and the own one, both from SURFACE_POINTS, is added to the
    model's value.

    Args:
      model: the model's values from all points.
      crossed: comparisons from SURFACE_POINTS, [prediction][truth].
      protocol: one of PROTOCOLS.
      subjects: n names.
    """
    own = _column([crossed[j][j].scores[protocol] for j in range(len(subjects))])
    others = _of_others(crossed, protocol, subjects)
    return {
        alignment: {
            m: model[alignment][m] + others[alignment][m] - own[alignment][m] for m in METRICS
        }
        for alignment in ALIGNMENTS
    }


def _of_others(
    crossed: Sequence[Sequence[Comparison]], protocol: str, subjects: Sequence[str]
) -> OfBone:
    """For every true knee the mean over the predictions for all other subjects."""
    columns = [
        _column([row[j].scores[protocol] for row, name in zip(crossed, subjects, strict=True)
                 if name != subjects[j]])
        for j in range(len(subjects))
    ]  # fmt: skip
    return {
        alignment: {m: np.array([one[alignment][m].mean() for one in columns]) for m in METRICS}
        for alignment in ALIGNMENTS
    }


def _distances(
    crossed: Mapping[str, Sequence[Sequence[Comparison]]], protocol: str
) -> dict[str, np.ndarray]:
    return {
        alignment: np.mean(
            [
                [[one.scores[protocol][alignment]["assd"] for one in row] for row in rows]
                for rows in crossed.values()
            ],
            axis=0,
        )
        for alignment in ALIGNMENTS
    }
