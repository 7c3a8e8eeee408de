"""Tests of the shares that a generator's departures from its mean keep."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import ship_generator
from xr2mri_jax.evaluation.calibrated_shape import calibrate
from xr2mri_jax.inference.knee_generator.load import SHIPPED, load_generator, uncertainty_of

SHAPE = (1, 2, 2, 2)


class Stage:
    """Coefficients are linear in the radiograph; the columns add its mean to every voxel."""

    def outputs(self, params, xray):
        part = params["generator"]
        flat = xray.reshape(len(xray), -1)
        departed = (flat @ part["coefficients"]["kernel"]) @ part["basis"].reshape(2, -1)
        added = flat.mean(axis=1)[:, None] * part["column"]["kernel"].sum()
        return None, part["mean"] + (departed + added).reshape(-1, *SHAPE)


@pytest.fixture
def params():
    basis = np.zeros((2, *SHAPE), np.float32)
    basis[0, 0, 0, 0, 0] = basis[1, 0, 1, 1, 1] = 1.0
    return {
        "encoder": {},
        "generator": {
            "mean": np.full(SHAPE, 0.5, np.float32),
            "basis": basis,
            # The first coefficient is twice too large, the second has the wrong sign.
            "coefficients": {"kernel": np.diag([2.0, -1.0]).astype(np.float32)},
            "column": {"kernel": np.zeros((1, 2), np.float32)},
        },
    }


@pytest.mark.parametrize("trust", [1.0, 0.4])
def test_departures_are_shrunk_to_what_predicts_held_out_knees(params, trust):
    xray = np.random.default_rng(0).normal(size=(16, 1, 2, 1)).astype(np.float32)
    flat = xray.reshape(16, 2)
    true = params["generator"]["mean"] + (flat @ params["generator"]["basis"].reshape(2, -1)
                                          ).reshape(-1, *SHAPE)  # fmt: skip
    real = np.ones(16)
    real[12:] = 0
    true[12:] = 9.0  # padding
    batch = {"xray": xray, "distances": true, "example_mask": real}
    changed, shares = calibrate(Stage(), params, [batch], trust)
    np.testing.assert_allclose(shares["components"], [0.5 * trust, 0.0], atol=2e-3)
    kernel = changed["generator"]["coefficients"]["kernel"]
    np.testing.assert_allclose(np.diag(kernel), [trust, 0.0], atol=4e-3)
    assert shares["columns"] == [0.0]


def test_a_share_of_trust_beyond_one_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--trust: found 2\.0, expected 0 to 1"):
        ship_generator.ship(tmp_path, "knee_xray/box128", trust=2.0)


@pytest.mark.parametrize("given", [{}, {"maps": "maps"}, {"data_dir": "data"}])
def test_a_packaged_generator_is_made_again_from_maps_and_held_out_knees_alone(tmp_path, given):
    with pytest.raises(InputError, match="packaged generator, expected --maps and --data_dir"):
        ship_generator.ship(SHIPPED, "knee_xray/box128", tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_the_shipped_intervals_of_thickness_hold_what_patients_need():
    model, _ = load_generator()
    shipped, doubt = uncertainty_of(None, model)
    assert doubt == ""
    for plate, off in ship_generator._PATIENTS_OFF_MM.items():
        low, high = shipped.offsets[f"thickness_{plate}"]
        assert low <= -off + 1e-6 and high >= off - 1e-6


def test_the_scale_of_the_novelty_score_is_that_of_other_patients(monkeypatch):
    """Not of other radiographs: both knees of a patient are on one side of the split."""
    subjects = [f"s{i // 2}" for i in range(60)]
    values = np.arange(60.0)[:, None]
    monkeypatch.setattr(
        ship_generator.passes, "predictions", lambda *_: (values, {"subject": subjects})
    )
    fitted = []
    monkeypatch.setattr(ship_generator.novelty, "fit", lambda *parts: fitted.append(parts))
    _, count = ship_generator._fit_novelty_detector(None, None, None)
    ((trained, held_out),) = fitted
    assert len(trained) == count and 0 < len(held_out) < len(trained)
    assert sorted([*trained, *held_out]) == sorted(values)
    patients = [{subjects[int(i)] for (i,) in part} for part in (trained, held_out)]
    assert not patients[0] & patients[1]
    del subjects[:]
    subjects += ["s"] * 60
    with pytest.raises(InputError, match="--real: found 1 patients in the training split"):
        ship_generator._fit_novelty_detector(None, None, None)
