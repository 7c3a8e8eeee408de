"""The evaluation of volumes with models that are known: an oracle, the mean, one that ignores."""

import csv
import json

import numpy as np
import pytest

from xr2mri_jax.data import passes
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import result, volumes
from xr2mri_jax.evaluation.volume_store import VolumeStore

SHAPE = (4, 12, 12)
LEVELS = {"train": (0.1, 0.3, 0.5, 0.8, 0.95), "test": (0.2, 0.45, 0.52, 0.7, 0.9)}


def _volume(level):
    """Half of the volume has the level, the other its square."""
    volume = np.full((*SHAPE, 1), level)
    volume[:, :, 6:] = level**2
    return volume


def _mask():
    mask = np.ones((*SHAPE, 1), np.uint8)
    mask[:, :, :2] = 0
    return mask


def _examples(split):
    return [
        {
            "xray": np.full((*SHAPE[1:], 1), round(level * 65535), np.uint16),
            "mri": np.rint(_volume(level) * 65535).astype(np.uint16),
            "mask": _mask(),
            "side": np.int32(position % 2),
            "kl": np.int32(position if position < 3 else -1),
            "subject": f"{split}{position}",
        }
        for position, level in enumerate(LEVELS[split])
    ]


@pytest.fixture(scope="module")
def source():
    return {split: _examples(split) for split in LEVELS}


def _evaluate(predict, source, **options):
    with VolumeStore(passes.count(source, "test")) as store:
        return volumes.evaluate(predict, source, store, **{"batch_size": 2, **options})


def _oracle(xray):
    assert xray.shape == (2, *SHAPE[1:], 1)
    return np.stack([_volume(x.mean()) for x in xray]).astype(np.float32)


def _psnr_between(a, b):
    """Six of the ten columns inside the mask hold the squares."""
    error = 0.4 * (a - b) ** 2 + 0.6 * (a**2 - b**2) ** 2
    return -10 * np.log10(error)


@pytest.fixture(scope="module")
def oracle(source):
    return _evaluate(_oracle, source)


def test_an_oracle_is_perfect_and_finds_its_own(oracle):
    found = oracle.metrics
    assert found["n"] == found["subjects"] == 5
    assert found["model"]["psnr"]["mean"] > 90
    assert found["model"]["ssim3d"]["mean"] == pytest.approx(1.0, abs=1e-4)
    assert found["model"]["mae"]["mean"] < 1e-5
    assert found["retrieval"]["top1"] == 1.0 and found["retrieval"]["mean_rank"] == 1.0
    assert found["retrieval"]["n"] == 5
    assert oracle.cases["retrieval_rank"] == [1] * 5


def test_controls_by_hand(oracle):
    train, test = (np.array(LEVELS[split]) for split in ("train", "test"))
    mean, mean_square = train.mean(), (train**2).mean()
    error = 0.4 * (test - mean) ** 2 + 0.6 * (test**2 - mean_square) ** 2
    values = oracle.values
    np.testing.assert_allclose(values["mean_volume"]["psnr"], -10 * np.log10(error), atol=2e-3)
    nearest = [0.1, 0.5, 0.5, 0.8, 0.95]
    expected = [_psnr_between(a, b) for a, b in zip(test, nearest, strict=True)]
    np.testing.assert_allclose(values["nearest_neighbour"]["psnr"], expected, atol=0.02)
    assert oracle.cases["nearest_training_index"] == [0, 2, 2, 3, 4]
    partner = oracle.cases["shuffled_with_index"]
    assert all(i != j for i, j in enumerate(partner))
    expected = [_psnr_between(test[i], test[j]) for i, j in enumerate(partner)]
    np.testing.assert_allclose(values["shuffled_xray"]["psnr"], expected, atol=0.02)


def test_means_differences_and_groups_follow_from_the_cases(oracle):
    found, values = oracle.metrics, oracle.values
    for name in ("mean_volume", "nearest_neighbour", "shuffled_xray"):
        for metric in ("psnr", "ssim3d", "mae"):
            mean = values[name][metric].mean()
            assert found["controls"][name][metric]["mean"] == pytest.approx(mean)
            low, high = found["controls"][name][metric]["ci95"]
            assert low <= mean <= high
            difference = found["differences"][name][metric]["mean"]
            assert difference == pytest.approx(values["model"][metric].mean() - mean)
    groups = found["per_group"]
    assert {name: group["n"] for name, group in groups["side"].items()} == {"left": 3, "right": 2}
    assert {name: group["n"] for name, group in groups["kl"].items()} == {
        "0": 1, "1": 1, "2": 1, "unknown": 2,
    }  # fmt: skip
    left = values["model"]["psnr"][::2].mean()
    assert groups["side"]["left"]["psnr"]["mean"] == pytest.approx(left)


def test_a_model_that_ignores_its_radiograph_gains_nothing_by_the_right_one(source):
    constant = _volume(0.5).astype(np.float32)
    found = _evaluate(lambda xray: np.broadcast_to(constant, (len(xray), *constant.shape)), source)
    difference = found.metrics["differences"]["shuffled_xray"]["psnr"]
    assert difference == {"mean": 0.0, "ci95": [0.0, 0.0]}
    assert found.metrics["retrieval"]["top1"] == pytest.approx(0.2)


def test_what_lies_outside_the_mask_does_not_count(source, oracle):
    def worse(xray):
        predicted = _oracle(xray)
        predicted[:, :, :, :2] = 0.0
        return predicted

    found = _evaluate(worse, source)
    for metric, values in oracle.values["model"].items():
        np.testing.assert_allclose(found.values["model"][metric], values, atol=1e-6)


def test_batch_size_changes_nothing(source, oracle):
    def oracle_of_any_size(xray):
        return np.stack([_volume(x.mean()) for x in xray]).astype(np.float32)

    found = _evaluate(oracle_of_any_size, source, batch_size=3)
    for name, metrics in oracle.values.items():
        for metric, values in metrics.items():
            np.testing.assert_allclose(found.values[name][metric], values, rtol=1e-4, atol=1e-6)


def test_files(oracle, tmp_path):
    result.write(oracle, tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert {"n", "convention", "model", "controls", "retrieval"} <= set(found)
    assert set(found["controls"]) == {"mean_volume", "nearest_neighbour", "shuffled_xray"}
    assert set(found["model"]) == {"psnr", "ssim3d", "mae"}
    assert set(found["model"]["psnr"]) == {"mean", "ci95"}
    with (tmp_path / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5
    assert rows[1]["subject"] == "test1" and rows[1]["side"] == "right" and rows[1]["kl"] == "1"
    assert float(rows[1]["mean_volume_psnr"]) == pytest.approx(
        oracle.values["mean_volume"]["psnr"][1], abs=1e-5
    )


def test_missing_splits_and_volumes_are_refused(source):
    alone = {split: [{**e} for e in examples] for split, examples in source.items()}
    for example in alone["test"]:
        del example["mri"]
    with pytest.raises(InputError, match="'mri'"):
        _evaluate(_oracle, alone)
    with pytest.raises(InputError, match="empty"):
        _evaluate(_oracle, {**source, "train": []})


def test_a_prediction_of_another_shape_is_refused(source):
    with pytest.raises(ValueError, match="shapes differ"):
        _evaluate(lambda xray: _oracle(xray)[:, :2], source)
