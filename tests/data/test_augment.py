"""Augmentation keeps radiograph and volume aligned and intensities in range."""

import numpy as np
import pytest

from xr2mri_jax.data import augment
from xr2mri_jax.errors import InputError

SHAPE = (4, 24, 20)


def _rng(seed=0):
    return np.random.default_rng(seed)


def _smooth_pair():
    """A volume of one blob whose every plane is the radiograph."""
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    plane = np.exp(-((y - 10.0) ** 2 + (x - 11.0) ** 2) / 18.0)
    plane = np.round(plane * 65535).astype(np.uint16)
    return {
        "xray": plane[..., None],
        "mri": np.broadcast_to(plane[None, ..., None], (*SHAPE, 1)).copy(),
        "mask": np.ones((*SHAPE, 1), np.uint8),
        "labels": np.broadcast_to((plane > 30000).astype(np.uint8), SHAPE).copy(),
        "kl": 3,
    }


def test_no_strength_changes_nothing():
    example = _smooth_pair()
    same = augment.apply(example, _rng(), augment.strengths(None))
    for name, value in example.items():
        np.testing.assert_array_equal(same[name], value)


@pytest.mark.parametrize("strength", [{"shift": 3}, {"shift": 2, "rotate": 20, "scale": 0.1}])
def test_volume_moves_with_the_radiograph(strength):
    example = _smooth_pair()
    moved = augment.apply(example, _rng(2), augment.strengths(strength))
    assert not np.array_equal(moved["xray"], example["xray"])
    inside = moved["mask"][0, ..., 0] == 1
    assert 0.5 < inside.mean() < 1
    for d in range(SHAPE[0]):
        np.testing.assert_array_equal(moved["mri"][d][inside], moved["xray"][inside])
        assert np.all(moved["mri"][d][~inside] == 0)
    agree = (moved["xray"][..., 0] > 30000) == (moved["labels"][0] == 1)
    assert agree.mean() > 0.97
    assert moved["kl"] == 3
    for name in ("xray", "mri", "mask", "labels"):
        assert moved[name].dtype == example[name].dtype
        assert moved[name].shape == example[name].shape


def test_a_shift_is_by_whole_pixels_and_repeats_the_radiographs_border():
    planes = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    zero = augment._shifted(planes, 1, -1, zero_border=True)[0]
    np.testing.assert_array_equal(zero, [[0, 0, 0, 0], [1, 2, 3, 0], [5, 6, 7, 0]])
    edge = augment._shifted(planes, 1, -1, zero_border=False)[0]
    np.testing.assert_array_equal(edge, [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]])
    np.testing.assert_array_equal(augment._shifted(planes, 9, 0, zero_border=True), 0 * planes)


def test_a_quarter_turn_of_the_grid_is_numpys():
    planes = np.arange(25, dtype=np.uint16).reshape(1, 5, 5)
    grid = augment._Grid((5, 5), 0, 0, np.pi / 2, 1.0)
    turned = np.rint(grid.linear(planes, zero_border=False)).reshape(5, 5)
    np.testing.assert_array_equal(turned, np.rot90(planes[0], 1))


def test_magnification_by_two_about_the_centre():
    planes = np.arange(5, dtype=np.uint16)[None, None, :] * np.ones((1, 5, 1), np.uint16)
    grid = augment._Grid((5, 5), 0, 0, 0.0, 2.0)
    wider = grid.linear(planes, zero_border=False).reshape(5, 5)
    np.testing.assert_allclose(wider[2], [1.0, 1.5, 2.0, 2.5, 3.0])


def test_intensities_change_the_radiograph_alone_and_stay_in_range():
    example = _smooth_pair()
    strong = {"gamma": 1.0, "contrast": 1.0, "brightness": 0.5, "noise": 0.5}
    changed = augment.apply(example, _rng(1), augment.strengths(strong))
    assert changed["xray"].dtype == np.float32
    assert changed["xray"].min() >= 0.0 and changed["xray"].max() <= 1.0
    for name in ("mri", "mask", "labels"):
        np.testing.assert_array_equal(changed[name], example[name])


def test_brightness_alone_is_an_offset_of_the_drawn_size():
    example = {"xray": np.full((3, 3, 1), 32768, np.uint16)}
    offset = _rng(5).uniform(-1, 1, size=3)[2] * 0.2
    changed = augment.apply(example, _rng(5), augment.strengths({"brightness": 0.2}))
    np.testing.assert_allclose(changed["xray"], 32768 / 65535 + offset, rtol=1e-5)


def test_the_generator_decides_everything():
    strength = augment.strengths({"shift": 3, "rotate": 5, "noise": 0.1})
    first, again, other = (augment.apply(_smooth_pair(), _rng(s), strength) for s in (1, 1, 2))
    np.testing.assert_array_equal(first["xray"], again["xray"])
    assert not np.array_equal(first["xray"], other["xray"])


@pytest.mark.parametrize(
    "wrong", [{"flip": 1.0}, {"noise": -0.1}, {"noise": "0.1"}, {"shift": 1.5}, {"gamma": True}]
)
def test_wrong_strengths_are_refused(wrong):
    with pytest.raises(InputError, match="data.augment." + next(iter(wrong))):
        augment.strengths(wrong)


def test_mixup_is_the_weighted_mean_and_carries_both_grades():
    bright = {"xray": np.full((3, 3, 1), 65535, np.uint16), "kl": 2, "index": 5}
    dark = {"xray": np.full((3, 3, 1), 0.25, np.float32), "kl": 0, "index": 6}
    shares = []
    for seed in range(200):
        found = augment.mixed(bright, dark, _rng(seed), 0.4)
        assert (found["kl"], found["mixed_kl"], found["index"]) == (2, 0, 5)
        share = found["share"]
        np.testing.assert_allclose(found["xray"], share + (1 - share) * 0.25, rtol=1e-6)
        assert found["xray"].dtype == np.float32
        shares.append(share)
    assert min(shares) >= 0.5 and max(shares) <= 1
    # E max(s, 1 - s) = 1/2 + E|s - 1/2| of Beta(0.4, 0.4), from many draws.
    draws = np.random.default_rng(1).beta(0.4, 0.4, 100_000)
    assert np.mean(shares) == pytest.approx(0.5 + np.abs(draws - 0.5).mean(), abs=0.03)


def test_blur_and_erase_change_the_radiograph_alone_and_stay_in_range():
    rng = np.random.default_rng(0)
    xray = rng.integers(0, 65536, (32, 40, 1)).astype(np.uint16)
    example = {"xray": xray, "labels": np.ones((4, 8, 10), np.uint8)}
    blurred = augment.apply(example, np.random.default_rng(1), augment.strengths({"blur": 2.0}))
    assert blurred["xray"].shape == xray.shape and blurred["labels"] is example["labels"]
    assert (
        np.abs(np.diff(blurred["xray"], axis=0)).mean()
        < 0.6 * np.abs(np.diff(xray / 65535, axis=0)).mean()
    )
    strength = augment.strengths({"erase": 0.2})
    hidden = []
    for seed in range(20):
        changed = augment.apply(example, np.random.default_rng(seed), strength)["xray"]
        hidden.append((np.abs(changed[..., 0] - xray[..., 0] / 65535) > 1e-4).mean())
    assert 0.25 < np.mean(np.array(hidden) > 0) < 0.8
    assert 0 < max(hidden) < 0.25
