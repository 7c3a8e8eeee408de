"""Tests of the auto-encoder stage."""

import jax
import numpy as np
import pytest
from fake_data import CAE, batch, config, loss

from xr2mri_jax import stages
from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics import image


@pytest.fixture(scope="module")
def made():
    asked = config("cae", CAE)
    asked["loss"]["xray"].update(l1=0.5, mse=2.0)
    stage = stages.make_stage(stages.resolve(asked))
    return stage, *stage.init(jax.random.key(0), batch())


def test_resolved_config_holds_every_size():
    spec = stages.resolve(config("cae", CAE))["model"]["cae"]
    assert spec == {**CAE, "blocks": 1, "mean_level": 0.4}
    with pytest.raises(InputError, match="colour"):
        stages.resolve(config("cae", {**CAE, "colour": 1}))


def test_parameters_are_single_precision_and_all_trainable(made):
    stage, params, model_state = made
    assert set(params) == {"encoder", "decoder"} and model_state == {}
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    assert all(jax.tree.leaves(stage.trainable(params)))


def test_loss_is_the_weighted_sum_of_every_example(made):
    stage, params, model_state = made
    data = batch()
    found, (state, values) = loss(stage, params, model_state, data)
    error = np.asarray(jax.jit(stage.reconstruct)(params, data["xray"])) - data["xray"]
    l1, mse = (np.mean(x, axis=(1, 2, 3)) for x in (np.abs(error), error**2))
    np.testing.assert_allclose(found, 0.5 * l1 + 2.0 * mse, rtol=1e-4)
    np.testing.assert_allclose(values["mse"], mse, rtol=1e-4)
    assert found.shape == (3,) and state == {}


def test_metrics_and_pictures(made):
    stage, params, model_state = made
    data = batch(size=6)
    values = jax.jit(stage.evaluate)(params, model_state, data)
    assert set(values) == {"loss", "psnr", "ssim", "mae"}
    rebuilt = jax.jit(stage.reconstruct)(params, data["xray"])
    np.testing.assert_allclose(values["psnr"], image.psnr(rebuilt, data["xray"]), rtol=1e-4)
    (picture,) = stage.pictures(params, model_state, data).values()
    assert picture.shape == (4 * 16, 3 * 16)
    np.testing.assert_allclose(picture[:16, :16], data["xray"][0, ..., 0], rtol=1e-6)


def test_a_dataset_of_another_size_is_refused(made):
    stage = made[0]
    data = {"xray": jax.ShapeDtypeStruct((1, 32, 32, 1), np.float32)}
    with pytest.raises(
        InputError, match=r"expected \(16, 16, 1\) from config.model.cae.image_shape"
    ):
        stage.init(jax.random.key(0), data)
