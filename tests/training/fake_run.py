"""A stage of a few numbers and batches from memory, to test training without any dataset.

Run as a script it trains in a folder: python fake_run.py FOLDER [KEY=VALUE ...]
"""

import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.errors import WorkError
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import loop, parallel

EXAMPLES = 24
OPTIMIZER = {
    "learning_rate": 0.05,
    "warmup_steps": 0,
    "weight_decay": 1e-3,
    "clip_norm": 1.0,
    "muon_learning_rate": 0.0,
}


class FakeStage:
    """prediction = scale * (x . w) + b + noise; scale is frozen; loss = its squared error.

    The noise is drawn by the loss and by the augmentation of a small radiograph.
    """

    name = "fake"
    fields = ("x", "y")

    def __init__(self, noise=0.1):
        self.noise = noise

    def create(self, rng):
        w = jax.random.normal(jax.random.fold_in(rng, 0), (3, 1))
        scale = jnp.array([-0.0, 0.0, 1.5])
        return {"frozen": {"scale": scale}, "trained": {"w": w, "b": jnp.zeros(1)}}, {}

    def init(self, rng, batch):
        assert batch["x"].shape[1:] == (3,)
        return self.create(rng)

    def fitted(self, params, batches):
        return params

    def trainable(self, params):
        return {"frozen": {"scale": False}, "trained": {"w": True, "b": True}}

    def error(self, params, batch):
        found = params["frozen"]["scale"][2] * (batch["x"] @ params["trained"]["w"])[:, 0]
        return found + params["trained"]["b"][0] - batch["y"]

    def loss(self, params, model_state, batch, rng, train):
        noise = jax.vmap(lambda key: jax.random.normal(key, ()))(rng)
        seen = jnp.mean(batch["xray"], axis=(1, 2, 3)) + batch.get("share", 0.0)
        value = jnp.square(self.error(params, batch) + self.noise * (noise + seen))
        return value, (model_state, {"noise": noise})

    def evaluate(self, params, model_state, batch):
        return {"squared": jnp.square(self.error(params, batch))}

    def pictures(self, params, model_state, batch):
        assert len(batch["x"]) <= 4
        return {"a row": np.linspace(0, 1, 60).reshape(1, 60).repeat(8, 0)}


class FakeData:
    """A new order of the examples every epoch, from the seed and the epoch alone."""

    def __init__(self, batch_size=6, epochs=None, seed=0, bad_at=None, pause=0.0, shard=(0, 1)):
        self.batch_size, self.epochs, self.seed, self.position = batch_size, epochs, seed, 0
        self.bad_at, self.pause, self.shard = bad_at, pause, shard
        rng = np.random.default_rng(1)
        self.x = rng.normal(size=(EXAMPLES, 3)).astype(np.float32)
        self.xray = 1 / (1 + np.exp(-self.x[:, :, None, None] - self.x[:, None, :, None]))
        self.y = (self.x @ np.array([1.0, -2.0, 0.5])).astype(np.float32)

    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(self.pause)
        a_pass = -(-EXAMPLES // self.batch_size)
        epoch, at = divmod(self.position, a_pass)
        if epoch == self.epochs:
            raise StopIteration
        order = np.random.default_rng((self.seed, epoch)).permutation(EXAMPLES)
        index = order[at * self.batch_size :][: self.batch_size].astype(np.int32)
        index = index[self.shard[0] :: self.shard[1]]
        self.position += 1
        x = self.x[index]
        if self.position == self.bad_at:
            x = np.full_like(x, np.nan)
        mask = np.ones(len(index), np.float32)
        other = (index + 1) % EXAMPLES
        return {
            "x": x,
            "y": self.y[index],
            "index": index,
            "example_mask": mask,
            "xray": self.xray[index],
            "other_xray": self.xray[other],
            "other_kl": other,
        }

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]

    def close(self):
        pass


class FakeInputs:
    """Endless training batches and a pass over the same examples."""

    def __init__(self, data=None, evaluation=None, fingerprints=None):
        self.shard = (parallel.host_index(), parallel.host_count())
        self.data = data or FakeData(shard=self.shard)
        self.own_evaluation, self.given = evaluation, fingerprints or {}

    def example(self):
        return {
            "x": jax.ShapeDtypeStruct((1, 3), np.float32),
            "y": jax.ShapeDtypeStruct((1,), np.float32),
        }

    def training(self):
        return self.data

    def evaluation(self):
        if self.own_evaluation is not None:
            return self.own_evaluation()
        return FakeData(batch_size=8, epochs=1, shard=self.shard)

    def fingerprints(self):
        return self.given

    def fitted(self):
        return iter(())


def config(**changes):
    """A plain config with the keys that the loop reads; keys like optimizer__ema_decay too."""
    made = recipe.plain(recipe.default("cae"))
    made.update(steps=20, log_every=3, eval_every=10, checkpoint_every=4)
    made["optimizer"].update(learning_rate=0.3, warmup_steps=2)
    made["data"]["augment"].update(shift=1.0, noise=0.1)
    made["data"]["mixup"] = 0.4
    for name, value in changes.items():
        place = made
        *parents, key = name.split("__")
        for parent in parents:
            place = place[parent]
        assert key in place
        place[key] = value
    return made


def fit(folder, stage=None, data=None, devices=None, evaluation=None, fingerprints=None, **changes):
    """Trains the fake stage in `folder`; returns the loop's exit code."""
    return loop.fit(
        config(**changes),
        Path(folder),
        stage or FakeStage(),
        FakeInputs(data, evaluation, fingerprints),
        devices or jax.devices()[:1],
    )


if __name__ == "__main__":
    options = dict(argument.split("=") for argument in sys.argv[2:])
    pause = float(options.pop("pause", 0))
    changes = {key: json.loads(value) for key, value in options.items()}
    parallel.start_distributed()
    shard = (parallel.host_index(), parallel.host_count())
    devices = jax.devices() if shard[1] > 1 else None
    try:
        code = fit(sys.argv[1], None, FakeData(pause=pause, shard=shard), devices, **changes)
    except WorkError as error:
        sys.exit(f"error: {error}")
    sys.exit(code)
