"""Average maps by grade, and the sanity check by randomised weights."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import gradcam, gradcam_report
from xr2mri_jax.models import classifiers
from xr2mri_jax.models.gradcam import GradCam

NETWORK = {"image_shape": (32, 32), "channels": (4, 6, 8, 8), "convolutions": (1, 1, 1, 1)}
DATA = {
    "grades": (0, 2),
    "held_out": 0.0,
    "held_out_seed": 0,
    "train_split": "train",
    "balanced": False,
}


def _examples(count):
    random = np.random.default_rng(0)
    return [
        {
            "xray": random.integers(0, 65536, (32, 32, 1)).astype(np.uint16),
            "kl": np.int32((0, 2, 1)[i % 3]),
            "side": np.int32(0),
            "subject": f"s{i}".encode(),
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def trained():
    model = classifiers.make(NETWORK)
    variables = model.init(jax.random.key(0), np.zeros((1, 32, 32, 1), np.float32))
    return variables["params"], variables["batch_stats"]


def test_averages_are_by_grade(trained):
    examples = _examples(7)
    maker = GradCam(NETWORK)
    found = gradcam.average_maps(maker, *trained, examples, DATA, "validation", batch_size=2)
    assert found.knees == {0: 3, 2: 2}
    xrays = np.stack([e["xray"] / 65535 for e in examples if e["kl"] == 2]).astype(np.float32)
    np.testing.assert_allclose(found.xray[2], xrays[..., 0].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.examples[2], xrays, atol=1e-6)
    maps = maker(*trained, xrays)
    largest = np.maximum(maps.max(axis=(2, 3), keepdims=True), 1e-12)
    np.testing.assert_allclose(found.average[2], (maps / largest).mean(axis=1), atol=1e-5)
    assert all(0 <= share <= 1 for share in found.lateral_share[0])
    drawn = gradcam_report.pictures(found, maker, *trained)
    assert set(drawn) == {"average_kl0", "average_kl2", "knees_kl0", "knees_kl2"}
    assert drawn["knees_kl0"].shape == (3 * 32, 6 * 32 + 5 * 4, 3)


def test_a_level_without_any_map_has_no_share(trained):
    params, state = jax.tree.map(np.array, trained)
    params["head"]["kernel"][-8:] = 0  # nothing of the last block is classified
    maker = GradCam(NETWORK)
    found = gradcam.average_maps(maker, params, state, _examples(4), DATA, "validation", 2)
    assert found.lateral_share[0][3] is None and found.lateral_share[2][3] is None
    report = {"knees": {"kl0": 2}, "lateral_share": {"kl0": found.lateral_share[0]}}
    text = gradcam_report.table({**report, "randomised": []})
    assert text.splitlines()[1].endswith(" -")


def test_randomised_weights_change_the_maps(trained):
    xray = np.random.default_rng(1).random((4, 32, 32, 1)).astype(np.float32)
    rows = gradcam.randomised(NETWORK, *trained, xray)
    assert [row["randomised"] for row in rows] == [
        [],
        ["head"],
        ["head", "block4"],
        ["head", "block4", "block3"],
        ["head", "block4", "block3", "block2"],
        ["head", "block4", "block3", "block2", "block1"],
    ]
    assert rows[0]["ssim"] == pytest.approx([1.0] * 4)
    assert min(rows[0]["rank_correlation"]) > 0.999
    assert max(rows[-1]["ssim"]) < 0.9 and max(rows[-1]["rank_correlation"]) < 0.9


def test_moments_of_randomised_blocks_are_those_of_the_radiographs(trained):
    params, state = trained
    xray = np.random.default_rng(1).random((4, 32, 32, 1)).astype(np.float32)
    assert gradcam._moments(NETWORK, params, state, xray, ["head"]) is state
    found = gradcam._moments(NETWORK, params, state, xray, ["head", "block4"])
    again = gradcam._moments(NETWORK, params, found, xray, ["head", "block4"])
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)


def test_pictures_of_an_earlier_report_do_not_stay(trained, tmp_path, monkeypatch):
    params, state = trained
    config = {
        "model": {"classifier": {"kind": "siamese_gap", **NETWORK}},
        "data": {**DATA, "dataset": "made", "data_dir": ""},
    }
    stage = SimpleNamespace(name="siamese_gap")
    model = SimpleNamespace(config=config, params=params, model_state=state, step=3, stage=stage)
    monkeypatch.setattr(gradcam_report, "load_best", lambda workdir: model)
    monkeypatch.setattr(gradcam_report.datasets, "load_builder", lambda *_: _examples(4))
    monkeypatch.setattr(gradcam, "randomised", lambda *_: [])
    gradcam_report.write("run", "validation", tmp_path)
    assert (tmp_path / "average_kl2.png").is_file() and (tmp_path / "knees_kl2.png").is_file()
    (tmp_path / "average.png").touch()
    drawn = {"average_kl0": np.zeros((4, 4, 3), np.uint8)}
    monkeypatch.setattr(gradcam_report, "pictures", lambda *_: drawn)
    gradcam_report.write("run", "validation", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"average_kl0.png", "average.png", gradcam_report.NUMBERS}


def test_a_folder_that_cannot_be_written_to_ends_it_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--output: the folder"):
        gradcam_report.write(tmp_path / "run", "validation", tmp_path / "file" / "deep")
