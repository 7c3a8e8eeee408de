"""Phantom cases: determined by (seed, index), shaped like a knee, radiograph above the volume."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from xr2mri_jax.geometry import SIDES
from xr2mri_jax.phantom import bones, mri, parameters, surfaces
from xr2mri_jax.phantom.case import compiled_parts, simulate_case
from xr2mri_jax.phantom.tissues import CODES

SHAPE = (16, 32, 32)  # that of knee_phantom/smoke, so that a test run compiles it once


@pytest.fixture(scope="module", autouse=True)
def on_cpu():
    """The device of `simulate_case`; under another one its parts would be compiled again."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


@pytest.fixture(scope="module")
def cases() -> list[dict]:
    return [simulate_case(5, index, SHAPE) for index in range(8)]


def _with_grade(grade: int) -> parameters.Parameters:
    """A knee whose every normal number is 0, at the quantile of a grade: nothing else varies."""
    values = {name: spread.mean for name, spread in parameters.SPREADS.items()}
    edges = np.concatenate([[0.0], np.cumsum(parameters.KL_SHARES)])
    quantile = 0.5 * (edges[grade] + edges[grade + 1])
    shared = np.array([norm.ppf(quantile) / 0.85, 0.0, 0.0])
    values |= parameters._osteoarthritis(values, shared, np.zeros(3))
    return bones.with_rows({name: np.float32(value) for name, value in values.items()})


def pose_of(p):
    return compiled_parts(SHAPE).place(p)


def test_features(cases):
    d, h, w = SHAPE
    for index, case in enumerate(cases):
        assert case["xray"].shape == (h, w, 1) and case["xray"].dtype == np.uint16
        assert case["mri"].shape == (d, h, w, 1) and case["mri"].dtype == np.uint16
        assert case["mask"].shape == (d, h, w, 1) and case["mask"].dtype == np.uint8
        assert case["labels"].shape == (d, h, w) and case["labels"].dtype == np.uint8
        assert SIDES[case["side"]] == ("right", "left")[index % 2]
        assert case["kl"] in range(5)
        np.testing.assert_allclose(case["spacing"], (8.0, 4.0, 4.0))
    assert cases[0]["subject"] == cases[1]["subject"] != cases[2]["subject"]


def test_every_tissue_is_there(cases):
    found = set().union(*(np.unique(case["labels"]) for case in cases))
    assert found >= set(range(16)) - {CODES["patellar_cartilage"]}
    for case in cases:
        volumes = np.bincount(case["labels"].ravel(), minlength=18) * 128.0 / 1000.0
        assert 80 < volumes[CODES["femur"]] < 260
        assert 60 < volumes[CODES["tibia"]] < 220
        assert 7 < volumes[CODES["patella"]] < 30
        assert 3 < volumes[CODES["fibula"]] < 25


def test_same_numbers_again_and_no_two_cases_alike(cases):
    again = simulate_case(5, 3, SHAPE)
    for name in ("xray", "mri", "mask", "labels"):
        np.testing.assert_array_equal(again[name], cases[3][name])
    other = simulate_case(6, 3, SHAPE)
    assert not np.array_equal(other["labels"], cases[3]["labels"])
    assert not np.array_equal(cases[2]["labels"], cases[3]["labels"])


def test_voxels_outside_the_field_are_zero(cases):
    for case in cases:
        mask = case["mask"].astype(bool)
        assert set(np.unique(case["mask"])) == {0, 1}
        assert 0.7 < mask.mean() < 0.95
        assert not case["mri"][~mask].any()
        assert case["mri"][mask].mean() > 1000


def test_field_is_as_wide_as_the_acquisition():
    mask = np.asarray(mri.field_mask(jax.random.key(1), (8, 8, 256)))
    assert mask[4, 4].sum() * 0.5 == pytest.approx(112.0, abs=1.5)


def test_fibula_is_lateral_and_patella_in_front(cases):
    for case in cases:
        place = {
            name: np.argwhere(case["labels"] == CODES[name]).mean(0)
            for name in ("fibula", "tibia", "patella", "femur")
        }
        assert place["fibula"][2] < place["tibia"][2] - 4
        assert place["fibula"][0] > place["tibia"][0]
        assert place["patella"][0] < place["femur"][0] - 3
        assert place["femur"][1] < place["tibia"][1]
        medial, lateral = (
            np.argwhere(case["labels"] == CODES[f"{side}_meniscus"])[:, 2].mean()
            for side in ("medial", "lateral")
        )
        assert medial > lateral + 5


def test_bones_projected_along_d_align_with_the_radiograph(cases):
    for case in cases:
        bone = np.isin(case["labels"], [CODES[n] for n in ("femur", "tibia", "patella", "fibula")])
        projection = bone.sum(0).astype(float)
        image = case["xray"][..., 0].astype(float)
        aligned = np.corrcoef(projection.ravel(), image.ravel())[0, 1]
        assert aligned > 0.6
        for axis, step in ((0, 3), (0, -3), (1, 3), (1, -3)):
            moved = np.roll(projection, step, axis=axis)
            assert np.corrcoef(moved.ravel(), image.ravel())[0, 1] < aligned


def test_grade_changes_joint_space_width():
    widths = []
    for grade in (0, 2, 3, 4):
        p = _with_grade(grade)
        assert p["kl"] == grade
        placed = pose_of(p)
        x, y = jnp.meshgrid(jnp.linspace(13.0, 27.0, 15), jnp.linspace(-13.0, 19.0, 33))
        points = placed.tibia.outer(x, y, bones.plateau_height(p, x, y))
        femur, _ = bones.femur(p, *placed.femur.local(*points))
        widths.append(float(np.min(femur)))
        # Seating leaves the narrowest distance at the joint space that was asked for.
        assert widths[-1] == pytest.approx(float(p["medial_space"]), abs=0.35)
    assert widths[0] > widths[1] > widths[2] > widths[3]
    assert widths[0] > 4.0 > 1.3 > widths[3]


def test_grade_changes_volumes_of_cartilage_and_osteophytes():
    volumes = {}
    for grade in (0, 4):
        p = _with_grade(grade)
        voxels = compiled_parts(SHAPE).voxelise(p, pose_of(p), jax.random.key(0))
        volumes[grade] = np.bincount(np.asarray(voxels.labels).ravel(), minlength=18)
    medial = CODES["medial_tibial_cartilage"]
    assert volumes[4][medial] < 0.5 * volumes[0][medial]
    assert volumes[4][CODES["tibia"]] > volumes[0][CODES["tibia"]]


def test_grades_have_their_shares_and_knees_of_a_subject_are_alike():
    key = jax.random.key(11)
    drawn = [
        parameters.sample(jax.random.fold_in(key, i // 2), jax.random.fold_in(key, 10_000 + i))
        for i in range(400)
    ]
    grades = np.array([p["kl"] for p in drawn])
    np.testing.assert_allclose(
        np.bincount(grades.astype(int), minlength=5) / 400, parameters.KL_SHARES, atol=0.09
    )
    size = np.array([p["size"] for p in drawn])
    assert np.corrcoef(size[::2], size[1::2])[0, 1] > 0.95
    assert size.std() == pytest.approx(parameters.SPREADS["size"].deviation, rel=0.2)
    assert np.corrcoef(grades[::2], grades[1::2])[0, 1] > 0.4


def test_negative_numbers_raise():
    with pytest.raises(ValueError, match="index -1"):
        simulate_case(0, -1, SHAPE)


def test_distances_hold_the_labels():
    case = simulate_case(5, 0, (32, 64, 64), distances=True)
    assert case["distances"].shape == (len(surfaces.NAMES), 16, 16, 16)
    assert case["distances"].dtype == np.int8
    near = case["distances"].astype(np.float32) / surfaces.STEPS
    found = surfaces.labels(surfaces.resized(near, (32, 64, 64), order=3))
    # Eight millimetres between the distances: bones are nearly whole, cartilage is not lost.
    least = {"femur": 0.97, "tibia": 0.97, "patella": 0.9, "femoral_cartilage": 0.55}
    for name, bar in least.items():
        one, other = found == CODES[name], case["labels"] == CODES[name]
        dice = 2 * np.sum(one & other) / (one.sum() + other.sum())
        assert dice > bar, (name, dice)
