"""The evaluation of radiographs with reconstructions that are known."""

import numpy as np
import pytest

from xr2mri_jax.evaluation import radiographs

SHAPE = (14, 12)


def _examples(count, seed):
    """Radiographs of two patterns with random strengths: two components hold them all."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 14.0
    strengths = rng.uniform(0.1, 0.5, size=(count, 2))
    images = [0.1 + a * y + b * x**2 for a, b in strengths]
    return [
        {
            "xray": np.rint(image[..., None] * 65535).astype(np.uint16),
            "kl": np.int32(i % 2),
            "subject": f"{seed}-{i // 2}",
        }
        for i, image in enumerate(images)
    ]


@pytest.fixture(scope="module")
def source():
    return {"train": _examples(7, 0), "test": _examples(5, 1)}


def test_metrics_and_controls_by_hand(source):
    found = radiographs.evaluate(lambda xray: xray + 0.1, 2, source, batch_size=2)
    assert found.metrics["n"] == 5 and found.metrics["subjects"] == 3
    assert found.metrics["model"]["mae"]["mean"] == pytest.approx(0.1, rel=1e-4)
    assert found.metrics["model"]["psnr"]["mean"] == pytest.approx(20.0, abs=1e-3)
    train, test = (
        np.stack([e["xray"] for e in source[split]]) / 65535 for split in ("train", "test")
    )
    error = np.abs(test - train.mean(axis=0)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.values["mean_radiograph"]["mae"], error, rtol=1e-4)
    assert found.metrics["per_group"]["kl"]["0"]["n"] == 3
    assert list(found.metrics["per_group"]["side"]) == ["unknown"]


def test_two_components_hold_two_patterns(source):
    found = radiographs.evaluate(lambda xray: xray, 2, source)
    assert found.metrics["hidden_variables"]["pca"] == 2
    assert found.metrics["controls"]["pca"]["psnr"]["mean"] > 70
    assert found.metrics["controls"]["mean_radiograph"]["psnr"]["mean"] < 40
    assert found.metrics["model"]["ssim"]["mean"] == pytest.approx(1.0, abs=1e-5)


def test_components_are_limited_by_the_radiographs_and_it_is_said(source):
    rng = np.random.default_rng(3)
    noise = [
        {**example, "xray": rng.integers(0, 65536, (*SHAPE, 1), dtype=np.uint16)}
        for example in source["train"]
    ]
    found = radiographs.evaluate(lambda xray: xray, 100, {**source, "train": noise})
    sizes = found.metrics["hidden_variables"]
    assert sizes["model"] == 100 and sizes["pca"] == 6
    assert "at most 6 components: it has fewer" in sizes["note"]


def test_too_many_radiographs_are_thinned_evenly():
    images = np.arange(10, dtype=np.float32)[:, None, None, None]
    assert radiographs._within(images, 40) is images
    assert radiographs._within(images, 12).ravel().tolist() == [0, 4, 9]


def test_values_outside_the_range_are_cut(source):
    found = radiographs.evaluate(lambda xray: xray - 2.0, 2, source)
    black = np.array([(e["xray"] / 65535).mean() for e in source["test"]])
    np.testing.assert_allclose(found.values["model"]["mae"], black, rtol=1e-4)
