"""The knee finder's network: probability maps of joint centres and ends of joint lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from xr2mri_jax.files import atomic_path
from xr2mri_jax.preprocess.knee_finder.view import SIZE

# One map each: the joint's centre and the joint line's ends at smaller and at larger column.
POINTS = ("centre", "first_end", "second_end")
SIDES = ("right", "left")  # order of the maps: POINTS of the right knee, then of the left one
# Pixels of a map each way; a map's pixel j covers the view's pixels 2 j and 2 j + 1.
CELLS = SIZE // 2
# Channels of the levels, each of half the size of the one before; groups of the normalisation.
WIDTHS, GROUPS = (12, 24, 40, 64, 64), 4
WEIGHTS = Path(__file__).with_name("weights.npz")


class KneeFinder(nn.Module):
    """An encoder and decoder with additive skips (Ronneberger et al. 2015, Lin et al. 2017).

    Attributes:
      widths: channels of the levels, each of half the size of the one before.
    """

    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, views: jax.Array) -> jax.Array:
        """Logits of every point's position.

        Args:
          views: f32[b, SIZE, SIZE, 2] of `view.normalise`.

        Returns:
          f32[b, 6, CELLS * CELLS + 1]; the last entry, a constant 0, means that the point is not
          in the view.
        """
        levels = []
        x = nn.Conv(self.widths[0], (5, 5), (2, 2), use_bias=False)(views)
        x = _unit(x)
        for depth, width in enumerate(self.widths):
            if depth:
                x = _unit(nn.Conv(width, (3, 3), (2, 2), use_bias=False)(x))
            x = x + _unit(nn.Conv(width, (3, 3), use_bias=False)(x))
            levels.append(x)
        for skip in levels[-2::-1]:
            b, h, w, width = skip.shape
            x = nn.Conv(width, (1, 1))(x)
            x = jnp.broadcast_to(x[:, :, None, :, None], (b, h // 2, 2, w // 2, 2, width))
            x = skip + x.reshape(b, h, w, width)
            x = x + _unit(nn.Conv(width, (3, 3), use_bias=False)(x))
        x = nn.Conv(len(POINTS) * len(SIDES), (1, 1))(x)
        maps = jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1, CELLS * CELLS)
        return jnp.concatenate([maps, jnp.zeros_like(maps[..., :1])], axis=-1)


def _unit(x: jax.Array) -> jax.Array:
    return nn.relu(nn.GroupNorm(num_groups=GROUPS)(x))


def initial(key: jax.Array) -> Any:
    """Untrained parameters."""
    return jax.jit(KneeFinder().init)(key, jnp.zeros((1, SIZE, SIZE, 2)))["params"]


def save_weights(path: str | os.PathLike[str], parameters: Mapping[str, Any]) -> None:
    """Writes parameters as float16 in an .npz, atomically; names join the tree's keys with "/"."""
    flat = traverse_util.flatten_dict(parameters, sep="/")
    arrays = {name: np.asarray(value, np.float16) for name, value in flat.items()}
    with atomic_path(path) as partial:
        np.savez_compressed(partial, allow_pickle=False, **arrays)


def load_weights(path: str | os.PathLike[str] = WEIGHTS) -> Any:
    """Reads what `save_weights` wrote, as float32."""
    with np.load(path) as arrays:
        flat = {name: arrays[name].astype(np.float32) for name in arrays.files}
    return traverse_util.unflatten_dict(flat, sep="/")


def probabilities(parameters: Any, views: jax.Array) -> jax.Array:
    """f32[b, 6, CELLS * CELLS + 1] of views f32[b, SIZE, SIZE, 2]; each map sums to 1."""
    logits = jnp.asarray(KneeFinder().apply({"params": parameters}, views))
    return jax.nn.softmax(logits, axis=-1)
