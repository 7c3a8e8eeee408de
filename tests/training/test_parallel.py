"""Tests that one device and eight, pmap and sharded jit, give the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_run import OPTIMIZER, FakeData, FakeStage

from xr2mri_jax.data import augment
from xr2mri_jax.errors import InputError
from xr2mri_jax.training import optimizer, parallel, state, step


def make(strategy, device_count):
    stage = FakeStage(noise=0.5)
    params, model_state = stage.create(jax.random.key(3))
    trainable = stage.trainable(params)
    tx = optimizer.make(OPTIMIZER, 20, trainable)
    steps = step.Steps(stage, tx, optimizer.schedule(OPTIMIZER, 20), 0.9, trainable)
    run = parallel.make_parallel(strategy, steps, jax.devices()[:device_count])
    return run, run.replicate(state.create(params, model_state, tx))


def losses(strategy, device_count, batch_size=6, count=10):
    run, current = make(strategy, device_count)
    rng, data = run.replicate(jax.random.key(7)), FakeData(batch_size)
    found = []
    for _ in range(count):
        current, outcome = run.train_step(current, run.prepare_batch(next(data)), rng)
        outcome = parallel.unreplicate(outcome)
        assert outcome["finite"]
        found.append(outcome["means"]["loss"].compute())
    last = run.eval_step(current.ema_params, current.model_state, run.prepare_batch(next(data)))
    return [*found, parallel.unreplicate(last)["squared"].compute()]


def test_devices_and_strategies_agree_over_ten_steps():
    wanted = losses("jit", 1)
    assert len(jax.devices()) == 8
    assert len(set(wanted)) == len(wanted)
    for strategy, device_count in (("pmap", 1), ("pmap", 8), ("jit", 8)):
        found = losses(strategy, device_count)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, err_msg=f"{strategy} {device_count}")


class SeesEverything(FakeStage):
    """The loss is a weighted sum of all that is augmented."""

    def loss(self, params, model_state, batch, rng, train):
        value = jnp.square(jnp.mean(batch["xray"], axis=(2, 3)) @ jnp.linspace(0.1, 1.0, 16))
        value += jnp.mean((batch["mri"] - 0.5) * batch["mask"], axis=(1, 2, 3, 4))
        value += jnp.mean(batch["labels"] * batch["mask"][..., 0], axis=(1, 2, 3))
        value = value * batch["share"] + 0.01 * batch["mixed_kl"]
        return value * params["trained"]["w"][0, 0], (model_state, {"share": batch["share"]})


def augmented_losses(strategy, device_count, steps=2):
    """Losses of batches of six with every augmentation, mixup and a masked example."""
    rng = np.random.default_rng(0)
    stage = SeesEverything()
    params, model_state = stage.create(jax.random.key(3))
    trainable = stage.trainable(params)
    tx = optimizer.make(OPTIMIZER, 20, trainable)
    strength = augment.strengths(dict.fromkeys(augment.STRENGTHS, 0.5) | {"shift": 2})
    made = step.Steps(stage, tx, lambda at: 0.1, 0.9, trainable, strength, 0.4)
    run = parallel.make_parallel(strategy, made, jax.devices()[:device_count])
    current = run.replicate(state.create(params, model_state, tx))
    key, found = run.replicate(jax.random.key(7)), []
    for _ in range(steps):
        volume = rng.random((6, 3, 16, 16, 1), np.float32)
        batch = {
            **next(FakeData(6)), "xray": volume[:, 0], "other_xray": volume[:, 1], "mri": volume,
            "mask": np.ones_like(volume), "labels": (9 * volume[..., 0]).astype(np.uint8),
        }  # fmt: skip
        batch["example_mask"][1] = 0
        current, outcome = run.train_step(current, run.prepare_batch(batch), key)
        outcome = parallel.unreplicate(outcome)
        assert outcome["finite"]
        found += [mean.compute() for mean in outcome["means"].values()]
    return found


def test_devices_and_strategies_augment_alike():
    wanted = augmented_losses("jit", 1)
    assert len(set(wanted)) == len(wanted) == 4
    for strategy in ("pmap", "jit"):
        found = augmented_losses(strategy, 4)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, err_msg=strategy)


@pytest.mark.parametrize("strategy", ["pmap", "jit"])
def test_state_is_donated_and_the_hosts_copy_is_not(strategy):
    run, current = make(strategy, 8)
    rng, batch = run.replicate(jax.random.key(7)), run.prepare_batch(next(FakeData()))
    again = run.replicate(parallel.unreplicate(current))
    after, _ = run.train_step(current, batch, rng)
    assert current.params["trained"]["w"].is_deleted()
    assert not batch["x"].is_deleted() and not rng.is_deleted()
    assert not again.params["trained"]["w"].is_deleted()
    assert after.params["trained"]["w"].sharding.is_fully_replicated
    assert len(after.params["trained"]["w"].sharding.device_set) == 8


def test_batches_are_padded_with_examples_that_do_not_count():
    run, _ = make("jit", 8)
    batch = {**next(FakeData(batch_size=6)), "subject": np.array(list("abcdef"))}
    placed = run.prepare_batch(batch)
    assert "subject" not in placed and placed["x"].shape == (8, 3)
    np.testing.assert_array_equal(placed["example_mask"], [1, 1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(placed["x"][6:], np.repeat(batch["x"][5:], 2, 0))
    assert batch["example_mask"].all()


def test_unknown_strategy_is_refused():
    with pytest.raises(InputError, match=r"config.parallel is 'threads', expected pmap or jit"):
        make("threads", 1)


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4"}, False),  # the batch script itself, outside srun
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"JAX_COORDINATOR_ADDRESS": "a:1234"}, True),
    ],
)
def test_several_hosts_are_seen(environment, several):
    assert parallel._several_processes(environment) is several


def test_a_coordinator_without_numbers_is_refused(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(InputError, match="JAX_NUM_PROCESSES is 'two', expected a number"):
        parallel.start_distributed()


def test_one_host_gathers_its_own():
    assert parallel.gather_text("here") == ["here"]
    assert parallel.any_host(True) and not parallel.any_host(False)
