"""Graders from strangers: a value that no grader has is refused in one line that names its key."""

import command_process
import made_grader
import numpy as np
import pytest
from PIL import Image
from strange_models import described, refused

from xr2mri_jax.inference.knee_grader import file_format


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grader")
    file_format.write(folder, made_grader.grader())
    return folder


@pytest.fixture
def folder(made, tmp_path):
    for name in ("model.json", "weights.npz"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("calibration.temperature", 0.0),
        ("calibration.temperature", float("nan")),
        ("calibration.temperature", -1),
        ("calibration.temperature", "1.5"),
        ("calibration.temperature", True),
        ("calibration.thresholds", []),
        ("calibration.thresholds", {}),
        ("calibration.thresholds.1.probability", 1.5),
        ("calibration.thresholds.1.probability", None),
        ("calibration.thresholds.0", {}),
        ("calibration.reliability", {}),
        ("calibration.reliability.count", []),
        ("calibration.reliability.count", [float("inf"), 1]),
        ("calibration.reliability.frequency", [2.0, 0.1]),
        ("calibration.error_before", -0.1),
        ("calibration.knees", 0),
        ("calibration.subjects", 1.5),
        ("calibration.more", 1),
        ("calibration.offsets", [0.0, 1.0]),
        ("calibration.set_limits", [0.5, 0.5]),
        ("calibration.prevalence", [0.5, 0.5]),
        ("calibration", None),
        ("features.distance_one", 0),
        ("features.distance_one", float("inf")),
        ("features", []),
        ("grades", [0, 1]),
        ("grades", [2, 0]),
        ("grades", [0, 2, 4]),
        ("grades", "02"),
        ("contrast", {}),
        ("contrast.percentiles", [99, 1]),
        ("contrast.percentiles", [1, float("nan")]),
        ("contrast.clahe", {"clip_limit": 0, "kernel_mm": 16}),
        ("contrast.clahe", 3),
        ("views", 1),
        ("training", []),
        ("training.step", [float("nan")]),
        ("training.step", float("inf")),
        ("network.channels", [4096] * 4),
        ("network.convolutions", [4096] * 4),
        ("calibration.temperature", 10**400),
        ("network", 3),
        ("network.kind", "other"),
        ("network.channels", [10**9] * 4),
        ("network.channels", [4, 4, 8]),
        ("network.convolutions", [1] * 10**4),
        ("network.image_shape", [32, 0]),
        ("network.image_shape", []),
        ("network.dropout", float("nan")),
        ("network.classes", 3),
        ("network.classes", 0),
        ("network.levels", [9]),
        ("weights_sha256", 3),
        ("form", 1),
        ("form", None),
    ],
)
def test_a_value_that_no_grader_has_is_named(folder, key, value):
    described(folder, key, value)
    assert key.split(".")[0] in refused(folder, "grader")


def test_the_command_ends_with_one_line_and_code_2(folder):
    described(folder, "calibration.temperature", 0.0)
    xray = folder / "knee.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(xray)
    output = f"--output={folder / 'a.csv'}"
    done = command_process.run("grade", f"--xray={xray}", output, f"--model={folder}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "calibration.temperature: found 0.0, expected a number in" in done.stderr
    assert not (folder / "a.csv").exists()
