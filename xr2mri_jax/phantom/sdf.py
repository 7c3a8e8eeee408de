"""Signed distances (negative inside) of simple shapes, and their smooth combinations.

All arguments are f32 arrays or scalars that broadcast; lengths share one unit. The distances are
approximate away from the surface and accurate to a few per cent near it, which suffices for partial
volume. Smooth minimum and ellipsoid: I. Quilez, "distance functions", iquilezles.org.
"""

from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Value = jax.Array | float


def ellipsoid(x: Array, y: Array, z: Array, rx: Value, ry: Value, rz: Value) -> Array:
    """Ellipsoid with radii (rx, ry, rz) at the origin."""
    ax, ay, az = x / rx, y / ry, z / rz
    k0 = jnp.sqrt(ax * ax + ay * ay + az * az + 1e-6)
    bx, by, bz = ax / rx, ay / ry, az / rz
    return k0 * (k0 - 1.0) * jax.lax.rsqrt(bx * bx + by * by + bz * bz + 1e-9)


def ellipsoids(x: Array, y: Array, z: Array, rows: Any) -> Array:
    """Several ellipsoids at once, which compiles in a fraction of the time of one by one.

    Args:
      x, y, z: f32 of one shape.
      rows: f32[n, 6], centre x, y, z and radius x, y, z of each.

    Returns:
      f32[n, *shape of x].
    """
    table = jnp.asarray(rows).reshape((-1, 6) + (1,) * x.ndim)
    cx, cy, cz, rx, ry, rz = (table[:, column] for column in range(6))
    return ellipsoid(x - cx, y - cy, z - cz, rx, ry, rz)


def tube(x: Array, y: Array, rx: Value, ry: Value) -> Array:
    """Infinite tube along the third axis with an elliptic section; radii may vary by voxel."""
    ax, ay = x / rx, y / ry
    k0 = jnp.sqrt(ax * ax + ay * ay + 1e-6)
    bx, by = ax / rx, ay / ry
    return k0 * (k0 - 1.0) * jax.lax.rsqrt(bx * bx + by * by + 1e-9)


def capsules(x: Array, y: Array, z: Array, rows: Any) -> Array:
    """Several capsules at once.

    Args:
      x, y, z: f32 of one shape.
      rows: f32[n, 7], start x, y, z, end x, y, z and radius of each. A flat band is a capsule whose
        start, end and points lack one coordinate.

    Returns:
      f32[n, *shape of x].
    """
    table = jnp.asarray(rows).reshape((-1, 7) + (1,) * x.ndim)
    ax, ay, az, bx, by, bz, radius = (table[:, column] for column in range(7))
    dx, dy, dz = bx - ax, by - ay, bz - az
    px, py, pz = x - ax, y - ay, z - az
    t = jnp.clip((px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz), 0.0, 1.0)
    px, py, pz = px - t * dx, py - t * dy, pz - t * dz
    return jnp.sqrt(px * px + py * py + pz * pz + 1e-6) - radius


def smooth_union(a: Array, b: Array, k: float) -> Array:
    """Smooth minimum; the blend is `k` wide and swells the surface by at most k / 4."""
    h = jnp.maximum(k - jnp.abs(a - b), 0.0)
    return jnp.minimum(a, b) - h * h * (0.25 / k)


def smooth_intersection(a: Array, b: Array, k: float) -> Array:
    """Smooth maximum, the counterpart of `smooth_union`."""
    h = jnp.maximum(k - jnp.abs(a - b), 0.0)
    return jnp.maximum(a, b) + h * h * (0.25 / k)


def smooth_step(low: Array | float, high: Array | float, t: Array) -> Array:
    """0 if t is at `low` or beyond, 1 at `high` or beyond (low may exceed high)."""
    s = jnp.clip((t - low) / (high - low), 0.0, 1.0)
    return s * s * (3.0 - 2.0 * s)


def bump(u: Array, v: Array, su: Array | float, sv: Array | float) -> Array:
    """Bell of height 1 with standard deviations (su, sv)."""
    return jnp.exp(-0.5 * ((u / su) ** 2 + (v / sv) ** 2))
