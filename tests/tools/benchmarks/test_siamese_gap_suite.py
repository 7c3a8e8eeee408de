"""The benchmark suite `siamese_gap`: its report, and the PyTorch twin's gradients.

PyTorch is the extra [bench]: the twin is compared only where it is installed.
"""

import importlib.util
import json

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import processor
from xr2mri_jax.tools.benchmarks import siamese_gap, suites

SIZES = {"channels": (2, 3, 4, 5), "convolutions": (1, 2, 1, 1)}


def test_the_report_has_steps_and_epochs(monkeypatch):
    # A process a core is measured by the suite of whole epochs, in its test.
    monkeypatch.setattr(processor, "cores", lambda: 1)
    report = siamese_gap.run(32, repeats=1, batch_size=4, overrides=SIZES)
    assert report["epoch_s"]["jax"] == pytest.approx(600 * report["seconds"]["jax"]["median_s"])
    assert report["spec"] == {"image_size": 32, "patch": 16}
    assert "jax a process a core" not in report["seconds"]
    json.dumps(report, allow_nan=False)
    assert "training step" in siamese_gap.table(report)
    if importlib.util.find_spec("torch") is None:
        assert report["torch"] == siamese_gap.MISSING and report["ratios"] == {}
    else:
        ours = [name for name in report["seconds"] if name.startswith("jax")]
        theirs = ("torch default", "torch channels_last")
        assert set(report["ratios"]) == {f"{a} / {b}" for a in ours for b in theirs}
        assert report["agreement"]["largest relative gradient difference"] < 1e-3


def test_an_image_size_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="--image_size: found 0"):
        suites.run(
            "siamese_gap",
            tmp_path / "a.json",
            repeats=1,
            batch_size=1,
            volume_shape=(8, 8, 8),
            image_size=0,
        )
