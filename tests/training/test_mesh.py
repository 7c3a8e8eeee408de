"""Tests that a step whose volumes are split along depth gives the numbers of one device."""

import jax
import numpy as np
import optax
import pytest
from fake_run import OPTIMIZER

from xr2mri_jax.errors import InputError
from xr2mri_jax.stages.generator import GeneratorStage
from xr2mri_jax.training import mesh, optimizer, parallel, state, step

SHAPE = (64, 16, 16)
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
    "loss": {"mri": {"l1": 1.0}, "surfaces": 0.1},
    "freeze_encoder": False,
    "precision": "float32",
    "cae_workdir": "",
}
EXAMPLES = 16


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
        "distances": (9, 32, 4, 4),
    }
    made = {name: rng.random((EXAMPLES, *s), np.float32) for name, s in fields.items()}
    made["mask"] = (made["mask"] > 0.2).astype(np.float32)
    made["index"] = np.arange(EXAMPLES, dtype=np.int32)
    made["example_mask"] = np.ones(EXAMPLES, np.float32)
    return made


def make(stage, devices, depth):
    """The steps, and a state whose parameters are noise: the last kernels would start at 0."""
    params, model_state = jax.eval_shape(stage.create, jax.random.key(3))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: 0.2 * rng.standard_normal(p.shape, np.float32), params)
    trainable = stage.trainable(params)
    # Adam would divide by what rounding leaves of gradients that are nearly 0.
    tx = optax.sgd(0.1, momentum=0.9)
    steps = step.Steps(stage, tx, optimizer.schedule(OPTIMIZER, 20), 0.9, trainable)
    run = parallel.make_parallel("jit", steps, jax.devices()[:devices], depth)
    return run, run.replicate(state.create(params, model_state, tx))


def trained(stage, batch, devices, depth):
    """Losses, gradient norms, parameters of three steps; evaluation; bytes held by a device."""
    run, current = make(stage, devices, depth)
    rng, found, placed = run.replicate(jax.random.key(7)), [], run.prepare_batch(batch)
    own = EXAMPLES * depth // devices
    shards = {name: value.addressable_shards[0].data.shape for name, value in placed.items()}
    assert shards["mri"] == shards["mask"] == (own, 64 // depth, 16, 16, 1)
    assert shards["distances"] == (own, 9, 32 // depth, 4, 4)
    assert shards["xray"] == (own, 16, 16, 1)
    compiled = run.train_step.lower(current, placed, rng).compile()
    for _ in range(3):
        current, outcome = compiled(current, placed, rng)
        outcome = parallel.unreplicate(outcome)
        found += [outcome["means"]["loss"].compute(), outcome["grad_norm"]]
    values = {}
    if depth != 2:  # once over depth is enough
        values = parallel.unreplicate(run.eval_step(current.ema_params, {}, placed))
        values = {name: mean.compute() for name, mean in values.items()}
    held = compiled.memory_analysis().temp_size_in_bytes
    return found, parallel.unreplicate(current.params), values, held


@pytest.fixture(scope="module")
def one(stage, batch):
    return trained(stage, batch, 1, 1)


@pytest.mark.parametrize("depth", [2, 4])
def test_steps_and_evaluation_over_batch_and_depth_equal_those_of_one_device(
    stage, batch, one, depth
):
    losses, params, values, held = trained(stage, batch, 8, depth)
    np.testing.assert_allclose(losses, one[0], rtol=2e-5)
    for a, b in zip(*(jax.tree.leaves(x) for x in (params, one[1])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    if depth == 4:
        assert values.keys() == one[2].keys() and {"ssim3d", "dice_femur"} < values.keys()
        # Half of the examples alone, without parts of volumes, needs more than half of the memory.
        assert held < 0.4 * one[3]
    for name, value in values.items():
        np.testing.assert_allclose(value, one[2][name], rtol=2e-5, err_msg=name)


def test_predictions_of_this_host_are_split_and_the_same(stage, batch):
    run, current = make(stage, 8, 4)
    params = parallel.unreplicate(current.params)
    whole = stage.predict(params, {}, batch["xray"][:1])
    with run.on_this_host():
        found = jax.jit(stage.predict)(params, {}, batch["xray"][:1])
    assert found.addressable_shards[0].data.shape == (1, 16, 16, 16, 1)
    np.testing.assert_allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parallel": "pmap"}, "config.mesh_depth is 2, expected 1 with config.parallel=pmap"),
        ({"model": {}, "stage": "cae"}, "expected 1: the stage cae has no volumes"),
        ({"mesh_depth": 3}, "config.mesh_depth is 3, expected a divisor of 32, half of the depth"),
    ],
)
def test_a_depth_that_does_not_fit_is_refused(changes, said):
    asked = {**CONFIG, "parallel": "jit", "mesh_depth": 2, **changes}
    with pytest.raises(InputError) as caught:
        mesh.depth_of(asked)
    assert said in str(caught.value)
    assert mesh.depth_of({**asked, "mesh_depth": 1}) == 1


def test_a_depth_that_does_not_divide_the_devices_is_refused():
    with pytest.raises(InputError, match="mesh_depth is 3, expected a divisor of 8, the number"):
        mesh.make(jax.devices(), 3)
