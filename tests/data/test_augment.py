"""Augmentation on the devices: aligned, in range, independent of the batch, off at strength 0."""

import jax
import numpy as np
import pytest

from xr2mri_jax.data import augment
from xr2mri_jax.errors import InputError

DEPTH, HEIGHT, WIDTH = SHAPE = (3, 24, 20)
ALL = {
    "shift": 2, "rotate": 10.0, "scale": 0.1, "elastic": 1.5, "clahe": 0.5, "gamma": 0.3,
    "contrast": 0.3, "brightness": 0.1, "noise": 0.05, "blur": 0.8, "erase": 0.1,
}  # fmt: skip


def _keys(*numbers):
    return jax.vmap(lambda number: jax.random.fold_in(jax.random.key(0), number))(
        np.array(numbers, np.int32)
    )


def _smooth_pairs(count=6):
    """Volumes of one blob whose every plane is the radiograph."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    plane = np.exp(-((y - 10.0) ** 2 + (x - 11.0) ** 2) / 18.0).astype(np.float32)

    def repeated(array):
        return np.broadcast_to(array, (count, *array.shape)).copy()

    volume = np.broadcast_to(plane, SHAPE)
    return {
        "xray": repeated(plane[..., None]),
        "mri": repeated(volume[..., None]),
        "mask": np.ones((count, *SHAPE, 1), np.float32),
        "labels": repeated((volume > 0.45).astype(np.uint8)),
        "kl": np.full(count, 3, np.int32),
    }


def _applied(batch, strength, keys=None, mixup=0.0):
    found = augment.strengths(strength)
    keys = _keys(*range(len(batch["xray"]))) if keys is None else keys
    made = jax.jit(lambda batch, keys: augment.apply(batch, keys, found, mixup))(batch, keys)
    return {name: np.asarray(value) for name, value in made.items()}


def test_no_strength_changes_nothing_and_adds_nothing_to_the_program():
    batch = _smooth_pairs(2)
    assert augment.apply(batch, _keys(0, 1), augment.strengths(None)) == batch
    program = jax.make_jaxpr(lambda b: augment.apply(b, _keys(0, 1), augment.strengths({})))(
        {"xray": batch["xray"]}
    )
    assert not any(e.outvars[0].aval.shape == batch["xray"].shape for e in program.eqns)


@pytest.mark.parametrize(
    "strength", [{"shift": 3}, {"shift": 2, "rotate": 20, "scale": 0.1, "elastic": 2.0}]
)
def test_volume_moves_with_the_radiograph(strength):
    batch = _smooth_pairs()
    moved = _applied(batch, strength)
    for one in range(len(batch["kl"])):
        inside = moved["mask"][one, 0, ..., 0] == 1
        assert 0.5 < inside.mean() < 1
        xray = moved["xray"][one]
        for d in range(DEPTH):
            # Compiled with the radiograph or apart: equal up to rounding.
            np.testing.assert_allclose(moved["mri"][one, d][inside], xray[inside], rtol=1e-6)
            assert np.all(moved["mri"][one, d][~inside] == 0)
            assert np.all(moved["labels"][one, d][~inside] == 0)
        agree = (xray[..., 0] > 0.45) == (moved["labels"][one, 0] == 1)
        assert agree.mean() > 0.97
    assert len(np.unique(moved["xray"].sum(axis=(1, 2, 3)))) > 1
    for name, before in batch.items():
        assert moved[name].dtype == before.dtype and moved[name].shape == before.shape
    np.testing.assert_array_equal(moved["kl"], batch["kl"])


def test_intensities_change_the_radiograph_alone_and_stay_in_range():
    batch = _smooth_pairs()
    strong = {"gamma": 1.0, "contrast": 1.0, "brightness": 0.5, "noise": 0.5, "clahe": 1.0}
    changed = _applied(batch, strong | {"blur": 1.0, "erase": 0.3})
    assert changed["xray"].min() >= 0.0 and changed["xray"].max() <= 1.0
    assert not np.array_equal(changed["xray"], batch["xray"])
    for name in ("mri", "mask", "labels"):
        np.testing.assert_array_equal(changed[name], batch[name])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_blank_radiograph_stays_finite(value):
    batch = _smooth_pairs(4)
    batch["xray"][:] = value
    assert np.isfinite(_applied(batch, ALL)["xray"]).all()


def test_each_key_decides_alone():
    batch = _smooth_pairs(4)
    first = _applied(batch, ALL, _keys(5, 2, 9, 2))
    turned = _applied(batch, ALL, _keys(2, 9, 2, 5))
    for name in ("xray", "mri", "labels"):
        tolerance = 1e-6 if name != "labels" else 0
        np.testing.assert_allclose(first[name], np.roll(turned[name], 1, 0), atol=tolerance)
    np.testing.assert_array_equal(first["xray"][1], first["xray"][3])
    assert not np.allclose(first["xray"][0], first["xray"][1], atol=0.01)


def test_distances_move_with_the_radiograph():
    """The distances from a plane h = const, on a grid of a quarter of the pixels."""
    rows = (np.arange(24) + 0.5) * 1.0
    batch = {
        "xray": np.broadcast_to(rows[:, None, None] / 24, (4, 24, 24, 1)).astype(np.float32),
        "distances": np.broadcast_to(
            rows.reshape(6, 4).mean(1)[:, None] - 12.0, (4, 2, 3, 6, 6)
        ).astype(np.float32),
    }
    moved = _applied(batch, {"shift": 3})
    xray = moved["xray"][..., 0].reshape(4, 6, 4, 6, 4).mean((2, 4)) * 24 - 12.0
    # Away from the borders, which both repeat, but at different places.
    np.testing.assert_allclose(
        moved["distances"][..., 1:-1, :],
        np.broadcast_to(xray[:, None, None, 1:-1], (4, 2, 3, 4, 6)),
        atol=1e-4,
    )
    assert np.abs(moved["distances"] - batch["distances"]).max() >= 1


def test_magnified_distances_grow():
    far = np.linspace(-6, 6, 6, dtype=np.float32)[:, None] * np.ones(6, np.float32)
    batch = {
        "xray": np.zeros((8, 24, 24, 1), np.float32),
        "distances": np.broadcast_to(far, (8, 1, 1, 6, 6)).copy(),
    }
    moved = _applied(batch, {"scale": 0.2})["distances"]
    # Magnified about the middle, the distances from the middle plane stay what they were.
    np.testing.assert_allclose(moved[..., 2:4, :], batch["distances"][..., 2:4, :], atol=1e-4)


@pytest.mark.parametrize(
    "shapes",
    [{"mri": (1, 3, 12, 20, 1)}, {"distances": (1, 9, 3, 5, 5)}, {"labels": (1, 3, 24, 24)}],
)
def test_planes_that_do_not_match_are_refused(shapes):
    batch = {"xray": np.zeros((1, HEIGHT, WIDTH, 1), np.float32)}
    batch |= {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(InputError, match=rf"config.data.augment: the {next(iter(shapes))} ha"):
        _applied(batch, {"shift": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.0}, {"noise": -0.1}, {"noise": "0.1"}, {"shift": 1.5}, {"gamma": True},
        {"clahe": 1.5}, {"scale": 1.0},
    ],
)  # fmt: skip
def test_wrong_strengths_are_refused(wrong):
    with pytest.raises(InputError, match="data.augment." + next(iter(wrong))):
        augment.strengths(wrong)


def test_mixup_is_the_weighted_mean_and_carries_both_grades():
    count = 400
    batch = {
        "xray": np.ones((count, 3, 3, 1), np.float32),
        "other_xray": np.full((count, 3, 3, 1), 0.25, np.float32),
        "kl": np.full(count, 2, np.int32),
        "other_kl": np.arange(count, dtype=np.int32),
        "index": np.arange(count, dtype=np.int32),
    }
    found = _applied(batch, {}, mixup=0.4)
    assert set(found) == {"xray", "kl", "mixed_kl", "share", "index"}
    np.testing.assert_array_equal(found["mixed_kl"], batch["other_kl"])
    np.testing.assert_array_equal(found["kl"], batch["kl"])
    share = found["share"]
    wanted = (share + (1 - share) * 0.25)[:, None, None, None]
    np.testing.assert_allclose(found["xray"], np.broadcast_to(wanted, (count, 3, 3, 1)), rtol=1e-6)
    assert share.min() >= 0.5 and share.max() <= 1
    # The quantiles of max(s, 1 - s) of Beta(0.4, 0.4), from many draws.
    draws = np.random.default_rng(1).beta(0.4, 0.4, 100_000)
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    wanted = np.quantile(np.maximum(draws, 1 - draws), levels)
    np.testing.assert_allclose(np.quantile(share, levels), wanted, atol=0.05)


def test_mixup_augments_the_partner_by_a_key_of_its_own():
    same = np.full((5, HEIGHT, WIDTH, 1), 0.5, np.float32)
    batch = {"xray": same, "other_xray": same, "kl": np.zeros(5), "other_kl": np.zeros(5)}
    alone = _applied({"xray": same}, {"brightness": 0.3})["xray"][:, 0, 0, 0] - 0.5
    mixed = _applied(batch, {"brightness": 0.3}, mixup=1.0)
    share, offset = mixed["share"], mixed["xray"][:, 0, 0, 0] - 0.5
    partner = (offset - share * alone) / (1 - share)
    assert np.all(np.abs(partner) < 0.3001) and np.all(np.abs(partner - alone) > 1e-3)
