"""Times the default networks alone: a radiograph to a volume of equal edge length, untrained."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from xr2mri_jax.stages import cae, generator, make_stage
from xr2mri_jax.stages.base import Predicts
from xr2mri_jax.tools.benchmarks import timing
from xr2mri_jax.training import config as recipe


def run(
    size: int, repeats: int, sizes: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Times the encoder and the default generator, batch 1, float32, without compilation.

    Args:
      size: voxels each way, and pixels of the radiograph; a multiple of 16.
      repeats: timed calls.
      sizes: overrides of the sizes of the networks "cae" and "generator".

    Returns:
      JSON-able: voxels, parameters, and median_s, minimum_s, seconds and processor_s as from
      `timing.interleaved`.
    """
    config = recipe.plain(recipe.default("generator"))
    own = {"cae": {}, "generator": {}, **(sizes or {})}
    encoder = {"preset": "compact", "image_shape": (size, size), **own["cae"]}
    decoder = {"form": "pyramid", "volume_shape": (size,) * 3, **own["generator"]}
    config["model"] = {"cae": cae.full_spec(encoder), "generator": generator.full_spec(decoder)}
    stage = make_stage(config)
    assert isinstance(stage, Predicts)
    params, model_state = jax.jit(stage.create)(jax.random.key(0))
    predict = jax.jit(stage.predict)
    xray = jax.device_put(np.random.default_rng(0).random((1, size, size, 1), np.float32))

    def call() -> None:
        volume = jax.block_until_ready(predict(params, model_state, xray))
        assert volume.shape == (1, size, size, size, 1)

    found = timing.interleaved({"predict": call}, repeats)["predict"]
    parameters = sum(int(leaf.size) for leaf in jax.tree.leaves(params))
    return {"voxels": [size] * 3, "parameters": parameters, **found}
