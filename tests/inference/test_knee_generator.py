"""Tests of the shipped generator: its files, its input, label map and meshes."""

import dataclasses
import json

import jax
import made_generator
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import PLATEAU_MM, KneePlace, Radiograph
from xr2mri_jax.inference import predict
from xr2mri_jax.inference.knee_generator import frame, load
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.preprocess import scale
from xr2mri_jax.preprocess.contrast import contrast_with_clahe
from xr2mri_jax.preprocess.knee_request import FoundKnee
from xr2mri_jax.preprocess.radiograph import spread_over_box, standardise_radiograph
from xr2mri_jax.presentation import picture


@pytest.fixture(scope="module")
def model():
    return made_generator.model()


@pytest.fixture(scope="module")
def shipped(model, tmp_path_factory):
    return made_generator.write(tmp_path_factory.mktemp("generator"), model)


def test_what_is_written_is_read_in_float16(model, shipped):
    back, novelty_detector = load.load_generator(shipped)
    assert back.step == 7 and load.frames_by_joint_line(back) and novelty_detector.scale > 0
    for ours, theirs in zip(
        jax.tree.leaves({n: model.params[n] for n in ("encoder", "generator")}),
        jax.tree.leaves(back.params),
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(ours, np.float16).astype(np.float32), theirs)


def test_a_packaged_generator_keeps_the_contrast_of_its_training(model, tmp_path):
    assert Predictor(load.load_generator(load.SHIPPED)[0]).contrast["clahe"] is None
    clahe = contrast_with_clahe((0.01, 16.0))
    config = {**model.config, "data": {**model.config["data"], "contrast": clahe}}
    made_generator.write(tmp_path, dataclasses.replace(model, config=config))
    found = Predictor(load.load_generator(tmp_path)[0]).contrast
    assert found == {"percentiles": [1.0, 99.0], "clahe": {"clip_limit": 0.01, "kernel_mm": 16.0}}


def test_the_box_leads_back_to_the_sources_pixels_and_knows_its_scale():
    image = np.random.default_rng(0).random((200, 200)).astype(np.float32)
    whole = standardise_radiograph(
        spread_over_box(Radiograph(image, None, "left")), frame.FRAME_SHAPE
    )
    seen = frame.place_in_box(whole, 64)
    matrix = np.array(seen.record["canonical_to_source"])
    middle = matrix @ [31.5, 31.5, 1]
    # The joint's centre: 2.9 mm below where the frame has it and 1.8 mm to the lateral side, the
    # left of a left knee that was mirrored.
    wide_mm = 0.94 * PLATEAU_MM / 0.79
    centre = np.array([0.55 * 200 - 0.5 + 2.9 * 200 / wide_mm, 99.5 + 1.8 * 200 / wide_mm])
    np.testing.assert_allclose(middle[:2], centre, atol=0.5)
    np.testing.assert_allclose(seen.record["centre_px"], middle[:2])
    # The frame is 91 mm each way, the box 128 mm.
    wide = wide_mm / 128
    assert seen.record["outside"]["share"] == pytest.approx(1 - wide**2, abs=0.02)
    # 64 pixels of 2 mm; the joint line is 158 pixels of the crop and taken to be 72.0 mm.
    assert abs(matrix[1, 1]) == pytest.approx(2 * 158 / (0.94 * PLATEAU_MM), rel=0.01)
    assert matrix[1, 1] < 0
    assert frame.scale_of(seen.record, None) == 1.0
    stated = scale.stated(0.5, scale.GIVEN)
    plateau_mm = 0.5 * 158 / 0.94
    assert frame.scale_of(seen.record, stated) == pytest.approx(plateau_mm / PLATEAU_MM, rel=0.01)


def noise(path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def framed(monkeypatch):
    """A radiograph whose knee is found without the knee finder."""

    def found(radiograph, asked):
        rows, columns = radiograph.shape
        row = 0.55 * rows - 0.5
        line = ((row, 0.105 * columns), (row, 0.895 * columns))
        place = KneePlace(asked.side, (row, (columns - 1) / 2), line)
        sided = dataclasses.replace(radiograph, side=asked.side)
        size = scale.estimated(sided, place)
        if asked.spacing is not None:
            size = scale.stated(asked.spacing, scale.GIVEN)
        spaced = dataclasses.replace(sided, spacing=size.spacing)
        return FoundKnee(spaced, place, "--side", None, size, doubts=("one note",))

    monkeypatch.setattr(predict, "one_knee", found)


def test_one_command_writes_volume_labels_meshes_and_what_was_done(framed, shipped, tmp_path):
    xray = tmp_path / "knee.png"
    noise(xray)
    made = predict.predict_file(
        shipped,
        xray,
        tmp_path / "out.nii.gz",
        side="right",
        labels=tmp_path / "labels.nii.gz",
        meshes=tmp_path / "meshes",
    )
    labels = nib.load(tmp_path / "labels.nii.gz")
    volume = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(labels.affine, volume.affine)
    record = json.loads((tmp_path / "out.json").read_text())
    table = {row["name"]: row["code"] for row in json.loads(
        (tmp_path / "labels.json").read_text())["labels"]}  # fmt: skip
    codes = np.asarray(labels.dataobj)
    for name in ("femur", "femoral_cartilage", "tibia", "patella"):
        count = int((codes == table[name]).sum())
        assert count == record["labels"]["voxels"][name] > 0
        assert f"{name}.stl" in record["meshes"]["files"]
        assert (tmp_path / "meshes" / f"{name}.stl").stat().st_size > 84
    assert record["model"]["unlike"] > 0
    assert any("one note" in warning for warning in record["warnings"])
    assert any("estimated from the joint line" in warning for warning in record["warnings"])
    assert made.scale == 1.0


def test_a_known_spacing_scales_what_is_made(framed, shipped, tmp_path, monkeypatch):
    figures, draw = [], picture.draw
    monkeypatch.setattr(picture, "draw", lambda *args: figures.append(draw(*args)) or figures[-1])
    xray = tmp_path / "knee.png"
    noise(xray)
    output = tmp_path / "out.nii.gz"
    made = predict.predict_file(shipped, xray, output, side="left", spacing=1.2)
    assert made.scale == pytest.approx(1.2 * 64 * 0.79 / (0.94 * PLATEAU_MM), rel=0.01)
    zooms = nib.load(output).header.get_zooms()
    np.testing.assert_allclose(zooms, np.array([4.0, 8.0, 4.0]) * made.scale, rtol=1e-5)
    left, right, *_ = figures[0].axes[1].images[0].get_extent()
    assert right - left == pytest.approx(128 * made.scale, rel=1e-5)


def test_labels_are_refused_where_they_would_overwrite_the_record(framed, shipped, tmp_path):
    xray = tmp_path / "knee.png"
    noise(xray)
    with pytest.raises(
        InputError, match=r"--labels: .*out.json is already another file of this command"
    ):
        predict.predict_file(
            shipped, xray, tmp_path / "out.nii.gz", "right", labels=tmp_path / "out.nii"
        )
