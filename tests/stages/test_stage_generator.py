"""Tests of the generator stage: the encoder is the auto-encoder's, and stays so to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fake_data import CAE, GENERATOR, OFFSET, assert_same, batch, config, loss, trained

from xr2mri_jax import stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.stages import generator
from xr2mri_jax.training import loaded_model as trained_models
from xr2mri_jax.training import optimizer, state, step

VALUES = {
    "learning_rate": 1e-2,
    "warmup_steps": 0,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "muon_learning_rate": 0.0,
}


@pytest.fixture(scope="module")
def cae(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cae")
    return folder, trained(folder, config("cae", CAE))[1]


@pytest.fixture(scope="module")
def made(cae):
    asked = config("generator", None, GENERATOR, cae_workdir=str(cae[0]))
    resolved = stages.resolve(asked)
    stage = stages.make_stage(resolved)
    return resolved, stage, *stage.init(jax.random.key(5), batch())


def test_encoders_spec_comes_from_the_auto_encoders_folder(cae, made):
    resolved = made[0]
    assert resolved["model"]["cae"] == {**CAE, "blocks": 1, "mean_level": 0.4}
    assert resolved["cae_workdir"] == str(cae[0].resolve())
    agreeing = config("generator", CAE, GENERATOR, cae_workdir=str(cae[0]))
    assert stages.resolve(agreeing) == resolved
    other = config("generator", {**CAE, "hidden_channels": 5}, GENERATOR, cae_workdir=str(cae[0]))
    with pytest.raises(InputError, match=r"cae.hidden_channels is 5, but .* trained with 3"):
        stages.resolve(other)
    with pytest.raises(InputError, match=r"config.cae_workdir is empty: .*configs/cae.py"):
        stages.resolve(config("generator", None, GENERATOR))


def test_a_continued_run_does_not_read_the_auto_encoder_again(made):
    resolved = made[0]
    asked = config("generator", None, GENERATOR, cae_workdir="/nowhere")
    assert stages.resolve(asked, resolved) == resolved


def test_it_starts_from_the_averaged_encoder(cae, made):
    assert_same(made[2]["encoder"], cae[1]["encoder"])


def test_encoder_keeps_its_bits_through_training(cae, made):
    _, stage, params, model_state = made
    trainable = stage.trainable(params)
    assert not any(jax.tree.leaves(trainable["encoder"]))
    assert all(jax.tree.leaves(trainable["generator"]))
    tx = optimizer.make(VALUES, 10, trainable)
    steps = step.Steps(stage, tx, optax.constant_schedule(1e-2), 0.5, trainable)
    current = state.create(params, model_state, tx)
    moments = [leaf.size for leaf in jax.tree.leaves(current.opt_state) if leaf.ndim]
    assert sum(moments) == 2 * sum(leaf.size for leaf in jax.tree.leaves(params["generator"]))
    run = jax.jit(steps.train_step)
    for seed in range(3):
        current, outcome = run(current, batch(seed=seed), jax.random.key(0))
        assert outcome["finite"]
    assert_same(current.params["encoder"], cae[1]["encoder"])
    assert_same(current.ema_params["encoder"], cae[1]["encoder"])
    for found in (current.params, current.ema_params):
        changed = jax.tree.map(
            lambda a, b: not np.array_equal(a, b), found["generator"], params["generator"]
        )
        assert any(jax.tree.leaves(changed))


def test_no_gradient_reaches_the_encoder(made):
    _, stage, params, _ = made
    gradient = jax.jit(jax.grad(lambda p: stage.predict(p, {}, batch()["xray"]).sum()))(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["encoder"]))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient["generator"]))


def test_loss_is_masked_and_by_example(made):
    _, stage, params, model_state = made
    data = batch()
    found, (_, values) = loss(stage, params, model_state, data)
    volume = np.asarray(jax.jit(stage.predict)(params, model_state, data["xray"]))
    assert volume.shape == data["mri"].shape
    error = np.abs(volume - data["mri"]) * data["mask"]
    wanted = error.sum((1, 2, 3, 4)) / data["mask"].sum((1, 2, 3, 4))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    np.testing.assert_allclose(values["l1"], wanted, rtol=1e-4)
    outside = {**data, "mri": np.where(data["mask"] > 0, data["mri"], 7.0)}
    again, _ = loss(stage, params, model_state, outside)
    np.testing.assert_allclose(again, found, rtol=1e-6)


def test_metrics_and_pictures(made):
    _, stage, params, model_state = made
    data = batch()
    values = jax.jit(stage.evaluate)(params, model_state, data)
    assert set(values) == {"loss", "psnr", "ssim3d", "mae"}
    np.testing.assert_allclose(values["mae"], values["loss"], rtol=1e-5)
    (picture,) = stage.pictures(params, model_state, data).values()
    assert picture.shape == (3 * 2 * 16, 4 * 16)
    np.testing.assert_allclose(picture[:16, 16:32], data["mri"][0, 4, :, :, 0], rtol=1e-6)


def test_films_of_cartilage_are_not_told():
    distances = np.full((1, len(surfaces.NAMES), 2, 4, 8), 2.0, np.float32)
    outer, bone = surfaces.CARTILAGES[0]
    thick = np.array([0.0, 0.1, 0.2, 0.29, 0.31, 1.0, 2.0, 0.2], np.float32)
    distances[:, outer] = distances[:, bone] - thick
    found = np.asarray(
        generator.without_thin_cartilage(jnp.asarray(distances), {"form": "pyramid"})
    )
    np.testing.assert_allclose(
        (found[:, bone] - found[:, outer])[0, 0, 0],
        [-0.3, -0.2, -0.1, -0.01, 0.31, 1.0, 2.0, -0.1],
        atol=1e-6,
    )
    untouched = [k for k in range(len(surfaces.NAMES)) if k not in dict(surfaces.CARTILAGES)]
    np.testing.assert_array_equal(found[:, untouched], distances[:, untouched])
    assert generator.without_thin_cartilage(distances, {"form": "shape"}) is distances
    assert generator.without_thin_cartilage(None, {"form": "pyramid"}) is None


def test_its_folder_is_enough_to_predict(tmp_path, cae, made):
    folder = tmp_path / "generator"
    _, averaged = trained(folder, config("generator", None, GENERATOR, cae_workdir=str(cae[0])))
    workdir.write_config(folder, {**workdir.read_config(folder), "cae_workdir": "/gone"})
    loaded = trained_models.load_model(folder)
    assert loaded.step == 1 and loaded.config["cae_workdir"] == "/gone"
    assert_same(loaded.params, averaged)
    volume = jax.eval_shape(
        loaded.stage.predict, loaded.params, loaded.model_state, batch()["xray"]
    )
    assert volume.shape == (3, 8, 16, 16, 1)
    last = trained_models.load_model(folder, ema=False).params
    assert_same(jax.tree.map(lambda p: p + OFFSET, last), averaged)
    # What another version of the package may make of a spec.
    other = workdir.read_config(folder)
    other["model"]["cae"]["hidden_channels"] = 2
    workdir.write_config(folder, other)
    workdir.write_step(folder, 1, workdir.load_state(folder), {}, other, 1)
    with pytest.raises(InputError, match=r"expected .* from the config"):
        trained_models.load_model(folder)


def test_an_encoder_of_another_shape_is_refused(cae, made):
    resolved = made[0]
    model = {**resolved["model"], "cae": {**resolved["model"]["cae"], "hidden_channels": 2}}
    stage = stages.make_stage({**resolved, "model": model})
    with pytest.raises(InputError, match=r"its encoder.* has shape .*, expected"):
        stage.init(jax.random.key(0), batch())


def test_untrained_output_is_the_mean_volume_of_the_acquired_field(made):
    _, stage, params, model_state = made
    first, second = batch(seed=1), batch(seed=2)
    second["example_mask"][-1] = 0
    kept = np.concatenate([first["mask"], second["mask"][:-1]]).astype(np.float64)
    volumes = np.concatenate([first["mri"], second["mri"][:-1]])
    mean = (volumes * kept).sum(0) / np.maximum(kept.sum(0), 1)
    fitted = stage.fitted(params, [first, second])
    found = stage.predict(fitted, model_state, first["xray"])
    expected = np.broadcast_to(np.clip(mean, 0.005, 0.995), found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert_same(fitted["encoder"], params["encoder"])
