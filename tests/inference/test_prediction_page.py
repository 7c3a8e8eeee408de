"""The page of predictions: frames of the layers, one file or a folder, many radiographs."""

import base64
import dataclasses
import gzip
import json
import re

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import samples
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import predict_many as many
from xr2mri_jax.inference.many_options import ManyOptions
from xr2mri_jax.inference.predict import predict_knee
from xr2mri_jax.inference.prediction_page import PredictionPage, viewer_case
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.presentation.viewer_case import packed


@pytest.fixture
def prediction(fake_model, knee_png):
    """Of a left knee, which the model saw mirrored."""
    request = KneeRequest("left", 1.0, force=True)
    return predict_knee(Predictor(fake_model), read_radiograph(knee_png), request)


def test_layers_are_in_the_patients_frame(prediction):
    uncertain = dataclasses.replace(prediction, half_width=np.ones_like(prediction.canonical))
    content = json.loads(packed(viewer_case(uncertain, "k", "title")))
    layer, uncertainty = content["layers"]
    assert (layer["kind"], uncertainty["kind"]) == ("prediction", "uncertainty")
    affine = np.array(layer["affine"])
    assert (np.diag(affine[:, :3]) > 0).all()
    voxels = np.frombuffer(gzip.decompress(base64.b64decode(layer["data"])), np.uint8)
    voxels = voxels.reshape(layer["shape"], order="F")
    # The marker is anterior, superior and lateral, which is at the patient's left of a left knee.
    x, y, z = affine[:, :3] @ np.argwhere(voxels == 255).mean(axis=0) + affine[:, 3]
    assert x < 0 and y > 0 and z > 0
    # The radiograph lies as it was given: its bright fibula is at the left of the picture.
    shown = viewer_case(prediction, "k", "title").radiograph
    np.testing.assert_array_equal(shown, prediction.seen.image[:, ::-1, 0])
    assert content["facts"][1] == ["knee", "left"]


def test_one_file_or_a_new_folder(prediction, tmp_path):
    for name in ("one.html", "folder"):
        with PredictionPage(tmp_path / name) as page:
            page.add(prediction, "knee", "a<b>.png")
    single = (tmp_path / "one.html").read_text()
    assert "<td>1.000</td>" in single and "~1.000" not in single  # stated
    assert "a&lt;b&gt;.png" in single and "a<b>" not in single and 'id="case-knee"' in single
    assert {p.name for p in (tmp_path / "folder").iterdir()} == {"index.html", "assets", "cases"}
    with pytest.raises(InputError, match=r"--page: .*folder exists, expected a new folder"):
        PredictionPage(tmp_path / "folder")
    (tmp_path / "x.html").mkdir()
    with pytest.raises(InputError, match="--page: found the folder"):
        PredictionPage(tmp_path / "x.html")


def test_nothing_is_left_of_a_page_that_failed(prediction, tmp_path):
    for name in ("one.html", "folder"):
        with pytest.raises(RuntimeError), PredictionPage(tmp_path / name) as page:
            page.add(prediction, "knee", "a.png")
            raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["knee.png"]


def test_many_radiographs_have_a_page_that_continues(fake_model, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "load_predictor", lambda model: Predictor(fake_model, source=model))
    folder, page = tmp_path / "in", tmp_path / "page"
    folder.mkdir()
    Image.open(samples.KNEE).save(folder / "a.png")
    (folder / "b.png").write_text("no picture")
    options = ManyOptions(folder, tmp_path / "out", page=page)
    many.predict_many(options)
    (case,) = (page / "cases").iterdir()
    text = (page / "index.html").read_text()
    assert "Predicted: 1 knee. Refused: 1 row; the table" in text and text.count("data-show=") == 1
    assert re.search(r"<td>~0\.\d{3}</td>", text)  # as on the page of a single radiograph
    assert '["source", "a.png"]' in case.read_text()
    case.unlink()
    many.predict_many(options)
    assert case.is_file() and (page / "index.html").read_text() == text
    with pytest.raises(InputError, match=r"--page: found p\.html with many radiographs"):
        ManyOptions(folder, tmp_path / "out", page=type(page)("p.html"))
