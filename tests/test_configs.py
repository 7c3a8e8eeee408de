"""Tests that every recipe trains, and that every module and launch script can be imported."""

import functools
import importlib.util
import shutil
import subprocess
import sys
import types
from pathlib import Path

import command_process
import jax
import numpy as np
import pytest

from xr2mri_jax import datasets, stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import loop

ROOT = Path(__file__).parent.parent
SMALL_CAE = {"image_shape": (16, 16), "channels": (4, 4)}
SMALL_GENERATOR = {
    "volume_shape": (8, 16, 16),
    "channels": (4, 4),
    "widths": (8, 8),
    "blocks": (0, 0),
}


def load(stage):
    spec = importlib.util.spec_from_file_location(stage, ROOT / "configs" / f"{stage}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPES = [
    (path.stem, variant)
    for path in sorted((ROOT / "configs").glob("*.py"))
    for variant in load(path.stem).VARIANTS
]


# The others differ by numbers of the same program, or by a network whose gradients the tests of
# models take: their network is made, not trained.
TRAINED = {
    "branch_cae": ("smoke", "cae"),
    "cae": ("smoke", "shipped"),
    "generator": ("smoke", "shape"),
    "joint": ("smoke",),
    "siamese_gap": ("smoke", "real"),
}
SMALL_CLASSIFIER = {"image_shape": (16, 16)}


class MadeBuilder:
    """Stands for a prepared dataset: radiographs and volumes of noise, some splits."""

    def __init__(self, count=10):
        rng = np.random.default_rng(0)
        volumes = {"mri": (8, 16, 16, 1), "mask": (8, 16, 16, 1), "distances": (9, 4, 4, 4)}
        shapes = {"xray": (16, 16, 1), **volumes}
        scalars = {"kl": (), "subject": ()}
        self.examples = [
            {
                "xray": rng.integers(0, 65536, shapes["xray"], np.uint16),
                "mri": rng.integers(0, 65536, shapes["mri"], np.uint16),
                "mask": np.ones(shapes["mask"], np.uint8),
                "distances": rng.integers(-120, 121, shapes["distances"]).astype(np.int8),
                "kl": i % 5,
                "subject": f"s{i}",
            }
            for i in range(count)
        ]
        self.data_path = "/made"
        split = types.SimpleNamespace(num_examples=count)
        self.info = types.SimpleNamespace(
            full_name="made",
            features={
                name: types.SimpleNamespace(shape=shape)
                for name, shape in (shapes | scalars).items()
            },
            splits=dict.fromkeys(("train", "validation", "val", "test"), split),
        )

    def as_data_source(self, split, decoders=None):
        assert split in self.info.splits
        return self.examples


def shrunk(stage, variant):
    """The recipe with its own settings, but tiny models and two steps."""
    config = load(stage).get_config(variant)
    config.update(steps=2, log_every=1, eval_every=2, checkpoint_every=2)
    config.data.batch_size = 2
    config.optimizer.update(learning_rate=0.002, ema_decay=0.9)
    if stage == "cae":
        config.model.cae.update(SMALL_CAE)
        if "hidden_channels" in config.model.cae:
            config.model.cae.update(hidden_channels=4, blocks=0)
    if stage == "generator":
        config.model.generator.update(SMALL_GENERATOR, coefficients=2)
    if stage in ("siamese_gap", "branch_cae"):
        config.data.batch_size = 8  # batch normalisation: a multiple of the eight devices
        config.model.classifier.update(SMALL_CLASSIFIER)
        for name, sizes in (("channels", (2, 3, 3, 4)), ("convolutions", (1, 1, 1, 1))):
            if name in config.model.classifier:
                config.model.classifier[name] = sizes
        if "width" in config.model.classifier:
            config.model.classifier.width = 2
    if stage == "siamese_gap":
        config.data.held_out = 0.5 if config.data.held_out else 0.0
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of an auto-encoder and a generator for the later stages to start from."""
    patch = pytest.MonkeyPatch()
    patch.setattr(datasets, "load_builder", lambda name, data_dir: MadeBuilder())
    root = tmp_path_factory.mktemp("trained")
    assert loop.train(shrunk("cae", "smoke"), root / "cae") == 0
    generator = shrunk("generator", "smoke")
    generator.cae_workdir = str(root / "cae")
    assert loop.train(generator, root / "generator") == 0
    yield root
    patch.undo()


def test_every_stage_has_a_smoke_variant():
    assert [stage for stage, variant in RECIPES if variant == "smoke"] == [
        "branch_cae",
        "cae",
        "generator",
        "joint",
        "siamese_gap",
    ]
    assert [stage for stage, variant in RECIPES if variant == ""] == list(stages.names())


@pytest.mark.parametrize(("stage", "variant"), RECIPES)
def test_every_recipe_is_valid_and_its_program_trains_two_steps(stage, variant, trained, tmp_path):
    recipe.validate(recipe.plain(load(stage).get_config(variant)))
    config = shrunk(stage, variant)
    if stage == "generator":
        config.cae_workdir = str(trained / "cae")
    if stage == "joint":
        config.generator_workdir = str(trained / "generator")
    if variant not in TRAINED[stage]:
        made = stages.make_stage(stages.resolve(recipe.plain(config)))
        params, _ = jax.eval_shape(functools.partial(made.create, jax.random.key(0)))
        assert jax.tree.leaves(params)
        return
    # The fixture has trained the recipes that the later stages start from.
    made = variant == "smoke" and stage in ("cae", "generator")
    folder = trained / stage if made else tmp_path
    assert made or loop.train(config, folder) == 0
    assert workdir.steps(folder) == [2]
    assert (folder / "samples" / "step_000002.png").is_file()


def test_a_run_is_continued_with_its_own_config_only(trained, tmp_path):
    config = shrunk("generator", "smoke")
    config.log_every = 2
    for moved in ("", str(trained / "cae"), str(trained / "generator" / ".." / "cae")):
        config.cae_workdir = moved
        assert loop.train(config, trained / "generator") == 0
    shutil.copytree(trained / "cae", tmp_path / "moved")
    config.cae_workdir = str(tmp_path / "moved")
    assert loop.train(config, trained / "generator") == 0
    assert loop.train(shrunk("cae", "smoke"), tmp_path / "other") == 0
    for other in (tmp_path / "other", tmp_path / "none"):
        config.cae_workdir = str(other)
        with pytest.raises(InputError, match=rf"'{trained}/cae', found '{other}', which is not"):
            loop.train(config, trained / "generator")
    config.cae_workdir = ""
    config.optimizer.learning_rate = 0.5
    with pytest.raises(InputError, match=r"config.optimizer.learning_rate=0.002, found 0.5"):
        loop.train(config, trained / "generator")
    with pytest.raises(InputError, match="holds a run of the stage 'generator'"):
        loop.train(shrunk("cae", "smoke"), trained / "generator")


def test_the_folder_of_an_earlier_stage_is_asked_for(tmp_path):
    with pytest.raises(InputError, match=r"config.cae_workdir is empty: train that stage first"):
        loop.train(shrunk("generator", "smoke"), tmp_path)
    with pytest.raises(InputError, match=r"config.generator_workdir is empty"):
        loop.train(shrunk("joint", "smoke"), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parallel": "3"}, "config.parallel is '3', expected one of pmap, jit"),
        ({"steps": 0}, "config.steps is 0, expected at least 1"),
        ({"steps": True}, "config.steps is True, expected int"),
        ({"steps": "many"}, "config.steps is 'many', expected int"),
        ({"optimizer": {"learning_rate": float("nan")}}, "learning_rate is nan, expected at least"),
        ({"optimizer": {"learning_rate": float("inf")}}, "learning_rate is inf, expected a finite"),
        ({"optimizer": {"clip_norm": float("inf")}}, "clip_norm is inf, expected a finite number"),
        ({"loss": {"xray": {"l1": float("inf")}}}, "config.loss.xray.l1 is inf, expected a finite"),
        ({"loss": {"xray": {"l1": float("nan")}}}, "config.loss.xray.l1 is nan, expected at least"),
        ({"data": {"augment": {"shift": float("inf")}}}, "augment.shift is inf, expected a finite"),
        ({"optimizer": {"ema_decay": 1.0}}, "ema_decay is 1.0, expected less than 1"),
        ({"loss": {"xray": {"l1": -1.0}}}, "config.loss.xray.l1 is -1.0, expected at least 0.0"),
        ({"loss": {"xray": {"l2": 1.0}}}, "config.loss.xray.l2 is not a key of the stage cae"),
        ({"colour": 1}, "config.colour is not a key of the stage cae"),
        ({"model": {"cae": 3}}, "config.model.cae is 3, expected keys with values"),
        (
            {"stage": "gan"},
            "config.stage is 'gan', expected one of branch_cae, cae, generator, joint, siamese_gap",
        ),
        ({"data": {"augment": {"shift": "4"}}}, "config.data.augment.shift is '4', expected float"),
    ],
)
def test_wrong_values_are_refused(change, said):
    config = recipe.plain(recipe.default("cae"))

    def merge(into, new):
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                merge(into[key], value)
            else:
                into[key] = value

    merge(config, change)
    with pytest.raises(InputError) as caught:
        recipe.validate(config)
    assert said in str(caught.value)


def test_a_missing_key_and_an_unknown_variant_are_refused():
    config = recipe.plain(recipe.default("cae"))
    del config["optimizer"]["clip_norm"]
    with pytest.raises(InputError, match=r"config.optimizer.clip_norm is missing"):
        recipe.validate(config)
    with pytest.raises(InputError, match=r"variant 'tiny', expected one of '', 'quickstart'"):
        load("cae").get_config("tiny")


IMPORTS = """
import importlib, importlib.util, pkgutil, sys
from pathlib import Path
import xr2mri_jax
from absl import flags
def without_flags(load):
    before = set(flags.FLAGS)
    load()
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
for module in pkgutil.walk_packages(xr2mri_jax.__path__, "xr2mri_jax."):
    try:
        without_flags(lambda: importlib.import_module(module.name))
    except ModuleNotFoundError as error:
        # The PyTorch side of the benchmarks belongs to the extra `bench`.
        if error.name != "torch" or not module.name.startswith("xr2mri_jax.tools.benchmarks."):
            raise
for path in sorted(Path("launch").glob("*.py")):
    spec = importlib.util.spec_from_file_location("launch_" + path.stem, path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing started a JAX backend"
assert "tensorflow" not in sys.modules, "importing needs TensorFlow"
"""


def test_every_module_and_launch_script_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_run_in_another_dtype_names_the_precision_that_continues_it(tmp_path):
    now = {**recipe.plain(recipe.default("cae")), "dtype": "float32"}
    with pytest.raises(InputError) as caught:
        recipe.require_same_run({**now, "dtype": "bfloat16"}, now, tmp_path)
    assert "computes in bfloat16" in str(caught.value)
    assert "config.precision='auto', which is float32 here" in str(caught.value)
    assert "--config.precision=bfloat16" in str(caught.value)


def test_a_run_older_than_a_key_is_continued_with_the_keys_default():
    now = recipe.plain(recipe.default("siamese_gap"))
    older = {**now, "data": {k: v for k, v in now["data"].items() if k != "mixup"}}
    augment = older["data"]["augment"]
    older["data"]["augment"] = {k: v for k, v in augment.items() if k not in ("elastic", "clahe")}
    recipe.require_same_run(older, now, "w")
    other = {**now, "data": {**now["data"], "mixup": 0.4}}
    with pytest.raises(InputError, match=r"config.data.mixup=0.0, found 0.4"):
        recipe.require_same_run(older, other, "w")
    with pytest.raises(InputError, match=r"config.data.mixup=0.4, found 0.0"):
        recipe.require_same_run(other, now, "w")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--config=configs/none.py", "--workdir=w"],
            "--config=configs/none.py: no such file and no such recipe",
        ),
        (
            ["--config=configs/cae.py:none", "--workdir=w"],
            "error: --config: found the variant 'none', expected one of ",
        ),
        (["--config=configs/cae.py:smoke"], "--workdir is missing"),
        (["--workdir=w"], "--config is missing"),
        (
            ["--config=configs/cae.py:smoke", "--workdir=w", "--config.steps=few"],
            "--config.steps: found few, expected an integer",
        ),
        (
            ["--config=configs/cae.py:smoke", "--workdir=w", "--config.model.cae.channels=wide"],
            "cae.channels: found 'wide', expected an integer",
        ),
        (
            ["--config=configs/cae.py:smoke", "--workdir=w", "--config.model.cae.channels=(4,2.5)"],
            "cae.channels: found 2.5, expected an integer",
        ),
        (
            [
                "--config=configs/cae.py:smoke",
                "--workdir=w",
                "--config.model.cae.hidden_channels=x",
            ],
            "--config.model.cae.hidden_channels: found x, expected an integer",
        ),
        (
            ["--config=configs/cae.py:smoke", "--workdir=w", "--config.model.cae.mean_level=nan"],
            "cae.mean_level: found nan, expected a finite number",
        ),
        (
            ["--config=configs/cae.py:smoke", "--workdir=w", "--config.model.cae.none=1"],
            "--config has no key",
        ),
        (
            ["--config=configs/cae.py:smoke", "--workdir=/proc/none"],
            "--workdir: the folder /proc cannot be written to",
        ),
        (
            ["--config=configs/cae.py:smoke", "--workdir=w", "--config.parallel=3"],
            "config.parallel is '3', expected one of pmap, jit",
        ),
    ],
)
def test_wrong_commands_end_with_one_line_and_code_2(arguments, said):
    done = command_process.run("train", *arguments)
    assert done.returncode == 2 and said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1", "--config: the file has no function get_config, expected a recipe"),
        (
            "import ml_collections\n"
            "def get_config(variant=''):\n"
            "    return ml_collections.ConfigDict({'stage': 'cae'})",
            "config.checkpoint_every is missing",
        ),
    ],
)
def test_an_incomplete_recipe_ends_with_one_line_and_code_2(tmp_path, content, said):
    path = tmp_path / "own.py"
    path.write_text(f"{content}\n")
    test_wrong_commands_end_with_one_line_and_code_2([f"--config={path}", "--workdir=w"], said)
