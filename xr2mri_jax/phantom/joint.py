"""Signed distances of the joint's inner structures: cartilages, menisci, cruciates, fluid.

Same coordinates and conventions as `bones`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.phantom import sdf
from xr2mri_jax.phantom.parameters import Parameters
from xr2mri_jax.phantom.pose import Point

Array = jax.Array


def cartilages(
    p: Parameters,
    surfaces: tuple,
    in_femur: Point,
    in_tibia: Point,
    in_patella: Point,
    medial: Array,
) -> dict[str, Array]:
    """Distances of the four cartilages: layers on the bones where these articulate.

    A layer of thickness t is the bone grown by t; where a weight falls to 0 it retreats under the
    bone's surface, so that no thin film remains. Bones take precedence and cut overlaps.
    """
    femur, notch, depth, patella = surfaces
    x, y, z = in_femur
    loss = p["lateral_left"] + (p["medial_left"] - p["lateral_left"]) * medial
    weight = sdf.smooth_step(-15.0, -10.0, z + 0.35 * y + 6.0 * sdf.smooth_step(-5.0, -25.0, y))
    weight *= sdf.smooth_step(36.0, 32.0, jnp.abs(x)) * sdf.smooth_step(0.5, 3.0, notch)
    thickness = p["femoral_cartilage"] * (loss + (1.0 - loss) * sdf.smooth_step(2.0, -20.0, y))
    femoral = femur - _layer(thickness, weight)
    tx, ty, _ = in_tibia
    layers = {}
    for name, sign, t in (
        ("medial_tibial_cartilage", 1.0, p["medial_cartilage"] * p["medial_left"]),
        ("lateral_tibial_cartilage", -1.0, p["lateral_cartilage"] * p["lateral_left"]),
    ):
        r2 = ((sign * tx - 20.0) / 14.5) ** 2 + ((ty - 1.0) / 20.0) ** 2
        distance = -depth - _layer(t * jnp.clip(1.1 - 0.4 * r2, 0.0, 1.0), 1.0)
        layers[name] = jnp.maximum(jnp.maximum(distance, 8.0 * (r2 - 1.0)), depth - 4.0)
    px, py, pz = in_patella
    r2 = (px / 18.0) ** 2 + ((pz + 2.0) / 15.0) ** 2
    weight = sdf.smooth_step(1.05, 0.85, r2) * (py > 0.0)
    thickness = p["patellar_cartilage"] * jnp.clip(1.1 - 0.5 * r2, 0.0, 1.0)
    layers["patellar_cartilage"] = patella - _layer(thickness, weight)
    return layers | {"femoral_cartilage": femoral}


def _layer(thickness: Array, weight: Array | float) -> Array:
    return thickness * weight - 1.5 * (1.0 - weight)


def fluid(
    p: Parameters, leg: Point, in_femur: Point, femur: Array, notch: Array, patella: tuple
) -> Array:
    """Distance of the synovial fluid: a film around the condyles and the suprapatellar pouch."""
    x, y, z = in_femur
    weight = sdf.smooth_step(-18.0, -8.0, z + 0.2 * y) * sdf.smooth_step(38.0, 33.0, jnp.abs(x))
    weight *= sdf.smooth_step(0.5, 3.0, notch)
    film = femur - _layer(p["femoral_cartilage"] - 0.5 + 0.22 * p["effusion"], weight)
    swell = 0.3 + 0.4 * jnp.maximum(p["effusion"], 0.0)
    pouch = sdf.ellipsoid(
        leg[0] - patella[0],
        leg[1] - patella[1] - 9.0,
        leg[2] - patella[2] + 19.0,
        14.0,
        swell,
        10.0,
    )
    gutter = sdf.ellipsoid(jnp.abs(x) - 34.0, y + 14.0, z + 2.0, 1.0 + 1.2 * swell, 9.0, 11.0)
    return jnp.minimum(film, jnp.minimum(pouch, gutter))


def cruciates(x: Array, y: Array, z: Array) -> Array:
    """Anterior and posterior cruciate ligament, in the tibia's frame."""
    anterior = (2.0, -11.0, 0.0, -8.0, 12.0, -26.0, 3.8)
    posterior = (0.0, 25.0, 7.0, 7.0, 0.0, -21.0, 4.6)
    return jnp.min(sdf.capsules(x, y, z, np.array([anterior, posterior], np.float32)), axis=0)


def meniscus(p: Parameters, x: Array, y: Array, depth: Array, medial: bool) -> Array:
    """One meniscus: a ring open to the spines that rises outwards; bones and cartilage cut it.

    Args:
      depth: mm below the plateau's bone surface (negative above), from `bones.tibia`.
    """
    sign = 1.0 if medial else -1.0
    u = sign * x - 18.5
    rx, ry = (17.5, 23.0) if medial else (17.0, 20.0)
    rx = rx + p["tibia_width"] - 20.0
    v = y - (2.0 if medial else 1.5)
    radius = jnp.sqrt((u / rx) ** 2 + (v / ry) ** 2 + 1e-6)
    inner = 0.50 if medial else 0.46
    wedge = (inner - radius) * rx + 0.55 * (-depth - 2.0)
    outer = (radius - 1.06) * rx
    opening = -u - (0.62 * rx if medial else 0.75 * rx)
    block = jnp.maximum(-depth - 8.5, depth)
    return jnp.maximum(jnp.maximum(wedge, outer), jnp.maximum(opening, block))
