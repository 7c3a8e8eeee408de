"""Generators from strangers: a value that none has is refused in one line that names its key."""

from pathlib import Path

import command_process
import made_generator
import pytest
from strange_models import described, refused

import xr2mri_jax

KNEE = Path(xr2mri_jax.__file__).parent / "samples" / "knee.png"
CAE, GENERATOR = "config.model.cae", "config.model.generator"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_generator.write(tmp_path_factory.mktemp("generator"), made_generator.model())


@pytest.fixture
def folder(made, tmp_path):
    for name in ("model.json", "weights.npz"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", []),
        ("config.model", {}),
        ("config.more", 1),
        (CAE, None),
        (f"{CAE}.image_shape", [32, 0]),
        (f"{CAE}.image_shape", [32]),
        (f"{CAE}.channels", [10**9] * 3),
        (f"{CAE}.channels", [4096] * 3),
        (f"{CAE}.channels", "4"),
        (f"{CAE}.preset", "other"),
        (f"{CAE}.blocks", 4096),
        (f"{CAE}.mean_level", float("nan")),
        (f"{CAE}.unknown", 1),
        (f"{GENERATOR}.form", "other"),
        (f"{GENERATOR}.volume_shape", [4096] * 3),
        (f"{GENERATOR}.volume_shape", [16, 32]),
        (f"{GENERATOR}.volume_shape", []),
        (f"{GENERATOR}.surfaces", -1),
        (f"{GENERATOR}.coefficients", 10**400),
        (f"{GENERATOR}.coefficients", 3),
        (f"{GENERATOR}.widths", [1] * 10**4),
        ("config.dataset", 3),
        ("config.dataset", "../knee_family"),
        ("config.dataset", "knee_family/\x1b[2J"),
        ("contrast", None),
        ("contrast.percentiles", [99.0, 1.0]),
        ("contrast.clahe", {"clip_limit": 0, "kernel_mm": 16.0}),
        ("step", -1),
        ("step", 1.5),
        ("step", True),
        ("features", None),
        ("features.distance_one", 0),
        ("features.distance_one", float("inf")),
        ("features.distance_one", "1"),
        ("training", []),
        ("training.trusted", {"components": [1.0, float("nan")]}),
        ("weights_sha256", "0" * 63),
        ("form", 1),
        ("form", None),
    ],
)
def test_a_value_that_no_generator_has_is_named(folder, key, value):
    described(folder, key, value)
    message = refused(folder, "generator")
    assert key.split(".")[0] in message or "weights.npz" in message
    assert message.isprintable()


def test_the_command_ends_with_one_line_and_code_2(folder):
    described(folder, "features.distance_one", 0)
    output = f"--output={folder / 'v.nii.gz'}"
    done = command_process.run("predict", f"--xray={KNEE}", output, f"--model={folder}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "features.distance_one: found 0, expected a number > 0" in done.stderr
    assert not list(folder.glob("v.*"))
