"""Tests of what the stages share: earlier folders, specs that must agree, pictures."""

import jax.numpy as jnp
import numpy as np
import pytest
from fake_data import CAE, batch, config, trained

from xr2mri_jax import stages
from xr2mri_jax.errors import InputError
from xr2mri_jax.stages import base, earlier_run, sample_pictures


@pytest.mark.parametrize("name", ["cae", "generator", "joint"])
def test_every_stage_keeps_the_protocol(name):
    asked = config(name, CAE, {"volume_shape": [16, 16, 16]})
    stage = stages.make_stage({**asked, "cae_workdir": "", "generator_workdir": ""})
    assert isinstance(stage, base.Stage) and stage.name == name
    assert isinstance(stage, base.Predicts) == (name != "cae")


def test_an_unknown_stage_is_refused():
    with pytest.raises(
        InputError, match=r"config.stage is 'gan', expected one of branch_cae, cae, gen"
    ):
        stages.make_stage({"stage": "gan"})
    with pytest.raises(InputError, match=r"config.stage is 'gan'"):
        stages.resolve({"stage": "gan"})


def test_an_earlier_folder_must_be_named_and_hold_a_run(tmp_path):
    with pytest.raises(InputError, match=r"config.cae_workdir is empty: train .* `python launch"):
        earlier_run.workdir_of("cae_workdir", "", "python launch/train.py")
    with pytest.raises(InputError, match=r"cae_workdir=.* contains no config.json: train it"):
        earlier_run.workdir_of("cae_workdir", str(tmp_path), "python launch/train.py")


def test_a_spec_is_read_from_the_run_and_must_agree(tmp_path):
    trained(tmp_path, config("cae", CAE))
    found = earlier_run.model_spec(tmp_path, "cae", {"channels": [4, 4]})
    assert found["hidden_channels"] == 3 and found["blocks"] == 1
    with pytest.raises(InputError, match=r"config.model.cae.channels is \[8, 4\], but .* \[4, 4\]"):
        earlier_run.model_spec(tmp_path, "cae", {"channels": [8, 4]})
    with pytest.raises(InputError, match=r"config.model.cae.colour is 1, but"):
        earlier_run.model_spec(tmp_path, "cae", {"colour": 1})
    with pytest.raises(InputError, match=r"found no model\.generator"):
        earlier_run.model_spec(tmp_path, "generator", {})


def test_replacing_a_part_needs_the_same_shapes(tmp_path):
    params = {"a": {"w": np.zeros((2, 3))}, "b": np.ones(1)}
    found = earlier_run.replace_part(params, "a", {"w": np.ones((2, 3))}, tmp_path)
    assert found["a"]["w"].all() and not params["a"]["w"].any()
    with pytest.raises(InputError, match=r"its a\['w'\] has shape \(3, 2\), expected"):
        earlier_run.replace_part(params, "a", {"w": np.ones((3, 2))}, tmp_path)
    with pytest.raises(InputError, match=r"its a\['v'\] has shape \(1,\), expected None"):
        earlier_run.replace_part(params, "a", {"w": np.ones((2, 3)), "v": np.ones(1)}, tmp_path)


def test_a_batch_of_another_size_is_refused():
    base.require_shape(batch(), "xray", (16, 16, 1), "model.cae.image_shape")
    with pytest.raises(
        InputError, match=r"xray has shape \(16, 16, 1\), expected .* from config.model.cae.image"
    ):
        base.require_shape(batch(), "xray", (32, 16, 1), "model.cae.image_shape")
    with pytest.raises(InputError, match="no 'labels'"):
        base.require_shape(batch(), "labels", (16, 16, 1), "model.cae.image_shape")


def test_precision():
    assert base.compute_dtype("auto") == jnp.float32  # the tests run on the CPU
    assert base.compute_dtype("bfloat16") == jnp.bfloat16


def test_planes_and_rows_keep_proportions():
    volume = np.zeros((4, 8, 8), np.float32)
    volume[3, :, :] = 1.0
    coronal, sagittal, axial = sample_pictures.middle_planes(volume)
    assert coronal.shape == (8, 8) and sagittal.shape == (8, 4) and axial.shape == (4, 8)
    row = sample_pictures.in_row([coronal, sagittal, axial])
    assert row.shape == (8, 24) and row.dtype == np.float32
    np.testing.assert_array_equal(row[:, 14:16], 1.0)
    np.testing.assert_array_equal(row[6:, 16:], 1.0)
    assert row.sum() == 32
    np.testing.assert_array_equal(sample_pictures.in_row([np.full((2, 2), 3.0)]), 1.0)
