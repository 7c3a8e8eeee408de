"""Tests of what a perfect frontal view tells: of ellipsoids the whole width and no depth."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, PROTOCOLS
from xr2mri_jax.simulation import population
from xr2mri_jax.tools.anatomy.population import TO_XYZ, Departures, Measured
from xr2mri_jax.tools.benchmarks import frontal
from xr2mri_jax.tools.frontal import families, scores
from xr2mri_jax.tools.frontal.ceiling import BOTH, DRAWN, OTHERS, Ceiling
from xr2mri_jax.tools.frontal.deformations import deformed_samples
from xr2mri_jax.tools.frontal.registration import Distances, register
from xr2mri_jax.tools.frontal.regression import best_of_others, mixtures
from xr2mri_jax.tools.frontal.samples import SCAN, Reference
from xr2mri_jax.tools.frontal.views import view

AXIS = (np.arange(64) - 31.5) * 2.0
ENDS = np.full(3, 62.0)
USUAL = (22.0, 27.0, 36.0)  # half axes along d, h, w, mm


def ellipsoid(*half: float) -> Distances:
    """Distances to an ellipsoid around the origin, exact on its axes near the surface."""
    place = np.stack(np.meshgrid(AXIS, AXIS, AXIS, indexing="ij"), axis=-1)
    reach = np.linalg.norm(place / half, axis=-1)
    slope = np.linalg.norm(place / np.square(half), axis=-1)
    values = (reach - 1) * reach / np.maximum(slope, 1e-6)
    return Distances(np.clip(values, -12, 12).astype(np.float32), 2.0, -ENDS, ENDS)


@pytest.fixture(scope="module")
def reference():
    return Reference({"femur": ellipsoid(*USUAL)})


def samples(reference, axis, sizes):
    found = []
    for i, size in enumerate(sizes):
        half = list(USUAL)
        half[axis] *= size
        knee = {"femur": ellipsoid(*half)}
        found.append(reference.sample(knee, np.random.default_rng(i), (SCAN,)))
    return found


def share_left(ceiling, kind, known):
    """The error from features relative to that of the mean."""
    found = ceiling.seen(lambda one: getattr(one, kind)[SCAN], known)
    return float(found.offset_mm["femur"].mean() / ceiling.mean().offset_mm["femur"].mean())


@pytest.mark.parametrize("axis", [0, 2])
def test_an_outline_tells_width_and_nothing_of_depth_but_thickness_tells_both(reference, axis):
    sizes = (0.9, 1.02, 1.1)
    measured = samples(reference, axis, sizes)
    family = samples(reference, axis, (0.87, 0.95, 1.05, 1.13))
    ceiling = Ceiling(reference, measured, [family], lambda _: 0)
    for known in (DRAWN, BOTH):
        assert share_left(ceiling, "thicknesses", known) < 0.2
        if axis == 2:
            assert share_left(ceiling, "outlines", known) < 0.1
        else:
            assert share_left(ceiling, "outlines", known) > 0.95
    found = ceiling.seen(lambda one: one.thicknesses[SCAN], BOTH)
    half = np.array(USUAL)[[2, 0, 1]]  # along w, d and h, as RAS has them
    for i, size in enumerate(sizes):
        true = half * np.where(np.arange(3) == (axis + 1) % 3, size, 1.0)
        reach = np.abs(found.bone(i, "femur").surface.points).max(axis=0)
        np.testing.assert_allclose(reach / reach[2], true / true[2], rtol=0.015)


def test_the_other_knees_alone_can_be_mixed_too_and_by_what_somebody_read(reference):
    measured = samples(reference, 2, (0.88, 0.95, 1.03, 1.11))
    ceiling = Ceiling(reference, measured, [], lambda _: 0)
    assert share_left(ceiling, "outlines", OTHERS) < 0.35

    def outline(one):
        return one.outlines[SCAN]

    read = {i: outline(one) + 0.3 for i, one in enumerate(measured)}  # all off by the same
    exact, found = ceiling.seen(outline, OTHERS), ceiling.seen(outline, OTHERS, read)
    np.testing.assert_allclose(found.offset_mm["femur"], exact.offset_mm["femur"], atol=1e-6)
    swapped = ceiling.seen(outline, OTHERS, {i: read[3 - i] for i in read})
    assert swapped.offset_mm["femur"].mean() > 0.9 * ceiling.mean().offset_mm["femur"].mean()
    nothing = ceiling.seen(outline, OTHERS, {0: read[0], 1: read[1]})
    mean = ceiling.mean().offset_mm["femur"]
    np.testing.assert_allclose(nothing.offset_mm["femur"][2:], mean[2:])


def test_a_bone_is_placed_by_a_similarity(reference):
    turn = Rotation.from_rotvec([0.05, -0.1, 0.08]).as_matrix()
    bone, shift = ellipsoid(*(1.08 * np.array(USUAL))), np.array([2.0, -3.0, 1.0])
    place = np.stack(np.meshgrid(AXIS, AXIS, AXIS, indexing="ij"), axis=-1).reshape(-1, 3)
    moved = bone.at((place - shift) @ turn).reshape(64, 64, 64)
    found = register(Distances(moved, 2.0, -ENDS, ENDS), reference.points["femur"])
    assert found.scale == pytest.approx(1.08, abs=0.01)
    np.testing.assert_allclose(found.shift, shift, atol=0.1)
    np.testing.assert_allclose(found.turn, turn, atol=0.01)


def test_an_outline_and_a_thickness_are_those_of_the_bone():
    seen = view(ellipsoid(*USUAL))
    ends = np.array([[0.0, 36.0], [27.0, 0.0], [0.0, 30.0]])
    np.testing.assert_allclose(seen.outline.at(ends), [0.0, 0.0, -6.0], atol=0.25)
    rows, columns = (n // 2 for n in seen.thickness.shape)
    assert seen.thickness[rows, columns] == pytest.approx(44.0, abs=0.5)
    far = Distances(np.full((64, 64, 64), 12.0, np.float32), 2.0, -ENDS, ENDS)
    with pytest.raises(InputError, match="without an outline"):
        view(far)


def test_a_deformation_changes_outline_and_thickness_as_a_deformed_bone_shows_them(reference):
    (linear,) = deformed_samples(reference, 1, (SCAN,))
    moved = Distances(reference.whole("femur", linear.shapes["femur"]), 2.0, -ENDS, ENDS)
    frame = reference.frames["femur"]
    before, after = (frame.features(view(one)) for one in (reference.knee["femur"], moved))
    for change, first, second, least in zip(
        (linear.outlines[SCAN], linear.thicknesses[SCAN]), before, after, (0.93, 0.75), strict=True
    ):
        assert np.corrcoef(change, second - first)[0, 1] > least
        assert np.std(change) == pytest.approx(np.std(second - first), rel=0.2)


def test_a_mixture_reproduces_a_linear_relation_and_shrinks_with_its_strength():
    rng = np.random.default_rng(0)
    known, weight = rng.normal(size=(12, 5)), rng.normal(size=5)
    seen = rng.normal(size=5)
    mixes = mixtures([known], [(1.0,)], seen - known.mean(axis=0))
    values = known @ weight
    predicted = values.mean() + mixes @ (values - values.mean())
    assert predicted[0] == pytest.approx(seen @ weight, rel=2e-2)
    assert abs(predicted[-1] - values.mean()) < 0.1 * abs(predicted[0] - values.mean())


def test_a_knee_gets_the_strength_that_is_best_for_the_others():
    errors = np.array([[0.0, 9.0], [3.0, 1.0], [3.0, 2.0]])
    np.testing.assert_array_equal(best_of_others(errors), [1, 0, 0])


def test_a_family_knows_nothing_of_the_knees_it_leaves_out():
    own = population.population()
    places = {
        bone: Measured([], own.places[bone].points[:, TO_XYZ], own.places[bone].normals[:, TO_XYZ],
                       np.zeros(0), own.regions[:, TO_XYZ] if bone == "femur" else np.zeros((0, 3)),
                       np.zeros(0))
        for bone in population.BONES
    }  # fmt: skip
    values = np.random.default_rng(0).normal(size=(len(own.names), 9))

    def statistics(values, fold):
        columns = dict(zip(own.names, values, strict=True))
        return families.left_out(Departures(columns, places), 8, fold)

    changed = values.copy()
    changed[:, [families.fold_of(i) == 1 for i in range(8)] + [False]] += 5.0
    for key in ("mean", "deviation", "factor"):
        one, other = (getattr(statistics(v, 1), key) for v in (values, changed))
        np.testing.assert_array_equal(one, other)
    assert np.abs(statistics(values, 0).mean - statistics(changed, 0).mean).min() > 0.5
    assert np.abs(statistics(changed, families.FOLDS).mean - changed.mean(axis=1)).max() < 1e-3


def test_the_table_has_a_row_for_each_view_with_the_difference_to_the_mean():
    rows = []
    for seen, off in (("mean", 0.0), ("outline", 0.2)):
        found = {p: {b: 1.0 - off + np.array([0.0, 0.1]) for b in BONES} for p in PROTOCOLS}
        mean = {p: {b: 1.0 + np.array([0.0, 0.1]) for b in BONES} for p in PROTOCOLS}
        looked = {"top1": 0.5, "n": 2, "mean_rank": 1.5} if off else None
        row = {"seen": seen, "known": "both", "retrieval": looked}
        rows.append(row | scores.summary(found, mean, ["a", "b"]))
    drawn = frontal.table({"predicted": 2, "rows": rows})
    assert "| mean | both | 1.05 (+0.00, +0.00 to +0.00)" in drawn
    assert "| outline | both | 0.85 (+0.20, +0.20 to +0.20)" in drawn
    assert drawn.endswith("| 1 of 2 | 1.5 |")


def test_the_suite_needs_a_folder():
    with pytest.raises(InputError, match="--real is missing"):
        frontal.run(None)
