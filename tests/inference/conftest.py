"""A fake trained model and made radiographs for the tests of inference."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

SHAPE = (8, 32, 32)


class FakeStage:
    """Puts the radiograph into every plane; the lateral, anterior, superior eighth is a marker."""

    name = "generator"

    def predict(self, params, model_state, xray):
        d, h, w = SHAPE
        volume = jnp.repeat(xray[:, None], d, axis=1) * params["scale"]
        return volume.at[:, : d // 2, : h // 2, : w // 2].add(2.0)


@pytest.fixture
def fake_model():
    return SimpleNamespace(
        config={
            "data": {"dataset": "knee_phantom/smoke"},
            "model": {"cae": {"image_shape": [32, 32]}, "generator": {}},
        },
        stage=FakeStage(),
        params={"scale": jnp.float32(0.5)},
        model_state={},
        step=7,
    )


@pytest.fixture
def knee_pixels():
    """u16[128, 128] of a patient's right knee in display: a fibula at the image's left."""
    pixels = np.random.default_rng(0).normal(8000, 500, (128, 128))
    pixels[:60, 30:100] += 20000
    pixels[68:, 30:100] += 20000
    pixels[80:, 12:24] += 30000
    return np.clip(pixels, 0, 65535).astype(np.uint16)


@pytest.fixture
def knee_png(tmp_path, knee_pixels):
    path = tmp_path / "knee.png"
    Image.fromarray(knee_pixels).save(path)
    return path
