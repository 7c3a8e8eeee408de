"""Label maps for an evaluation: the doubts about a radiograph, also from the cache."""

import dataclasses

import made_generator
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.geometry import KneePlace
from xr2mri_jax.inference import label_prediction
from xr2mri_jax.preprocess import scale
from xr2mri_jax.preprocess.knee_request import FoundKnee


@pytest.fixture
def predictor(tmp_path):
    folder = made_generator.write(tmp_path / "model", made_generator.model())
    return label_prediction.label_predictor(folder)


@pytest.fixture
def noise(tmp_path):
    path = tmp_path / "9000001L.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_picture_without_a_knee_is_predicted_with_doubts(predictor, noise, tmp_path):
    cached = label_prediction.with_cache(predictor, tmp_path / "cache")
    made = cached.predict(noise, "right")
    (missing,) = (doubt for doubt in made.doubts if "no knee was found" in doubt)
    assert missing.endswith("the middle of the image was used")
    assert "the file name may mean the left knee, taken as right" in made.doubts
    assert made.seen.shape == (32, 32) and made.seen.std() > 1
    again = cached.predict(noise, "right")
    assert again.doubts == made.doubts and again.spacing == made.spacing
    np.testing.assert_array_equal(again.labels, made.labels)
    np.testing.assert_array_equal(again.seen, made.seen)
    # The name belongs to the doubts: the same bytes under another name are not from the cache.
    other = noise.rename(noise.with_name("a.png"))
    assert not any("file name" in doubt for doubt in cached.predict(other, "right").doubts)


def test_an_estimated_spacing_is_no_doubt(predictor, noise, tmp_path, monkeypatch):
    def found(radiograph, asked):
        place = KneePlace(asked.side, (35.0, 31.5), ((35.0, 7.0), (35.0, 56.0)))
        size = scale.estimated(radiograph, place)
        assert asked.force and size.warning()
        sided = dataclasses.replace(radiograph, side=asked.side, spacing=size.spacing)
        return FoundKnee(sided, place, "the table", None, size, doubts=())

    monkeypatch.setattr(label_prediction, "one_knee", found)
    cached = label_prediction.with_cache(predictor, tmp_path / "cache")
    for _ in range(2):
        doubts = cached.predict(noise, "left").doubts
        assert [doubt for doubt in doubts if "unlike the training radiographs" not in doubt] == []
