"""The content of real_pairs.json and cases.csv."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs import joint, retrieval
from xr2mri_jax.evaluation.real_pairs.compare import ALIGNMENTS, CUT_METRICS, METRICS
from xr2mri_jax.evaluation.real_pairs.knee import BONES, MARGIN_MM, REACH_MM
from xr2mri_jax.evaluation.real_pairs.measure import CONTROLS, Measured
from xr2mri_jax.metrics.surfaces import TOLERANCE_MM
from xr2mri_jax.presentation.sources import MODEL

HIGHER_IS_BETTER = ("dice", "nsd")
CONVENTION = {
    "field": f"within {REACH_MM:g} mm of the true joint's centre along each axis, where both maps "
    f"show the knee, without {MARGIN_MM:g} mm at the ends of the true map",
    "centred": "the joint's centres (found alike in both label maps) laid on each other",
    "rigid": "each bone by itself, symmetric point-to-plane ICP, from the centred place",
    "similarity": "the same with the size free",
    "dice": "of the bone's voxels of 1 mm in the field",
    "assd": "mm, mean distance over the area of both surfaces; where the field ends a bone has no "
    "surface",
    "hd95": "mm, the larger one of both directions' 95th percentiles by area",
    "hd": "mm, the largest distance",
    "nsd": f"share of both areas within {TOLERANCE_MM} mm",
    "ssr_kd": "the volumes cut where the field ends, faces of the cut counted as surface: Dice, "
    "Hausdorff distance and ASSD a bone, as whole maps are compared (SSR-KD, npj Digit Med 2026, "
    "which had two orthogonal radiographs of the same pose: its figures stand beside the centred "
    "ones)",
    "improvement": "model against control, pair by pair: positive where the model is better",
    "joint_space": "mm, least distance from the weight-bearing part of the tibial plateau (0.15 to "
    "0.35 of its width from the middle) to the femur",
    "cartilage": "volume in ml in the field; thickness in mm along the bone's normal, mean over "
    "the area with cartilage",
    "retrieval": "rank of the own knee among all true knees by ASSD (mean of femur and tibia); "
    "ties count against the prediction",
    "intervals": f"95 %, percentile bootstrap, {statistics.SAMPLES} samples "
    f"({statistics.WHOLE_SAMPLES} of a correlation), subjects resampled",
}

Tree = dict[str, Any]


def summarise(found: Measured, seed: int) -> Tree:
    """The content of real_pairs.json: means as plain numbers, their intervals beside them.

    Args:
      found: everything that was measured.
      seed: of the bootstrap.

    Returns:
      n, subjects, femur and tibia (by alignment and metric), controls (likewise by name),
      intervals (of all these), improvement (mean and ci95 by control, bone, alignment, metric),
      retrieval, joint_space, cartilage, ssr_kd (by source, bone, alignment), pose, convention.
    """
    subjects = [pair.subject for pair in found.pairs]
    estimated = {
        source: _estimates(values, METRICS, subjects, seed)
        for source, values in found.values.items()
    }
    model = estimated.pop(MODEL)
    cut = {
        source: _part(_estimates(values, CUT_METRICS, subjects, seed), "mean")
        for source, values in found.cut.items()
    }
    spaces = joint.summary(found.joint, subjects, seed)
    return {
        "n": len(subjects),
        "subjects": len(set(subjects)),
        **_part(model, "mean"),
        "controls": {name: _part(one, "mean") for name, one in estimated.items()},
        "retrieval": retrieval.summary(found.distances),
        **spaces,
        "intervals": {
            **_part(model, "ci95"),
            "controls": {name: _part(one, "ci95") for name, one in estimated.items()},
        },
        "improvement": {name: _improvement(found, name, subjects, seed) for name in CONTROLS},
        "ssr_kd": cut,
        "pose": {
            bone: {name: statistics.estimate(v, subjects, seed=seed) for name, v in pose.items()}
            for bone, pose in poses(found).items()
        },
        "convention": {**CONVENTION, "controls": CONTROLS},
    }


def columns(found: Measured) -> dict[str, list[Any]]:
    """The columns of cases.csv: one row a pair."""
    table: dict[str, list[Any]] = {
        "subject": [pair.subject for pair in found.pairs],
        "side": [pair.side for pair in found.pairs],
        "visit": [pair.visit for pair in found.pairs],
        "kl": ["" if pair.kl is None else pair.kl for pair in found.pairs],
        "xray": [pair.xray.name if pair.xray else "" for pair in found.pairs],
        "labels": [pair.labels.name for pair in found.pairs],
        "shuffled_with": [found.pairs[i].name for i in found.partner],
    }
    for name, distance in found.distances.items():
        table[f"retrieval_rank_{name}"] = retrieval.retrieval.ranks(distance).tolist()
    for knees, word in ((found.true, "true"), (found.predicted, "predicted")):
        table[f"{word}_plateau_width_mm"] = _rounded([knee.width_mm for knee in knees])
    for name, (true, predicted) in found.joint.items():
        table[f"true_{name}"], table[f"predicted_{name}"] = _rounded(true), _rounded(predicted)
    for bone, pose in poses(found).items():
        for name, values in pose.items():
            table[f"{bone}_{name}"] = _rounded(values)
    for source, kept in found.values.items():
        prefix = "" if source == MODEL else f"{source}_"
        for bone in BONES:
            for alignment in ALIGNMENTS:
                for metric, values in kept[bone][alignment].items():
                    table[f"{prefix}{bone}_{alignment}_{metric}"] = _rounded(values)
    return table


def poses(found: Measured) -> dict[str, dict[str, np.ndarray]]:
    """By bone, angle_deg (0 to 180) and scale of the similarity alignment: f64[n]."""
    fits = {bone: [pair[bone]["similarity"] for pair in found.fits] for bone in BONES}
    return {
        bone: {
            "angle_deg": np.array([fit.angle_deg() for fit in chosen]),
            "scale": np.array([fit.scale for fit in chosen]),
        }
        for bone, chosen in fits.items()
    }


def _estimates(values: Tree, metrics: tuple[str, ...], subjects: list[str], seed: int) -> Tree:
    return {
        bone: {
            name: {
                metric: statistics.estimate(values[bone][name][metric], subjects, seed=seed)
                for metric in metrics
            }
            for name in ALIGNMENTS
        }
        for bone in BONES
    }


def _part(estimated: Mapping[str, Any], key: str) -> Tree:
    """The same tree with one entry of every estimate."""
    if key in estimated:
        return estimated[key]
    return {name: _part(one, key) for name, one in estimated.items()}


def _improvement(found: Measured, control: str, subjects: list[str], seed: int) -> Tree:
    def gain(bone: str, alignment: str, metric: str) -> Tree:
        model, other = (found.values[name][bone][alignment][metric] for name in (MODEL, control))
        better = model - other if metric in HIGHER_IS_BETTER else other - model
        return statistics.estimate(better, subjects, seed=seed)

    return {
        bone: {name: {m: gain(bone, name, m) for m in METRICS} for name in ALIGNMENTS}
        for bone in BONES
    }


def _rounded(values: Any) -> list[Any]:
    return [round(float(v), 5) if np.isfinite(v) else "" for v in values]
