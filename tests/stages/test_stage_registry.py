"""Tests that stages are found from their files, and that the documented example trains."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xr2mri_jax import stages
from xr2mri_jax.errors import InputError
from xr2mri_jax.stages import base
from xr2mri_jax.training import config as recipe

ROOT = Path(__file__).parents[2]

# The module and the recipe of the documented example.
STAGE, RECIPE = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "extend" / "stage.md").read_text(), re.DOTALL
)

# Trains the recipe by its name on a made dataset, with whichever package is first on the path.
PROGRAM = """
import sys
import types

import numpy as np

import xr2mri_jax
from xr2mri_jax import datasets
from xr2mri_jax.training import loop, recipes

rng = np.random.default_rng(0)
examples = [{"xray": rng.integers(0, 65536, (5, 5, 1), np.uint16)} for _ in range(8)]


class Builder:
    data_path = "/made"
    info = types.SimpleNamespace(
        full_name="made",
        features={"xray": types.SimpleNamespace(shape=(5, 5, 1))},
        splits=dict.fromkeys(("train", "validation"), types.SimpleNamespace(num_examples=8)),
    )

    def as_data_source(self, split, decoders=None):
        return examples


assert xr2mri_jax.__file__.startswith(sys.argv[1]), xr2mri_jax.__file__
datasets.load_builder = lambda name, data_dir: Builder()
sys.exit(loop.train(recipes.load("brightness"), sys.argv[2]))
"""


def test_the_registry_is_the_folder():
    files = {path.stem for path in (ROOT / "xr2mri_jax" / "stages").glob("*.py")}
    assert set(stages.names()) == files - {
        "__init__", "base", "earlier_run", "packaged_grader", "sample_pictures",
    }  # fmt: skip
    assert {path.stem for path in (ROOT / "configs").glob("*.py")} == {*stages.names()}
    with pytest.raises(
        InputError, match="'gan', expected one of branch_cae, cae, generator, joint"
    ):
        stages.make_stage({"stage": "gan"})


@pytest.mark.parametrize("name", stages.names())
def test_a_stage_has_the_name_of_its_file_and_its_own_keys(name):
    module = stages._known(name)
    assert module.STAGE.name == name
    made = recipe.plain(recipe.default(name))
    assert made["stage"] == name and made["model"].keys() == module.DEFAULTS["model"].keys()
    # Defaults are copied: a changed config changes no other.
    made["model"]["own"] = made["loss"]["own"] = 1
    changed = recipe.default(name)
    changed.loss.own = 2.0
    assert "own" not in recipe.default(name).loss and "own" not in module.DEFAULTS["loss"]


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("cae", {base.Reconstructs, base.Encodes}),
        ("generator", {base.Predicts, base.Surfaces, base.Encodes, base.TrainsOnFewerFields}),
        ("joint", {base.Predicts, base.Surfaces, base.Encodes}),
        ("siamese_gap", {base.Classifies, base.Summarises, base.SelectsCheckpoint}),
    ],
)
def test_protocols_describe_what_a_stage_can_do(name, can):
    config = recipe.plain(recipe.default(name))
    for model in config["model"]:
        config["model"][model] = {"image_shape": [16, 16], "channels": [4, 4]}
        if model == "generator":
            config["model"][model] = {
                "volume_shape": [8, 16, 16], "channels": [4, 4], "widths": [8, 8], "blocks": [0, 0],
            }  # fmt: skip
        if model == "classifier":
            config["model"][model] |= {"convolutions": [1, 1], "levels": [1, 2], "classes": 2}
    stage = stages.make_stage(config)
    assert isinstance(stage, base.Stage)
    protocols = {
        base.Predicts, base.Reconstructs, base.Encodes, base.Classifies, base.Summarises,
        base.SelectsCheckpoint, base.Surfaces, base.TrainsOnFewerFields,
    }  # fmt: skip
    assert {protocol for protocol in protocols if isinstance(stage, protocol)} == can


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("held_out", 1.0, "config.data.held_out is 1.0, expected less than 1"),
        ("held_out", -0.1, "config.data.held_out is -0.1, expected at least 0"),
        ("held_out_seed", -1, "config.data.held_out_seed is -1, expected at least 0"),
    ],
)
def test_a_stage_checks_the_ranges_of_its_own_keys(key, value, said):
    config = recipe.plain(recipe.default("siamese_gap"))
    config["data"][key] = value
    recipe.validate(config)
    with pytest.raises(InputError) as caught:
        stages.resolve(config)
    assert str(caught.value) == said


def test_a_stage_of_two_files_is_trained(tmp_path):
    kept_out = shutil.ignore_patterns("__pycache__", "*.npz", "*.png")
    for name in ("xr2mri_jax", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=kept_out)
    (tmp_path / "xr2mri_jax" / "stages" / "brightness.py").write_text(STAGE)
    (tmp_path / "configs" / "brightness.py").write_text(RECIPE)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(tmp_path / "run")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["part"] == "train"]
    assert len(losses) == 3 and losses[-1] < losses[0] / 2
    assert lines[-1]["part"] == "eval" and set(lines[-1]) == {"part", "step", "error"}
