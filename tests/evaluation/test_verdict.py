"""The verdict: its rule on made errors, and on models that are known."""

import json

import numpy as np
import pytest
from made_volumes import SHAPE, knees

from xr2mri_jax.data import passes
from xr2mri_jax.datasets.data_origin import origin, origin_of_file
from xr2mri_jax.evaluation import verdict, volumes
from xr2mri_jax.evaluation.real_pairs.pair_errors import quantity_errors
from xr2mri_jax.evaluation.volume_store import VolumeStore
from xr2mri_jax.metrics.structures import regions
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.presentation.model_and_controls import MODEL

SUBJECTS = [f"s{i // 2}" for i in range(24)]


def _errors(model, mean, other, spread=0.05, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: value * (1 + spread * rng.standard_normal(len(SUBJECTS)))
        for name, value in ((MODEL, model), (verdict.MEAN, mean), (verdict.OTHER, other))
    }


def test_a_good_model_has_evidence_and_its_size_in_the_sentence():
    found = verdict.judge(
        {"bone shape": _errors(1, 2, 4), "texture": _errors(2, 2, 4)}, SUBJECTS, "simulated"
    )
    assert found["evidence"] and found["subjects"] == 12
    bone, texture = (found["properties"][name] for name in ("bone shape", "texture"))
    assert bone["evidence"] and not texture["evidence"]
    assert bone["against"]["mean"]["gain"] == pytest.approx(0.5, abs=0.02)
    assert bone["against"]["other_radiograph"]["gain"] == pytest.approx(0.75, abs=0.02)
    assert bone["against"]["mean"]["level"] == pytest.approx(0.975)
    sentence = found["sentence"]
    assert sentence.startswith("Simulated knees: the radiograph matters for bone shape, with")
    assert sentence.endswith("; no evidence for texture.") and sentence.count(".") == 1
    assert "real" not in sentence.lower()


@pytest.mark.parametrize(
    "model", [_errors(2, 2, 2), _errors(3, 2, 3), _errors(1, 2, 1), _errors(3, 4, 2)]
)
def test_both_controls_must_be_beaten(model):
    found = verdict.judge({"bone shape": model}, SUBJECTS, "real")
    assert not found["evidence"]
    assert found["sentence"].startswith("Real knees: no evidence that the radiograph matters: for")


def test_the_mean_itself_and_few_subjects_are_no_evidence():
    mean = np.linspace(1, 2, 24)
    copied = {MODEL: mean, verdict.MEAN: mean, verdict.OTHER: mean}
    found = verdict.judge({"cartilage": copied}, SUBJECTS, "unknown")
    assert found["sentence"].startswith("No evidence that the radiograph matters")
    one = found["properties"]["cartilage"]["against"]["mean"]
    assert (one["gain"], one["effect"], one["difference_interval"]) == (0, 0, [0, 0])
    few = {name: values[:14] for name, values in _errors(1, 2, 4).items()}
    found = verdict.judge({"cartilage": few}, SUBJECTS[:14], "real")
    assert not found["evidence"] and "7 subjects are too few" in found["sentence"]


def test_a_small_effect_is_no_evidence_however_many_subjects():
    rng = np.random.default_rng(0)
    subjects = list(range(600))
    mean = rng.uniform(1, 2, 600)
    model = mean - 0.05 - 0.3 * rng.standard_normal(600).clip(-3, 3)
    found = verdict.judge(
        {"bone shape": {MODEL: model, verdict.MEAN: mean, verdict.OTHER: mean}}, subjects, "real"
    )
    one = found["properties"]["bone shape"]["against"]["mean"]
    assert one["difference_interval"][0] > 0 and one["effect"] < verdict.LEAST_EFFECT
    assert not found["evidence"]


def test_intervals_of_noise_rarely_exclude_zero():
    """At most 5 % of models that know nothing get a verdict, over the properties together."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(20):
        errors = {
            name: {
                source: rng.gamma(9, 1, len(SUBJECTS))
                for source in (MODEL, verdict.MEAN, verdict.OTHER)
            }
            for name in ("bone shape", "joint space", "cartilage", "texture")
        }
        wrong += verdict.judge(errors, SUBJECTS, "unknown")["evidence"]
    assert wrong <= 1


def test_properties_that_cases_lack_are_left_out_and_nothing_is_hidden():
    errors = _errors(1, 2, 4)
    errors[verdict.OTHER][:4] = np.nan
    found = verdict.judge({"joint space": errors, "texture": None}, SUBJECTS, "real")
    assert found["properties"]["joint space"]["n"] == 20
    assert found["properties"]["texture"] is None
    assert found["sentence"].endswith("; texture not measured.")
    json.dumps(found, allow_nan=False)
    # The number of subjects is that of the properties, not that of all cases.
    few = {name: np.where(np.arange(24) < 10, 2.0, np.nan) for name in _errors(1, 2, 4)}
    same = {name: np.full(24, 2.0) for name in few}
    assert len(set(SUBJECTS[:10])) < len(set(SUBJECTS))
    for properties, said in (
        ({"cartilage": few}, f"because {len(set(SUBJECTS[:10]))} subjects are too few"),
        ({"a": few, "b": same}, f"{len(set(SUBJECTS[:10]))} to {len(set(SUBJECTS))} subjects do "),
    ):
        assert said in verdict.judge(properties, SUBJECTS, "real")["sentence"]
    nothing = dict.fromkeys((MODEL, verdict.MEAN, verdict.OTHER), np.full(24, np.nan))
    found = verdict.judge({"joint space": nothing}, SUBJECTS, "real")
    assert "nothing could be measured" in found["sentence"]
    with pytest.raises(ValueError, match="infinite or negative"):
        verdict.judge({"x": _errors(-1, 2, 4)}, SUBJECTS, "real")
    with pytest.raises(ValueError, match="origin"):
        verdict.judge({"x": _errors(1, 2, 4)}, SUBJECTS, "made")
    with pytest.raises(ValueError, match="errors for"):
        verdict.judge({"x": _errors(1, 2, 4)}, SUBJECTS[:3], "real")


def test_comparison_by_hand():
    found = verdict.compared(
        np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]), ["a", "b", "b"], 0.95
    )
    assert (found["gain"], found["difference"]) == (0.5, 2.0)
    assert found["effect"] == pytest.approx(np.mean([1, 2.5]) / np.std([1, 2.5], ddof=1))
    assert found["difference_interval"] == [1.0, 2.5] and found["gain_interval"] == [0.5, 0.5]
    perfect = verdict.compared(np.ones(2), np.zeros(2), ["a", "b"], 0.95)
    assert perfect["gain"] == -1 and perfect["effect"] == -99


def test_auto_encoders_and_classifiers():
    errors = _errors(1, 2, 1)
    found = verdict.judge_reconstruction(
        errors[MODEL], {"the mean": errors[verdict.MEAN], "a PCA": errors[verdict.OTHER]}, SUBJECTS
    )
    assert not found["evidence"]
    assert found["sentence"].startswith(
        "The auto-encoder preserves more of a radiograph than the mean"
    )
    assert found["sentence"].endswith("preserves more of a radiograph than a PCA.")
    good = verdict.judge_grading({"mean": 0.9, "ci95": [0.8, 0.95]}, (2,), (0,), 30)
    assert good["sentence"].startswith(
        "The radiograph distinguishes grade 2 from grade 0: AUC 0.90 [0.80"
    )
    for auc in ({"mean": 0.6, "ci95": [0.45, 0.7]}, {"mean": 0.9, "ci95": None}):
        poor = verdict.judge_grading(auc, (2, 3), (0, 1), 30)
        assert poor["sentence"].startswith(
            "No evidence that the radiograph distinguishes grade 2 or 3"
        )


@pytest.fixture(scope="module")
def source():
    return {"train": knees(120, 0), "test": knees(12, 1)}


def _fitted(train, order):
    """Ridge regression from radiograph to volume, on training pairs in a given order."""
    x = np.stack([train[i]["xray"].ravel() / 65535 for i in order])
    y = np.stack([e["mri"].ravel() / 65535 for e in train])
    mx, my = x.mean(axis=0), y.mean(axis=0)
    gram = (x - mx) @ (x - mx).T + 0.5 * np.eye(len(x))
    weights = (x - mx).T @ np.linalg.solve(gram, y - my)

    def predict(xray):
        flat = np.asarray(xray).reshape(len(xray), -1)
        return (my + (flat - mx) @ weights).reshape(-1, *SHAPE, 1).astype(np.float32)

    return predict


def _verdict(predict, source, **options):
    with VolumeStore(passes.count(source, "test")) as store:
        return volumes.evaluate(predict, source, store, **options).metrics["verdict"]


def test_a_model_of_true_pairs_has_evidence(source):
    found = _verdict(_fitted(source["train"], np.arange(120)), source, origin="simulated")
    for name in ("bone shape", "joint space"):
        assert found["properties"][name]["evidence"], name
    assert found["sentence"].startswith("Simulated knees: the radiograph matters for bone shape")


@pytest.mark.parametrize("seed", range(3))
def test_a_model_of_shuffled_pairs_has_no_evidence(source, seed):
    order = np.random.default_rng(seed).permutation(120)
    found = _verdict(_fitted(source["train"], order), source)
    assert not found["evidence"]
    assert found["sentence"].startswith("No evidence that the radiograph matters")


def test_a_model_that_copies_the_mean_has_no_evidence(source):
    mean = np.mean([e["mri"] / 65535 for e in source["train"]], axis=0).astype(np.float32)
    found = _verdict(lambda xray: np.broadcast_to(mean, (len(xray), *mean.shape)), source)
    assert not found["evidence"]
    assert found["sentence"].startswith("No evidence that the radiograph matters")


def test_without_labels_coarse_and_fine_are_judged(source):
    bare = {s: [{k: v for k, v in e.items() if k != "labels"} for e in source[s]] for s in source}
    found = _verdict(_fitted(bare["train"], np.arange(120)), bare)
    assert found["properties"]["coarse anatomy"]["evidence"]
    assert found["properties"]["bone shape"] is None
    assert "bone shape, joint space, cartilage and texture not measured" in found["sentence"]


def test_regions_by_hand():
    labels = np.zeros((5, 12, 5), np.uint8)
    labels[:, :5], labels[:, 7:] = CODES["femur"], CODES["tibia"]
    labels[2, 5, 2] = CODES["medial_tibial_cartilage"]
    found = regions(labels, (4.0, 4.0, 4.0))
    rows = {name: set(np.nonzero(region)[1].tolist()) for name, region in found.items()}
    assert rows["bone shape"] == {4, 5, 6, 7} and rows["joint space"] == {4, 5, 6, 7}
    assert rows["texture"] == {0, 1, 2, 3, 8, 9, 10, 11}
    assert found["cartilage"].sum() == 1
    finer = regions(labels, (2.0, 2.0, 2.0))
    assert set(np.nonzero(finer["bone shape"])[1].tolist()) == set(range(3, 9))
    nothing = regions(np.zeros((3, 3, 3), np.uint8), (4.0, 4.0, 4.0))
    assert not any(region.any() for region in nothing.values())


def test_errors_of_quantities_use_other_subjects_only():
    true = np.array([1.0, 1.0, 3.0, np.nan])
    predicted = np.array([1.5, 1.0, 2.0, 0.0])
    found = quantity_errors([(true, predicted)], ["a", "a", "b", "c"])
    np.testing.assert_allclose(found[MODEL], [0.5, 0, 1, np.nan])
    np.testing.assert_allclose(found[verdict.MEAN], [2, 2, 2, np.nan])
    np.testing.assert_allclose(found[verdict.OTHER], [1, 1, 1.75, np.nan])
    assert quantity_errors([(np.full(4, np.nan), predicted)], ["a", "a", "b", "c"]) is None


def test_real_is_said_of_real_files_only(tmp_path):
    film = tmp_path / "knee.png"
    assert origin_of_file(film) == "unknown"
    film.write_bytes(b"")
    assert origin_of_file(film) == "real"
    film.with_suffix(".json").write_text('{"statement": "simulated from a label map"}')
    assert origin_of_file(film) == "simulated"
    film.with_suffix(".json").write_text("no json")
    assert origin_of_file(film) == "unknown"
    assert origin("knee_phantom/quickstart", {}, "test") == ("simulated", [])
    assert origin("knee_pairs/default", {}, "test") == ("unknown", [])
