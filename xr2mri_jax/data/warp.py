"""Random in-plane movement of radiograph and volume: shift, rotation, magnification, deformation.

All arrays of an example are sampled once, at the same source positions.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom.surfaces import LIMIT_MM

MOVED = ("xray", "mri", "mask", "labels", "distances")
_GEOMETRIC = ("shift", "rotate", "scale", "elastic")
# Control points of a deformation along each axis, of which the outermost lie outside the image.
_CONTROLS = 8


class Source(NamedTuple):
    """The source position of each pixel of an [h, w] plane, in pixels: rows, columns f32[h, w]."""

    rows: jax.Array
    columns: jax.Array


def is_active(strength: Mapping[str, float]) -> bool:
    """Whether any augmentation changes positions."""
    return any(strength[name] for name in _GEOMETRIC)


def apply(
    example: Mapping[str, jax.Array], key: jax.Array, strength: Mapping[str, float]
) -> dict[str, jax.Array]:
    """Moves the arrays of one example; see `augment.apply` for the borders.

    Args:
      example: any of `MOVED`, as in a batch, without the batch axis.
      key: random key.
      strength: from `augment.strengths`.

    Raises:
      InputError: at tracing, if the planes of the arrays have different sizes; those of distances
        may be smaller by an integer factor.
    """
    shape = _plane_of(example)
    limit = int(strength["shift"])
    # One draw, because every draw is a loop of its own to compile.
    drawn = jax.random.uniform(key, (5 + 2 * _CONTROLS**2,), minval=-1, maxval=1)
    choices = 2 * limit + 1
    shift = jnp.minimum(jnp.floor((drawn[:2] + 1) / 2 * choices), choices - 1) - limit
    shift = shift.astype(jnp.int32)
    magnification = 1.0 + strength["scale"] * drawn[2]
    source = positions(shape, shift, math.radians(strength["rotate"]) * drawn[3], magnification)
    if strength["elastic"]:
        controls = drawn[5:].reshape(2, _CONTROLS, _CONTROLS)
        # Of a random size, so that some radiographs are almost unchanged.
        down, right = strength["elastic"] * drawn[4] * deformation(controls, shape)
        source = Source(source.rows + down, source.columns + right)
    only_shifts = not any(strength[name] for name in _GEOMETRIC if name != "shift")
    changed = {}
    for name, array in example.items():
        if name == "distances":
            changed[name] = _distances(array, source, magnification)
        elif only_shifts:
            # Shifts by whole pixels need no interpolation.
            changed[name] = _shifted(array, name, shift, limit)
        else:
            changed[name] = _sampled(array, name, source)
    return changed


def positions(
    shape: tuple[int, int], shift: jax.Array, angle: jax.Array, magnification: jax.Array
) -> Source:
    """Source positions of target pixels: rotation and magnification about the centre, then shift.

    Args:
      shape: (h, w).
      shift: (down, right) in pixels.
      angle: in radians; a quarter turn equals `numpy.rot90`.
      magnification: above 0; 2 doubles the size of everything.
    """
    height, width = shape
    middle = (height - 1) / 2, (width - 1) / 2
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(middle[0]) - shift[0]
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(middle[1]) - shift[1]
    cosine, sine = jnp.cos(angle) / magnification, jnp.sin(angle) / magnification
    return Source(cosine * y + sine * x + middle[0], cosine * x - sine * y + middle[1])


def deformation(controls: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """A smooth field from f32[a, n, n] at the control points of cubic B-splines: f32[a, h, w].

    The basis is a partition of unity, so the field's values lie between those of the controls.
    """
    along_h, along_w = (cubic_basis(n, controls.shape[1]) for n in shape)
    exact = jax.lax.Precision.HIGHEST
    rows = jnp.einsum("hi,aij->ahj", along_h, controls, precision=exact)
    return jnp.einsum("ahj,wj->ahw", rows, along_w, precision=exact)


def cubic_basis(pixels: int, controls: int) -> np.ndarray:
    """f32[pixels, controls]: the uniform cubic B-splines at the pixels' centres.

    The pixels cover the controls - 3 intervals between the second and the last but one point.
    """
    place = (np.arange(pixels) + 0.5) / pixels * (controls - 3)
    away = np.abs(place[:, None] + 1 - np.arange(controls))
    near = 2 / 3 - away**2 + away**3 / 2
    far = np.maximum(2 - away, 0) ** 3 / 6
    return np.where(away < 1, near, far).astype(np.float32)


def linear(planes: jax.Array, source: Source, zero_border: bool) -> jax.Array:
    """Bilinear values of f32[..., h, w] at the positions; the border is 0 or repeats the edge."""
    height, width = planes.shape[-2:]
    rows = jnp.clip(source.rows, 0, height - 1)
    columns = jnp.clip(source.columns, 0, width - 1)
    top = jnp.minimum(rows.astype(jnp.int32), max(height - 2, 0))
    left = jnp.minimum(columns.astype(jnp.int32), max(width - 2, 0))
    below, beside = min(1, height - 1) * width, min(1, width - 1)
    down, right = ((rows - top).reshape(-1, 1), (columns - left).reshape(-1, 1))
    place = (top * width + left).ravel()
    flat = _columns(planes)

    def between(first: jax.Array, second: jax.Array, share: jax.Array) -> jax.Array:
        return first + share * (second - first)

    def at(places: jax.Array) -> jax.Array:
        return flat.at[places].get(mode="promise_in_bounds")

    upper = between(at(place), at(place + beside), right)
    lower = between(at(place + below), at(place + below + beside), right)
    return _planes(between(upper, lower, down), planes, source, zero_border)


def nearest(planes: jax.Array, source: Source) -> jax.Array:
    """Nearest values of [..., h, w] at the positions, 0 outside."""
    height, width = planes.shape[-2:]
    rows = jnp.clip(jnp.rint(source.rows), 0, height - 1).astype(jnp.int32)
    columns = jnp.clip(jnp.rint(source.columns), 0, width - 1).astype(jnp.int32)
    found = _columns(planes).at[(rows * width + columns).ravel()].get(mode="promise_in_bounds")
    return _planes(found, planes, source, True)


def _columns(planes: jax.Array) -> jax.Array:
    """[..., h, w] as [h * w, n], so that one gather fetches the n values of a pixel."""
    height, width = planes.shape[-2:]
    return planes.reshape(-1, height * width).T


def _planes(found: jax.Array, planes: jax.Array, source: Source, zero_border: bool) -> jax.Array:
    """[h * w, n] in the shape of `planes`, 0 outside if `zero_border`."""
    if zero_border:
        height, width = planes.shape[-2:]
        inside = (source.rows >= 0) & (source.rows <= height - 1)
        inside &= (source.columns >= 0) & (source.columns <= width - 1)
        found = jnp.where(inside.reshape(-1, 1), found, jnp.zeros((), found.dtype))
    return found.T.reshape(planes.shape)


def _sampled(array: jax.Array, name: str, source: Source) -> jax.Array:
    if name == "labels":
        return nearest(array, source)
    found = linear(array[..., 0], source, zero_border=name != "xray")
    if name == "mask":
        found = (found > 0.999).astype(array.dtype)
    return found[..., None]


def _shifted(array: jax.Array, name: str, shift: jax.Array, limit: int) -> jax.Array:
    """Shifts an array by integer pixels: a slice of the padded array."""
    first = array.ndim - 2 if name == "labels" else array.ndim - 3
    around = [(limit, limit) if first <= axis < first + 2 else (0, 0) for axis in range(array.ndim)]
    padded = jnp.pad(array, around, mode="edge" if name == "xray" else "constant")
    starts = [jnp.int32(0)] * array.ndim
    starts[first : first + 2] = [limit - shift[0], limit - shift[1]]
    return jax.lax.dynamic_slice(padded, starts, array.shape)


def _distances(array: jax.Array, source: Source, magnification: jax.Array) -> jax.Array:
    """Signed distances f32[k, d', h', w'] in mm, moved and magnified with the knee.

    Exact where the nearest surface faces along the plane, as in the joint space. Distances at the
    storage limit stay there.
    """
    found = linear(array, _coarser(source, array.shape[-2:]), zero_border=False)
    grown = jnp.clip(found * magnification, -LIMIT_MM, LIMIT_MM)
    return jnp.where(jnp.abs(found) < LIMIT_MM, grown, found)


def _coarser(source: Source, shape: tuple[int, ...]) -> Source:
    """The positions on a grid of the same plane with pixels larger by an integer factor."""
    factor = source.rows.shape[0] // shape[0]
    rows, columns = (
        (values.reshape(shape[0], factor, shape[1], factor).mean((1, 3)) + 0.5) / factor - 0.5
        for values in source
    )
    return Source(rows, columns)


def _plane_of(example: Mapping[str, jax.Array]) -> tuple[int, int]:
    """(h, w) of the radiograph and the volume."""
    planes = {
        name: array.shape[-2:] if name in ("labels", "distances") else array.shape[-3:-1]
        for name, array in example.items()
    }
    near = planes.pop("distances", None)
    name = "xray" if "xray" in planes else next(iter(planes), "distances")
    height, width = planes.get(name) or near or (0, 0)
    for other, found in planes.items():
        if found != (height, width):
            raise InputError(
                f"config.data.augment: the {other} has planes of {found}, expected {height} x "
                f"{width} like the {name}, because both move together"
            )
    if near is not None and (near[0] * (height // near[0]), near[1] * (height // near[0])) != (
        height,
        width,
    ):
        raise InputError(
            f"config.data.augment: the distances have planes of {near}, expected {height} x "
            f"{width} or an integer fraction of it"
        )
    return height, width
