"""The content of real_pairs.json and cases.csv."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import retrieval as ranking
from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs import (
    individual_shape,
    joint,
    pair_errors,
    protocol,
    retrieval,
)
from xr2mri_jax.evaluation.real_pairs.measure import CONTROLS, MEAN, SHUFFLED, Measured, OfBone
from xr2mri_jax.evaluation.real_pairs.protocol import (
    ALIGNMENTS,
    BONES,
    CLOSED,
    METRICS,
    OPEN,
    PROTOCOLS,
    SURFACE_POINTS,
)
from xr2mri_jax.metrics.surfaces import TOLERANCE_MM
from xr2mri_jax.presentation.model_and_controls import MODEL

HIGHER_IS_BETTER = ("dice", "nsd")
# The metrics of SSR-KD by its names.
SSR_KD = {"dsc": "dice", "hd": "hd", "assd": "assd"}
CONVENTION = {
    **protocol.CONVENTION,
    "nsd": f"share of both surfaces within {TOLERANCE_MM} mm",
    "ssr_kd": "Dice, Hausdorff distance and ASSD of the closed bodies, as SSR-KD compares whole "
    "bones (npj Digit Med 2026); it used two orthogonal radiographs in the MRI's pose, so its "
    "figures correspond to the centred ones",
    "points": "all points of the surfaces; comparisons of every prediction with every true knee "
    f"(retrieval and {SHUFFLED}): {SURFACE_POINTS} points per surface, and {SHUFFLED} is the "
    "model's value plus the difference between other subjects' predictions and its own at these "
    "points",
    "improvement": "model against control, pair by pair: positive where the model is better",
    "joint_space": "mm, minimum distance from the weight-bearing part of the tibial plateau (0.15 "
    "to 0.35 of its width from the middle) to the femur",
    "cartilage": "volume in ml within 64 mm of the joint's centre along each axis, limited to the "
    "map; thickness in mm along the bone's normal, mean over the area of bone with cartilage, and "
    "that area in cm²",
    "retrieval": "rank of the own knee among all true knees by ASSD (mean of femur and tibia); "
    "ties count against the prediction; relative: ranks after subtracting the mean distance of all "
    "predictions to the true knee, because a knee near the mean is near to every prediction",
    "individual_shape": "correlation of predicted and true departures from the mean bone, mm along "
    f"its normal at {individual_shape.POINTS} points per bone, after similarity alignment of every "
    "bone with the mean true bone and less the mean over the knees; chance: exceeded in 5 % of the "
    "permutations of the predictions among the subjects (whole subjects, with others of as many "
    "knees)",
    "verdict": pair_errors.CONVENTION,
    "intervals": f"95 %, percentile bootstrap, {statistics.SAMPLES} samples "
    f"({statistics.WHOLE_SAMPLES} for a correlation), subjects resampled",
}

Tree = dict[str, Any]


def summarise(found: Measured, seed: int) -> Tree:
    """The content of real_pairs.json: means as plain numbers, intervals in separate entries.

    Args:
      found: all measurements.
      seed: seed of the bootstrap.

    Returns:
      n, subjects; closed and open, each with values and intervals (by source, bone, alignment and
      metric) and improvement (mean and ci95 by control, bone, alignment, metric); ssr_kd (by
      source, bone, alignment); individual_shape (by bone); retrieval (by protocol and alignment),
      joint_space, cartilage, pose, convention.
    """
    subjects = [pair.subject for pair in found.pairs]
    by_protocol = {name: _of_protocol(found, name, subjects, seed) for name in PROTOCOLS}
    closed = by_protocol[CLOSED]["values"]
    return {
        "n": len(subjects),
        "subjects": len(set(subjects)),
        **by_protocol,
        "ssr_kd": {
            source: {
                bone: {
                    name: {
                        own: closed[source][bone][name][metric] for own, metric in SSR_KD.items()
                    }
                    for name in ALIGNMENTS
                }
                for bone in BONES
            }
            for source in (MODEL, MEAN)
        },
        "individual_shape": individual_shape.summary(found.departures, subjects, seed),
        "retrieval": retrieval.summary(found.distances, subjects, seed),
        **joint.summary(found.joint, subjects, seed),
        "pose": {
            bone: {name: statistics.estimate(v, subjects, seed=seed) for name, v in pose.items()}
            for bone, pose in poses(found).items()
        },
        "convention": {**CONVENTION, "controls": CONTROLS},
    }


def _of_protocol(found: Measured, name: str, subjects: list[str], seed: int) -> Tree:
    values = found.values[name]
    estimated = {
        source: {bone: _estimates(one, subjects, seed) for bone, one in bones.items()}
        for source, bones in values.items()
    }
    return {
        "values": _part(estimated, "mean"),
        "intervals": _part(estimated, "ci95"),
        "improvement": {
            control: {
                bone: _improvement(values[MODEL][bone], values[control][bone], subjects, seed)
                for bone in BONES
            }
            for control in CONTROLS
        },
    }


def columns(found: Measured) -> dict[str, list[Any]]:
    """The columns of cases.csv: one row per pair."""
    table: dict[str, list[Any]] = {
        "subject": [pair.subject for pair in found.pairs],
        "side": [pair.side for pair in found.pairs],
        "visit": [pair.visit for pair in found.pairs],
        "kl": ["" if pair.kl is None else pair.kl for pair in found.pairs],
        "xray": [pair.xray.name if pair.xray else "" for pair in found.pairs],
        "labels": [pair.labels.name for pair in found.pairs],
    }
    for name, by_alignment in found.distances.items():
        for alignment, distance in by_alignment.items():
            table[f"{name}_{alignment}_retrieval_rank"] = ranking.ranks(distance).tolist()
    for knees, word in ((found.true, "true"), (found.predicted, "predicted")):
        table[f"{word}_plateau_width_mm"] = _rounded([knee.width_mm for knee in knees])
    for name, (true, predicted) in found.joint.items():
        table[f"true_{name}"], table[f"predicted_{name}"] = _rounded(true), _rounded(predicted)
    for bone, pose in poses(found).items():
        for name, values in pose.items():
            table[f"{bone}_{name}"] = _rounded(values)
    for name, sources in found.values.items():
        for source, bones in sources.items():
            for bone, one in bones.items():
                for alignment, metrics in one.items():
                    for metric, values in metrics.items():
                        column = f"{name}_{source}_{bone}_{alignment}_{metric}"
                        table[column] = _rounded(values)
    return table


def poses(found: Measured) -> dict[str, dict[str, np.ndarray]]:
    """angle_deg (0 to 180) and scale f64[n] of the open similarity alignment, by bone."""
    fits = {bone: [pair[bone][OPEN]["similarity"] for pair in found.fits] for bone in BONES}
    return {
        bone: {
            "angle_deg": np.array([fit.angle_deg() for fit in chosen]),
            "scale": np.array([fit.scale for fit in chosen]),
        }
        for bone, chosen in fits.items()
    }


def _estimates(values: OfBone, subjects: list[str], seed: int) -> Tree:
    return {
        name: {
            metric: statistics.estimate(values[name][metric], subjects, seed=seed)
            for metric in METRICS
        }
        for name in ALIGNMENTS
    }


def _part(estimated: Mapping[str, Any], key: str) -> Tree:
    """The same tree with only one entry of every estimate."""
    if key in estimated:
        return estimated[key]
    return {name: _part(one, key) for name, one in estimated.items()}


def _improvement(model: OfBone, control: OfBone, subjects: list[str], seed: int) -> Tree:
    def gain(alignment: str, metric: str) -> Tree:
        better = control[alignment][metric] - model[alignment][metric]
        sign = -1 if metric in HIGHER_IS_BETTER else 1
        return statistics.estimate(sign * better, subjects, seed=seed)

    return {name: {metric: gain(name, metric) for metric in METRICS} for name in ALIGNMENTS}


def _rounded(values: Any) -> list[Any]:
    return [round(float(v), 5) if np.isfinite(v) else "" for v in values]
