"""Test-time augmentation: averages predictions over a few slightly shifted views.

The logits of the views are averaged: the output of a network trained on few radiographs may change
if the knee moves by a few pixels.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Rotation in degrees, magnification, shift down and to the right as shares of height and width. The
# first view is the radiograph itself; the others cancel out on average.
VIEWS = (
    (0.0, 1.0, 0.0, 0.0),
    (5.0, 1.05, 0.02, 0.02),
    (-5.0, 0.95, -0.02, 0.02),
    (5.0, 0.95, 0.02, -0.02),
    (-5.0, 1.05, -0.02, -0.02),
)


def over_views(function: Callable[[jax.Array], Any], xray: jax.Array) -> Any:
    """Applies a function to each view in turn.

    Args:
      function: f32[b, h, w, 1] to a pytree of arrays.
      xray: f32[b, h, w, 1].

    Returns:
      The pytree with a first axis of the size of VIEWS.
    """
    places = jnp.asarray(_places(xray.shape[1:3]))
    return jax.lax.map(lambda place: function(_moved(xray, place)), places)


def averaged(classify: Callable[[jax.Array], jax.Array], xray: jax.Array) -> jax.Array:
    """Mean logits f32[b, k] of the views; arguments as for `over_views`."""
    return jnp.mean(over_views(classify, xray), axis=0)


def _places(shape: tuple[int, ...]) -> np.ndarray:
    """Row and column in the radiograph of every pixel of every view: f32[views, 2, h, w]."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    places = []
    for degrees, scale, down, right in VIEWS:
        cosine, sine = (f(math.radians(degrees)) / scale for f in (math.cos, math.sin))
        rows, columns = y - down * height, x - right * width
        places.append((cosine * rows + sine * columns, -sine * rows + cosine * columns))
    middle = np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    return (np.array(places) + middle).astype(np.float32)


def _moved(xray: jax.Array, place: jax.Array) -> jax.Array:
    """Bilinear values at rows and columns f32[2, h, w]; outside, the nearest pixel's."""

    def one(image: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(image, list(place), order=1, mode="nearest")

    return jax.vmap(one)(xray[..., 0])[..., None]
