"""The benchmark suite `siamese_gap_epoch`: its report, and that both sides train.

PyTorch is the extra [bench]: its side is looked at only where it is installed.
"""

import importlib.util
import json

import jax
import numpy as np
import pytest

from xr2mri_jax.data import augment
from xr2mri_jax.runtime import processor
from xr2mri_jax.tools.benchmarks import input as input_share
from xr2mri_jax.tools.benchmarks import numpy_augment, siamese_gap_epoch, timing

SIZES = {"channels": (2, 3, 4, 5), "convolutions": (1, 1, 1, 1)}


def test_the_report_has_whole_epochs_and_their_ratios():
    report = siamese_gap_epoch.run(32, repeats=1, batch_size=4, steps=2, overrides=SIZES)
    json.dumps(report, allow_nan=False)
    ours = next(iter(report["seconds"]))
    assert ours == ("jax a process a core" if processor.cores() > 1 else "jax")
    assert all(len(times["seconds"]) == 1 for times in report["seconds"].values())
    text = siamese_gap_epoch.table(report)
    assert "2 steps of 4" in text and ours in text
    if importlib.util.find_spec("torch") is None:
        assert report["torch"] == siamese_gap_epoch.MISSING and report["ratios"] == {}
    else:
        assert len(report["ratios"]) == len(report["seconds"]) - 1 == 4
        assert all(name.startswith(f"{ours} / torch ") for name in report["ratios"])


def test_ratios_are_of_the_medians_and_of_the_same_turns():
    ours = {"median_s": 3.0, "seconds": [1.0, 3.0, 6.0]}
    theirs = {"median_s": 2.0, "seconds": [2.0, 12.0, 2.0]}
    assert timing.ratios(ours, theirs) == {"medians": 1.5, "paired": 0.5}


def test_rows_are_aligned_and_in_their_unit():
    entry = {"median_s": 0.0125, "minimum_s": 0.01, "processor_s": 0.02}
    seconds = {"one": entry, "a longer name": entry}
    head, one, other = timing.rows("function", seconds, "ms", digits=1)
    assert len(head) == len(one) == len(other)
    assert one.split() == ["one", "12.5", "ms", "10.0", "ms", "20.0", "ms"]
    assert head.split() == ["function", "median", "minimum", "processor"]


def test_the_radiographs_are_stored_ones_of_both_grades():
    first, second, *_ = siamese_gap_epoch.radiographs({"image_shape": (6, 8)}, 4)
    assert first["xray"].shape == (6, 8, 1) and first["xray"].dtype == np.uint16
    assert (first["kl"], second["kl"]) == (0, 2)
    assert not np.array_equal(first["xray"], second["xray"])


def test_the_input_suite_tells_the_share_of_a_step(monkeypatch):
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)
    report = input_share.run(32, repeats=2, batch_size=8, overrides=SIZES)
    json.dumps(report, allow_nan=False)
    assert report["step_s"] > 0 and report["wait_s"] >= 0 and report["augmented_s"] > 0
    assert "batches of 8 radiographs of 32 pixels" in input_share.table(report)


def test_pytorchs_augmentation_has_the_strengths_asked_for():
    xray = np.full((20, 20, 1), 32768, np.uint16)
    strength = augment.strengths({"brightness": 0.2})
    found = [numpy_augment.apply(xray, np.random.default_rng(i), strength) for i in range(50)]
    assert found[0].shape == (20, 20, 1) and found[0].dtype == np.float32
    offsets = np.array([one.mean() - 0.5 for one in found])
    assert max(np.ptp(one) for one in found) < 1e-6 and 0.15 < np.abs(offsets).max() < 0.2001
    y = np.linspace(0, 65535, 20).astype(np.uint16)
    ramp = np.broadcast_to(y[:, None, None], (20, 20, 1))
    strength = augment.strengths({"shift": 3, "rotate": 1e-6})
    moved = numpy_augment.apply(ramp, np.random.default_rng(1), strength)[..., 0] * 19
    shift = np.median(np.arange(20)[:, None] - moved)
    assert shift == pytest.approx(round(shift), abs=1e-2)
    assert abs(shift) <= 3


def test_pytorchs_radiographs_are_augmented_anew():
    torch = pytest.importorskip("torch")
    from xr2mri_jax.tools.benchmarks import torch_siamese_gap

    stored = siamese_gap_epoch.radiographs({"image_shape": (32, 32)}, 2)
    strength = augment.strengths(siamese_gap_epoch.AUGMENT)
    films = torch_siamese_gap.AugmentedRadiographs(stored, strength)
    (one, label), (other, _) = films[1], films[1]
    assert one.shape == (1, 32, 32) and one.dtype == torch.float32 and label == 1
    assert not torch.equal(one, other)
