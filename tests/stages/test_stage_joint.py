"""Tests of the joint stage: where its parts come from, and the hybrid loss."""

import jax
import numpy as np
import pytest
from fake_data import CAE, GENERATOR, assert_same, batch, config, loss, trained

from xr2mri_jax import losses, stages
from xr2mri_jax.errors import InputError

SHAPE = {
    "form": "shape", "volume_shape": [8, 16, 16], "surfaces": 9, "coefficients": 2,
    "surface_width": 4, "column_width": 4, "channels": [4, 4], "widths": [4, 4], "blocks": [0, 0],
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    cae, generator = (tmp_path_factory.mktemp(name) for name in ("cae", "generator"))
    cae_params = trained(cae, config("cae", CAE), seed=1)[1]
    asked = config("generator", None, GENERATOR, cae_workdir=str(cae))
    return cae, generator, cae_params, trained(generator, asked, seed=2)[1]


@pytest.fixture(scope="module")
def made(sources):
    asked = config("joint", generator_workdir=str(sources[1]))
    asked["loss"]["mri_weight"] = 3.0
    resolved = stages.resolve(asked)
    stage = stages.make_stage(resolved)
    return resolved, stage, *stage.init(jax.random.key(5), batch())


def test_every_part_comes_from_its_folder(sources, made):
    _, _, cae_params, generator_params = sources
    params = made[2]
    assert set(params) == {"encoder", "decoder", "generator"}
    assert_same(params["decoder"], cae_params["decoder"])
    assert_same(params["encoder"], generator_params["encoder"])
    assert_same(params["generator"], generator_params["generator"])
    assert all(jax.tree.leaves(made[1].trainable(params)))


def test_sizes_come_from_the_generators_folder(sources, made):
    resolved = made[0]
    assert resolved["model"]["cae"]["hidden_channels"] == 3
    assert resolved["model"]["generator"]["volume_shape"] == [8, 16, 16]
    assert resolved["cae_workdir"] == str(sources[0].resolve())
    asked = config("joint", {}, {"blocks": [2, 1]}, generator_workdir=str(sources[1]))
    with pytest.raises(InputError, match=r"config.model.generator.blocks is \[2, 1\], but"):
        stages.resolve(asked)
    with pytest.raises(InputError, match=r"generator_workdir is empty: .*configs/generator.py"):
        stages.resolve(config("joint"))


def test_loss_is_radiograph_plus_lambda_mri(made):
    _, stage, params, model_state = made
    data = batch()
    found, (_, values) = loss(stage, params, model_state, data)
    decoded, volume, distances = jax.jit(stage.outputs)(params, data["xray"])
    assert distances is None
    of_xray = losses.l1(decoded, data["xray"])
    of_mri = losses.l1(volume, data["mri"], data["mask"])
    np.testing.assert_allclose(found, of_xray + 3.0 * of_mri, rtol=1e-5)
    np.testing.assert_allclose(values["loss_xray"], of_xray, rtol=1e-5)
    np.testing.assert_allclose(values["loss_mri"], of_mri, rtol=1e-5)


def test_gradients_reach_every_part(made):
    _, stage, params, model_state = made
    keys = jax.random.split(jax.random.key(0), 3)

    def total(p):
        return stage.loss(p, model_state, batch(), keys, True)[0].sum()

    gradient = jax.jit(jax.grad(total))(params)
    for name in ("encoder", "decoder", "generator"):
        assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient[name])), name


def test_metrics_and_pictures(made):
    _, stage, params, model_state = made
    values = jax.jit(stage.evaluate)(params, model_state, batch())
    assert set(values) == {"loss", "xray_psnr", "psnr", "ssim3d", "mae"}
    pictures = stage.pictures(params, model_state, batch())
    assert [picture.shape for picture in pictures.values()] == [(96, 64), (48, 32)]
    predicted = jax.eval_shape(stage.predict, params, model_state, batch()["xray"])
    assert predicted.shape == (3, 8, 16, 16, 1)


def test_the_form_shape_keeps_its_fitted_parameters():
    asked = config("joint", CAE, SHAPE, cae_workdir="", generator_workdir="")
    stage = stages.make_stage(asked)
    params, _ = stage.create(jax.random.key(0))
    free = stage.trainable(params)
    fixed = {name for name, part in free["generator"].items() if not any(jax.tree.leaves(part))}
    assert fixed == {"mean", "basis", "template", "levels"}
    assert all(jax.tree.leaves({name: free[name] for name in ("encoder", "decoder")}))
    assert set(stage.mri_weights.values()) == {0.0}
