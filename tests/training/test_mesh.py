"""Tests that a step whose volumes are split along depth gives the numbers of one device."""

import jax
import numpy as np
import pytest
from fake_run import OPTIMIZER

from xr2mri_jax.stages import base
from xr2mri_jax.stages.generator import GeneratorStage
from xr2mri_jax.training import compilations, optimizer, parallel, state, step

SHAPE = (16, 16, 16)
CONFIG = {
    "model": {
        "cae": {"preset": "compact", "image_shape": SHAPE[1:], "channels": (4, 8)},
        "generator": {
            "volume_shape": SHAPE,
            "channels": (4, 8),
            "widths": (8, 8),
            "blocks": (1, 1),
            "surfaces": 9,
            "surface_width": 8,
        },
    },
    "loss": {"mri": {"l1": 1.0, "ssim": 0.5, "gradient_difference": 0.5}, "surfaces": 0.1},
    "freeze_encoder": False,
    "precision": "float32",
    "cae_workdir": "",
}
EXAMPLES = 6


@pytest.fixture(scope="module")
def stage():
    return GeneratorStage(CONFIG)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    fields = {
        "xray": (16, 16, 1),
        "mri": (*SHAPE, 1),
        "mask": (*SHAPE, 1),
        "distances": (9, 8, 4, 4),
    }
    made = {name: rng.random((EXAMPLES, *s), np.float32) for name, s in fields.items()}
    made["mask"] = (made["mask"] > 0.2).astype(np.float32)
    made["index"] = np.arange(EXAMPLES, dtype=np.int32)
    made["example_mask"] = np.ones(EXAMPLES, np.float32)
    return made


def make(stage, devices, depth):
    """The steps, and a state whose parameters are noise: the last kernels start at 0."""
    params, model_state = base.created(stage, jax.random.key(3))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: p + 0.1 * rng.standard_normal(p.shape).astype("f4"), params)
    trainable = stage.trainable(params)
    tx = optimizer.make(OPTIMIZER, 20, trainable)
    steps = step.Steps(stage, tx, optimizer.schedule(OPTIMIZER, 20), 0.9, trainable)
    run = parallel.make_parallel("jit", steps, jax.devices()[:devices], depth)
    return run, run.replicate(state.create(params, model_state, tx))


def trained(stage, batch, devices, depth):
    """Losses, gradient norms, evaluation and parameters of three steps; compilations."""
    run, current = make(stage, devices, depth)
    rng, found = run.replicate(jax.random.key(7)), []
    placed, compiled = run.prepare_batch(batch), compilations.count()
    for _ in range(3):
        with jax.transfer_guard("disallow"):
            current, outcome = run.train_step(current, placed, rng)
        outcome = parallel.unreplicate(outcome)
        found += [outcome["means"]["loss"].compute(), outcome["grad_norm"]]
    compiled = compilations.count() - compiled
    values = run.eval_step(current.ema_params, current.model_state, placed)
    values = parallel.unreplicate(values)
    return (
        found,
        {name: mean.compute() for name, mean in values.items()},
        parallel.unreplicate(current.params),
        compiled,
    )


@pytest.fixture(scope="module")
def one(stage, batch):
    return trained(stage, batch, 1, 1)


@pytest.mark.parametrize("depth", [2, 4])
def test_steps_and_evaluation_over_batch_and_depth_equal_those_of_one_device(
    stage, batch, one, depth
):
    found = trained(stage, batch, 8, depth)
    assert found[3] == one[3] == 1
    np.testing.assert_allclose(found[0], one[0], rtol=2e-5)
    assert found[1].keys() == one[1].keys() and "dice_femur" in found[1]
    for name, value in found[1].items():
        np.testing.assert_allclose(value, one[1][name], rtol=2e-5, err_msg=name)
    for a, b in zip(*(jax.tree.leaves(x[2]) for x in (found, one)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


def test_a_device_holds_its_part_of_the_volumes_alone(stage, batch):
    """By the shapes of the shards, and by the memory of the compiled step."""
    held = {}
    for devices, depth in ((2, 1), (8, 4)):  # two examples groups each
        run, current = make(stage, devices, depth)
        placed = run.prepare_batch(batch)
        shards = {name: value.addressable_shards[0].data.shape for name, value in placed.items()}
        assert shards["mri"] == (3, 16 // depth, 16, 16, 1)
        assert shards["distances"] == (3, 9, 8 // depth, 4, 4)
        assert shards["xray"] == (3, 16, 16, 1)
        lowered = run.train_step.lower(current, placed, run.replicate(jax.random.key(7)))
        held[depth] = lowered.compile().memory_analysis().temp_size_in_bytes
    print(held)
    assert held[4] < 0.5 * held[1]
