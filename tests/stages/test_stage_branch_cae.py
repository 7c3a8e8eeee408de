"""Tests of the pre-training of Siamese-GAP without grades."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_data import batch, loss

from xr2mri_jax import stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.models import branch_cae, siamese_gap
from xr2mri_jax.training import config as recipe

SMALL = {"image_shape": [32, 32], "channels": [4, 6], "convolutions": [1, 2], "levels": [1, 2]}


def config(stage="branch_cae", share=0.5, **spec):
    made = recipe.plain(recipe.default(stage))
    made["model"]["classifier"] = {**SMALL, **spec}
    if stage == "branch_cae":
        made["loss"] = {"mask_share": share, "mask_pixels": 4}
    return made


def data():
    xray = np.random.default_rng(0).random((3, 32, 32, 1), np.float32)
    return {**batch(), "xray": xray, "kl": np.array([0, 2, 2], np.int32)}


def made(share):
    stage = stages.make_stage(stages.resolve(config(share=share)))
    return stage, *stage.init(jax.random.key(0), data())


def test_its_branch_sees_what_the_classifiers_does():
    stage, params, state = made(0.5)
    xray = data()["xray"]
    resolved = stages.resolve(config("siamese_gap", classes=2))
    classifier = stages.make_stage(resolved)
    own, moments = classifier.init(jax.random.key(1), data())
    variables = {"params": {**own, "branch": params["branch"]}, "batch_stats": moments}
    wanted = classifier.model.apply(variables, xray, method="maps")[-1]
    _, seen = stage.model.apply(
        {"params": params, "batch_stats": state},
        siamese_gap.patches(xray),
        capture_intermediates=True,
    )
    found = seen["intermediates"]["branch"]["__call__"][0][-1]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_cells_are_hidden_in_the_share_and_differ_by_key():
    keys = jax.random.split(jax.random.key(3), 5)
    found = np.asarray(branch_cae.hidden_cells(keys, (10, 8), 4, 0.5))
    assert found.shape == (5, 10, 8, 1) and set(np.unique(found)) == {0.0, 1.0}
    corners = found[:, ::4, ::4, 0]
    np.testing.assert_array_equal(corners.sum(axis=(1, 2)), 3)  # of 3 x 2 cells
    np.testing.assert_array_equal(found[:, :4, :4, 0], corners[:, :1, :1].repeat(4, 1).repeat(4, 2))
    assert len({one.tobytes() for one in found}) > 1


def test_the_loss_is_that_of_what_is_hidden():
    stage, params, state = made(0.5)
    value, (changed, _) = loss(stage, params, state, data())
    # Untrained, every pixel is 0.5: so is what the loss compares with.
    keys = jax.random.split(jax.random.key(0), 3)
    patches, shown, counted = stage._patches(data()["xray"], keys)
    np.testing.assert_array_equal(shown, np.where(counted > 0, 0.5, patches))
    error = (np.square(0.5 - patches) * counted).reshape(2, 3, -1).sum(axis=(0, 2))
    wanted = error / np.asarray(counted).reshape(2, 3, -1).sum(axis=(0, 2))
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    before, after = (jax.tree.leaves(tree) for tree in (state, changed))
    assert any(np.abs(np.asarray(a) - b).max() > 0 for a, b in zip(after, before, strict=True))


def test_without_a_mask_everything_is_shown_and_counts():
    stage, params, state = made(0.0)
    values = stage.evaluate(params, state, data())
    patches = np.asarray(siamese_gap.patches(data()["xray"]))
    wanted = np.square(0.5 - patches).reshape(2, 3, -1).mean(axis=(0, 2))
    np.testing.assert_allclose(values["loss"], wanted, rtol=1e-5)
    np.testing.assert_allclose(values["psnr"], -10 * np.log10(wanted), rtol=1e-5)
    (picture,) = stage.pictures(params, state, data()).values()
    size = patches.shape[1]
    assert picture.shape == (6 * size, 3 * size)
    np.testing.assert_allclose(picture[:size, :size], patches[0, ..., 0], rtol=1e-6)


def test_training_reaches_every_parameter():
    stage, params, state = made(0.5)
    noisy = jax.tree.map(
        lambda p: p + 0.1 * np.random.default_rng(1).standard_normal(p.shape, np.float32), params
    )
    keys = jax.random.split(jax.random.key(0), 3)

    def total(params):
        return jnp.sum(stage.loss(params, state, data(), keys, True)[0])

    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(total))(noisy)):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_a_classifier_starts_from_its_branch(tmp_path):
    params, state = made(0.5)[1:]
    resolved = stages.resolve(config())
    stored = {"step": np.asarray(1), "params": params, "ema_params": params, "model_state": state}
    workdir.write_config(tmp_path, resolved)
    workdir.write_step(tmp_path, 1, stored, {}, resolved, 1)
    asked = config("siamese_gap", head="ordinal", classes=2)
    asked["classifier_workdir"] = str(tmp_path)
    classifier = stages.make_stage(stages.resolve(asked))
    found, moments = classifier.init(jax.random.key(7), data())
    assert set(found) == {"branch", "head"}
    jax.tree.map(np.testing.assert_array_equal, found["branch"], params["branch"])
    jax.tree.map(np.testing.assert_array_equal, moments, dict(state))
    asked["model"]["classifier"]["channels"] = [4, 8]
    with pytest.raises(InputError, match="channels"):
        stages.resolve(asked)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": {"mask_share": 1.0, "mask_pixels": 4}}, "mask_share"),
        ({"loss": {"mask_share": 0.5, "mask_pixels": 0}}, "mask_pixels"),
        (
            {"model": {"classifier": {"kind": "vgg"}, "decoder": {"hidden_channels": 4}}},
            "'vgg', expected",
        ),
        ({"model": {"classifier": SMALL, "decoder": {"hidden_channels": 0}}}, "hidden_channels"),
    ],
)
def test_wrong_settings_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        stages.resolve({**config(), **changed})
