"""The information ladder: shares by hand, its controls, the linear regression, the figure."""

import json
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest
from made_volumes import SHAPE, knees
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import ladder, ladder_run
from xr2mri_jax.evaluation.linear_baseline import LinearFits
from xr2mri_jax.metrics import structures
from xr2mri_jax.presentation import ladder_figure


@pytest.fixture(scope="module")
def source():
    return {"train": knees(48, 0), "validation": knees(6, 1), "test": knees(9, 2)}


def _oracle(source):
    """The true volume of the test knee whose radiograph is nearest; other volumes for others."""
    films = np.stack([e["xray"].ravel() / 65535 for e in source["test"]])
    volumes = np.stack([e["mri"] / 65535 for e in source["test"]]).astype(np.float32)

    def predict(xray):
        flat = np.asarray(xray).reshape(len(xray), 1, -1)
        return volumes[np.square(flat - films).sum(axis=2).argmin(axis=1)]

    return predict


@pytest.fixture(scope="module")
def found(source):
    return ladder.measure(_oracle(source), source, "test", "train", "validation", 4)


def test_an_oracle_explains_everything_and_controls_less(found):
    assert (found["n"], found["subjects"], found["training_cases"]) == (9, 9, 48)
    explained = found["explained"]
    assert set(explained) == set(ladder.CONDITIONS)
    for structure in ("bone", "cartilage", ladder.WHOLE):
        own = explained[ladder.OWN][structure]
        assert own["explained"] == pytest.approx(1, abs=1e-6)
        assert own["ci95"] == pytest.approx([1, 1], abs=1e-6)
        assert explained[ladder.OTHER][structure]["explained"] < 0
        assert explained[ladder.BLANKED][structure]["explained"] < 0.5
    assert explained[ladder.OWN]["menisci"] is None and explained[ladder.OWN]["fat"] is None
    linear = explained[ladder.LINEAR]["bone"]
    assert 0.1 < linear["explained"] < 1 and linear["ci95"][0] < linear["explained"]
    json.dumps(found, allow_nan=False)


def test_bands_and_curve_are_complete(found):
    bands = found["bands"][ladder.OWN][ladder.WHOLE]
    assert list(bands) == ["> 40 mm", "20-40 mm", "10-20 mm", "< 10 mm"]
    assert all(one["explained"] == pytest.approx(1, abs=1e-5) for one in bands.values())
    coarse, *_, fine = found["bands"][ladder.LINEAR]["bone"].values()
    assert coarse["explained"] > fine["explained"]
    assert list(found["curve"]) == ["48", "24", "12"]
    assert found["curve"]["48"] == found["explained"][ladder.LINEAR][ladder.WHOLE]
    assert found["curve"]["48"]["explained"] > found["curve"]["12"]["explained"]


def test_the_generator_has_the_size_of_the_whole_training_split(source, monkeypatch):
    """Even if the linear regression keeps a part of it in memory."""
    one = np.asarray(source["train"][0]["mri"], np.float32).nbytes
    monkeypatch.setattr(ladder, "MOST_BYTES", 24 * one)
    part = ladder.measure(_oracle(source), source, "test", "train", "validation", 4)
    assert part["training_cases"] == 48 and list(part["curve"]) == ["24", "12"]


def test_runs_of_one_size_are_all_drawn(found, monkeypatch):
    drawn, original = {}, ladder_figure._points

    def points(axes, across, shares, colour, label, joined=False):
        if joined:
            drawn[label] = list(zip(across, [one["explained"] for one in shares], strict=True))
        original(axes, across, shares, colour, label, joined)

    monkeypatch.setattr(ladder_figure, "_points", points)
    more = [{"training_cases": size, "whole field": {"explained": value, "ci95": None}}
            for size, value in ((48, 0.25), (24, 0.125))]  # fmt: skip
    content = {**found, "runs": more, "knees": "real", "evaluated": {"split": "validation"}}
    images = ladder_figure.figure(content)
    assert drawn["generator"] == [(24, 0.125), (48, pytest.approx(1, abs=1e-6)), (48, 0.25)]
    assert [size for size, _ in drawn["linear regression"]] == [12, 24, 48]
    text = "".join(ET.fromstring(images["svg"]).itertext())
    assert "9 real knees of 9 subjects, split validation" in text and " test " not in text


def test_shares_by_hand():
    one = ladder.share(np.array([1.0, np.nan, 3.0]), np.array([4.0, np.nan, 4.0]), ["a", "b", "c"])
    assert (one["explained"], one["n"]) == (0.5, 2) and one["ci95"] == [0.25, 0.75]
    assert ladder.share(np.full(2, np.nan), np.ones(2), ["a", "b"]) is None


def test_conditions_change_the_radiograph_as_named():
    xrays = np.zeros((2, 64, 64, 1), np.float32)
    xrays[0, 32, 10] = 1
    of = ladder.conditions(xrays, np.array([1, 0]), 0.3)
    cases = np.array([0])
    assert of(ladder.FLIPPED, cases)[0, 32, 53, 0] == 1
    assert (of(ladder.BLANKED, cases) == np.float32(0.3)).all()
    assert of(ladder.OTHER, cases).sum() == 0 and of(ladder.OWN, cases).sum() == 1
    blurred = of("blurred 4 mm", cases)[0, ..., 0]
    spread = np.sqrt((blurred[32] * (np.arange(64) - 10) ** 2).sum() / blurred[32].sum())
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    assert spread == pytest.approx(4 / 2, rel=0.02)  # pixels of 2 mm


def test_the_bands_of_an_error_add_up_and_part_waves():
    spacing = (2.0, 2.0, 2.0)
    error = np.random.default_rng(0).standard_normal((16, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(sum(structures.bands(error, spacing).values()), error, atol=1e-5)
    wave = np.sin(2 * np.pi * 2.0 * np.arange(256) / 20.0)[None, None, :] * np.ones((4, 4, 1))
    kept = structures.smooth(wave, 20.0, spacing)[..., 60:-56]
    assert kept.std() / wave[..., 60:-56].std() == pytest.approx(0.5, abs=0.005)


def test_linear_regression_is_exact_on_a_linear_world():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((30, 3))
    xrays = (0.5 + 0.01 * hidden @ rng.standard_normal((3, 36))).reshape(30, 6, 6, 1)
    volumes = (0.5 + 0.01 * hidden @ rng.standard_normal((3, 72))).reshape(30, 2, 6, 6, 1)
    fits = LinearFits(xrays[:20], volumes[:20])
    assert fits.largest() == 3
    model = fits.best(xrays[20:25], volumes[20:25], np.ones((5, 2, 6, 6, 1), bool))
    assert model.components == (3, 3)
    np.testing.assert_allclose(model.predict(xrays[25:]), volumes[25:], atol=1e-5)
    plain = np.linalg.lstsq(
        np.c_[np.ones(20), xrays[:20].reshape(20, -1)], volumes[:20].reshape(20, -1), rcond=None
    )[0]
    flat = np.c_[np.ones(5), xrays[25:].reshape(5, -1)] @ plain
    np.testing.assert_allclose(model.predict(xrays[25:]).reshape(5, -1), flat, atol=1e-4)


class _Source(dict):
    data_path = "/made"


class _Stage:
    name = "generator"

    def predict(self, params, model_state, xray):
        return params + 0 * xray.mean(axis=(1, 2, 3)).reshape(-1, 1, 1, 1, 1)


@pytest.fixture
def runs(monkeypatch, source):
    """Two runs whose model is a constant; the second was trained on another split's name."""
    made = _Source(source)

    def load(folder, step=None):
        data = {"dataset": "knee_phantom/made", "data_dir": "", "train_split": "train",
                "eval_split": "validation"}  # fmt: skip
        if folder == "small":
            data["train_split"] = "validation"
        if folder == "stranger":
            data["dataset"] = "knee_pairs/default"
        stage = SimpleNamespace(name="cae") if folder == "encoder" else _Stage()
        volume = np.full((1, *SHAPE, 1), 0.3, np.float32)
        return SimpleNamespace(
            config={"data": data}, stage=stage, params=volume, model_state={}, step=3
        )

    monkeypatch.setattr(ladder_run, "load_best", load)
    monkeypatch.setattr(ladder_run.datasets, "load_builder", lambda name, folder: made)
    monkeypatch.setattr(
        ladder_run.inference_settings, "require_same_contrast", lambda config, builder: None
    )


def test_one_command_writes_figure_and_numbers(runs, tmp_path):
    folder, content = ladder_run.write("run", tmp_path / "new", also=["small"])
    assert {p.name for p in folder.iterdir()} == {"ladder.svg", "ladder.png", "ladder.json"}
    assert json.loads((folder / "ladder.json").read_text()) == content
    assert content["knees"] == "simulated" and content["runs"][0]["training_cases"] == 6
    own = content["explained"]["own radiograph"]["whole field"]
    assert own == content["explained"]["blanked"]["whole field"] and own["explained"] < 0
    with Image.open(folder / "ladder.png") as image:
        assert image.width > 1000
    text = "".join(ET.parse(folder / "ladder.svg").getroot().itertext())
    for said in ("By structure", "side flipped", "simulated knees", "training knees"):
        assert said in text, said
    assert any(
        line.startswith("bone: the generator explains") for line in ladder_run.findings(content)
    )


def test_wrong_runs_are_refused(runs, tmp_path, source):
    with pytest.raises(InputError, match="stage 'cae', expected one that predicts volumes"):
        ladder_run.write("encoder", tmp_path / "new")
    with pytest.raises(InputError, match="--also: stranger was trained on knee_pairs/default"):
        ladder_run.write("run", tmp_path / "new", also=["stranger"])
    bare = {s: [{k: v for k, v in e.items() if k != "labels"} for e in source[s]] for s in source}
    with pytest.raises(InputError, match="has no label maps"):
        ladder.measure(_oracle(source), bare, "test", "train", "validation", 4)
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new").iterdir())
