"""Coverage of the model's intervals on real knees."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from xr2mri_jax.evaluation import statistics
from xr2mri_jax.evaluation.real_pairs.joint import space_key
from xr2mri_jax.evaluation.real_pairs.measure import Measured
from xr2mri_jax.evaluation.real_pairs.protocol import ALIGNMENTS, BONES, OPEN
from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.inference.uncertainty.model import Uncertainty
from xr2mri_jax.inference.uncertainty.of_prediction import TRACED_OFF_MM
from xr2mri_jax.inference.uncertainty.surfaces import BLOCKS
from xr2mri_jax.metrics.intervals import LEVEL
from xr2mri_jax.metrics.joint import COMPARTMENTS, PLATES
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.presentation.page_elements import Cell, Paragraph, Part, Row, Table, share

CONVENTION = (
    f"{LEVEL:.0%} intervals; bones: share of the points of the predicted surface within the "
    f"half-width of the true surface, by {OPEN} alignment; quantities: share of the knees whose "
    "true value lies in the interval"
)
# The origin of the intervals. Joint space has the same intervals for every model.
_JOINT_SPACE = (
    "The intervals of the joint space were fitted on the shipped generator's development pairs. "
    "Coverage of any of these intervals on the development pairs is in-sample, not a test."
)
FITTED_SHIPPED = (
    "The intervals of bones and cartilage were fitted on held-out simulated knees, then widened to "
    f"cover the development pairs. {_JOINT_SPACE}"
)
FITTED = (
    "The intervals of bones and cartilage were fitted on held-out knees of the model's training "
    "dataset; ship_generator --maps then widens them to cover the shipped generator's development "
    f"pairs. {_JOINT_SPACE}"
)


def summary(
    found: Measured, uncertainty: Uncertainty | None, seed: int, shipped: bool = False
) -> dict[str, Any] | None:
    """The coverage on real knees; None for a model without intervals.

    Args:
      found: all measurements.
      uncertainty: the model's uncertainty.
      seed: seed of the bootstrap.
      shipped: whether the model is the shipped generator.

    Returns:
      convention; fitted, the origin of the intervals; bones: coverage by bone and alignment, and
      half_width_mm; quantities: coverage, low_mm and high_mm (true minus predicted, means over the
      knees) by name. All in mm of the patient: surfaces and thicknesses scale with the knee.
    """
    if uncertainty is None or uncertainty.surfaces is None:
        return None
    subjects = [pair.subject for pair in found.pairs]
    bones = {
        bone: _bone(found, bone, uncertainty.surfaces.half_width[NAMES.index(bone)], seed)
        for bone in BONES
    }
    offsets = {
        f"{plate}_thickness_mm": uncertainty.offsets[f"thickness_{plate}"]
        for plate in PLATES
        if f"thickness_{plate}" in uncertainty.offsets
    }
    for name in COMPARTMENTS:
        offsets[space_key(name)] = -TRACED_OFF_MM[name], TRACED_OFF_MM[name]
    quantities = {}
    scales = np.array([knee.scale for knee in found.predicted])
    for name, ends in offsets.items():
        true, predicted = found.joint[name]
        known = np.isfinite(true) & np.isfinite(predicted)
        off = (true - predicted)[known]
        traced = name in map(space_key, COMPARTMENTS)
        low, high = (end * (np.ones_like(off) if traced else scales[known]) for end in ends)
        names = [subject for subject, good in zip(subjects, known, strict=True) if good]
        if names:
            held = ((off >= low) & (off <= high)).astype(float)
            coverage = statistics.estimate(held, names, seed=seed)
            quantities[name] = {
                "coverage": coverage,
                "low_mm": float(low.mean()),
                "high_mm": float(high.mean()),
            }
    fitted = FITTED_SHIPPED if shipped else FITTED
    return {"convention": CONVENTION, "fitted": fitted, "bones": bones, "quantities": quantities}


def _bone(found: Measured, bone: str, half_width: np.ndarray, seed: int) -> dict[str, Any]:
    """The coverage of a bone by alignment, and the mean half-width at its surface."""
    grid = Volume(half_width, canonical_affine(BLOCKS))
    held: dict[str, list[float]] = {name: [] for name in ALIGNMENTS}
    widths = []
    for i, (true, predicted) in enumerate(zip(found.true, found.predicted, strict=True)):
        own, target = predicted.bones[bone], true.bones[bone]
        own_points = own.surface.points
        place = grid.index(predicted.in_box(own_points))
        width = predicted.scale * ndimage.map_coordinates(
            half_width, place.T, order=1, mode="nearest"
        )
        widths.append(float(np.average(width, weights=own.surface.areas)))
        for name in ALIGNMENTS:
            transform = found.fits[i][bone][OPEN][name]
            points = transform.points(own_points)
            inside = true.field(points) & own.known(own_points)
            near = target.surface.distance(points[inside]) <= width[inside]
            held[name].append(float(np.average(near, weights=own.surface.areas[inside])))
    subjects = [pair.subject for pair in found.pairs]
    return {
        "coverage": {
            name: statistics.estimate(values, subjects, seed=seed) for name, values in held.items()
        },
        "half_width_mm": float(np.mean(widths)),
    }


def parts(found: Mapping[str, Any] | None) -> list[Part]:
    """The coverage as tables; [] for None."""
    if found is None:
        return []
    caption = f"Coverage of the {LEVEL:.0%} intervals on real knees."
    bones, numbers = [], []
    for name, one in found["bones"].items():
        cells = [share(one["coverage"][alignment]) for alignment in ALIGNMENTS]
        bones.append(Row(name, [*cells, f"{one['half_width_mm']:.1f}"]))
    for name, one in found["quantities"].items():
        span = f"{one['low_mm']:+.2f} to {one['high_mm']:+.2f}"
        label = f"{name.removesuffix('_mm').replace('_', ' ')} (mm)"
        numbers.append(Row(label, [share(one["coverage"]), span]))
    alignments = [Cell(name, OPEN) for name in ALIGNMENTS]
    ends = f"{LEVEL:.0%} interval of true minus predicted"
    return [
        Paragraph(found["fitted"]),
        Table(f"{caption} Bones.", ["bone", *alignments, "half-width (mm)"], bones),
        Table(f"{caption} Quantities.", ["quantity", "coverage", ends], numbers),
    ]


def findings(found: Mapping[str, Any] | None) -> list[str]:
    """The coverage in sentences; [] for None."""
    if found is None:
        return []
    bones = ", ".join(
        f"{bone} {one['coverage']['centred']['mean']:.0%} centred and "
        f"{one['coverage']['rigid']['mean']:.0%} after rigid alignment ({OPEN})"
        for bone, one in found["bones"].items()
    )
    numbers = ", ".join(
        f"{name.removesuffix('_mm').replace('_', ' ')} {one['coverage']['mean']:.0%}"
        for name, one in found["quantities"].items()
    )
    return [
        f"Coverage of the {LEVEL:.0%} intervals: surface points {bones}; share of knees {numbers}. "
        f"{found['fitted']}"
    ]
