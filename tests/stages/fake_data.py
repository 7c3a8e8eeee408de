"""Small made batches, configs and trained folders for the tests of stages."""

import jax
import numpy as np

from xr2mri_jax import stages, workdir
from xr2mri_jax.stages import base
from xr2mri_jax.training import config as recipe

CAE = {"preset": "compact", "image_shape": [16, 16], "channels": [4, 4], "hidden_channels": 3}
GENERATOR = {
    "form": "pyramid",
    "volume_shape": [8, 16, 16],
    "channels": [4, 4],
    "widths": [8, 8],
    "blocks": [0, 1],
}

OFFSET = np.float32(2.0**-7)  # a power of two, so that nothing is rounded


def batch(size=3, seed=0):
    """A batch as the input yields it: xray 16 x 16, volumes 8 x 16 x 16."""
    rng = np.random.default_rng(seed)
    volume = (size, 8, 16, 16, 1)
    return {
        "xray": rng.random((size, 16, 16, 1), np.float32),
        "mri": rng.random(volume, np.float32),
        "mask": (rng.random(volume) < 0.8).astype(np.float32),
        "index": np.arange(size, dtype=np.int32),
        "example_mask": np.ones(size, np.float32),
    }


def config(stage, cae=None, generator=None, **changes):
    """A plain config of a stage with small models."""
    made = recipe.plain(recipe.default(stage))
    made["model"] = {"cae": {}} if cae is None else {"cae": cae}
    if stage != "cae":
        made["model"]["generator"] = {} if generator is None else generator
    return {**made, **changes}


def trained(folder, asked, seed=0):
    """Writes the folder of a run of the stage: resolved config and one checkpoint.

    Returns the stage and its averaged parameters, which differ from the last step's.
    """
    resolved = stages.resolve(asked)
    stage = stages.make_stage(resolved)
    last, model_state = jax.tree.map(np.asarray, base.initialise(stage, jax.random.key(seed)))
    averaged = jax.tree.map(lambda p: p + OFFSET, last)
    state = {
        "step": np.asarray(1, np.int32),
        "params": last,
        "ema_params": averaged,
        "model_state": model_state,
    }
    workdir.write_config(folder, resolved)
    workdir.write_step(folder, 1, state, {}, resolved, 1)
    return stage, averaged


def loss(stage, params, model_state, data):
    """The stage's loss of a training batch."""
    keys = jax.random.split(jax.random.key(0), len(data["index"]))
    return jax.jit(stage.loss, static_argnums=4)(params, model_state, data, keys, True)


def assert_same(found, wanted):
    """Holds two trees to the same bits."""
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
