"""Signed distances of the four bones, each in its own frame.

Coordinates of a canonical right knee, in mm before the overall size: x lateral to medial
(+ medial), y anterior to posterior (+ posterior), z superior to inferior (+ inferior). The femur's
frame has its origin on the condylar axis, the tibia's in the middle of the plateau, the patella's
in its centre. Every shape takes the parameters of `parameters.sample` with the rows of `with_rows`
and f32 coordinates of one shape, and returns f32 distances, negative inside.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.phantom import sdf
from xr2mri_jax.phantom.parameters import Parameters

Array = jax.Array


def with_rows(p: Parameters) -> Parameters:
    """Adds the ellipsoids and capsules of the bones, computed on the host.

    Rows of centre and radii f32[n, 6], or of start, end and radius f32[n, 7]; inside a compiled
    function XLA would build these small tables again for every use.

    Args:
      p: from `parameters.sample`.

    Returns:
      `p` and femur_rows (condyles, notch), femur_side_rows (epicondyle and osteophyte, for |x|),
      tibia_side_rows (osteophyte, for |x|), fibula_rows, fibula_shaft_rows.
    """
    c, width, length = p["condyle_spacing"], p["condyle_width"], p["condyle_length"]
    rm, rl, spur = p["medial_condyle"], p["lateral_condyle"], p["osteophyte"]
    fx, fy, fz = p["fibula_lateral"], p["fibula_posterior"], p["fibula_level"]
    rows = {
        "femur_rows": (
            (c, 2.0, 0.0, width, length, rm),
            (c - 3.0, -10.0, -2.0, width + 1.0, length + 1.0, rm + 1.2),
            (-c, 1.0, 0.0, width, length - 0.5, rl),
            (3.0 - c, -12.0, -3.0, width + 1.5, length + 2.5, rl + 2.2),
            (0.5, 19.0, 17.0, p["notch_width"], 29.0, p["notch_height"]),
        ),
        "femur_side_rows": (
            (31.0, -2.0, -5.0, 8.0, 11.0, 11.0),
            (c + width - 3.5 + 0.8 * spur, -4.0, 11.0, 3.0 + 0.5 * spur, 14.0, 4.5),
        ),
        "tibia_side_rows": (
            (
                13.5 + p["tibia_width"] + 0.75 * spur,
                0.0,
                4.0 - 0.3 * spur,
                3.0 + 0.5 * spur,
                13.0,
                2.5 + 0.3 * spur,
            ),
        ),
        "fibula_rows": (
            (fx, fy, fz, 9.5, 10.5, 12.0),
            (fx - 2.5, fy + 4.0, fz - 9.0, 4.5, 4.5, 6.0),
        ),
        "fibula_shaft_rows": ((fx, fy, fz, fx - 1.0, fy - 5.0, fz + 70.0, p["fibula_radius"]),),
    }
    return {**p, **{name: np.array(row, np.float32) for name, row in rows.items()}}


def femur(p: Parameters, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Distal femur: two condyles, trochlea with groove, notch, flaring metaphysis, shaft.

    Returns:
      The distance to the bone, and to the intercondylar notch (negative inside the notch).
    """
    medial, medial_front, lateral, lateral_front, notch = sdf.ellipsoids(x, y, z, p["femur_rows"])
    epicondyles, margins = sdf.ellipsoids(jnp.abs(x), y, z, p["femur_side_rows"])
    medial = sdf.smooth_union(medial, medial_front, 3.0)
    lateral = sdf.smooth_union(lateral, lateral_front, 3.0)
    flare = sdf.smooth_step(-82.0, 2.0, z)
    rx = p["femur_shaft"] + (p["femur_flare"] - p["femur_shaft"]) * flare
    ry = p["femur_shaft"] + (21.0 - p["femur_shaft"]) * flare
    valgus = jnp.tan(jnp.deg2rad(5.0 - 0.5 * p["varus"])) * (z + 10.0)
    body = sdf.tube(x - valgus, y + 9.0 + 4.0 * flare, rx, ry)
    body = sdf.smooth_intersection(body, z - 3.0, 6.0)
    bone = sdf.smooth_union(sdf.smooth_union(medial, lateral, 5.0), body, 8.0)
    bone = sdf.smooth_union(bone, epicondyles, 7.0)
    bone = sdf.smooth_union(bone, margins, 4.0)
    anterior = sdf.smooth_step(-12.0, -28.0, y)
    bone = bone + p["groove_depth"] * anterior * jnp.exp(-0.5 * ((x + 1.0) / 8.5) ** 2)
    return sdf.smooth_intersection(bone, -notch, 4.0), notch


def plateau_height(p: Parameters, x: Array, y: Array) -> Array:
    """Height z of the tibial plateau's bone surface at (x, y): dishes and the two spines."""
    slope = jnp.tan(jnp.deg2rad(p["plateau_slope"])) * y
    dishes = p["dish_depth"] * sdf.bump(x - 20.0, y, 10.0, 14.0)
    dishes += 0.55 * p["dish_depth"] * sdf.bump(x + 20.0, y - 1.0, 9.0, 11.0)
    spines = p["spine_height"] * sdf.bump(x - 5.5, y, 3.1, 8.5)
    spines += 0.88 * p["spine_height"] * sdf.bump(x + 5.5, y - 3.0, 3.1, 8.0)
    return slope + dishes - spines - 0.5 * p["dish_depth"]


def tibia(p: Parameters, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Proximal tibia: plateaus with slope, dishes and spines, metaphysis, shaft, tuberosity.

    Returns:
      The distance to the bone, and the depth below the plateau's surface (mm, positive inside).
    """
    taper = sdf.smooth_step(4.0, 72.0, z)
    rx = p["tibia_width"] + (p["tibia_shaft"] - p["tibia_width"]) * taper
    ry = p["tibia_depth"] + (p["tibia_shaft"] + 2.0 - p["tibia_depth"]) * taper
    away = 17.0 - 13.5 * taper
    forward = y + 5.0 * taper
    varus = jnp.tan(jnp.deg2rad(0.5 * p["varus"])) * z
    x = x - varus
    sides = sdf.smooth_union(
        sdf.tube(x - away, forward - 1.0, rx, ry + 1.0),
        sdf.tube(x + away, forward - 1.5, rx, ry - 1.5),
        8.0,
    )
    depth = z - plateau_height(p, x, y)
    bone = sdf.smooth_intersection(sides, -0.9 * depth, 3.5)
    (tuberosity,) = sdf.ellipsoids(
        x, y, z, np.array([[-2.0, -18.0, 36.0, 10.0, 10.0, 17.0]], np.float32)
    )
    bone = sdf.smooth_union(bone, tuberosity, 8.0)
    (margins,) = sdf.ellipsoids(jnp.abs(x), y, z, p["tibia_side_rows"])
    return sdf.smooth_union(bone, margins, 4.0), depth


def fibula(p: Parameters, x: Array, y: Array, z: Array) -> Array:
    """Fibular head, neck and shaft, in the tibia's frame."""
    head, styloid = sdf.ellipsoids(x, y, z, p["fibula_rows"])
    (shaft,) = sdf.capsules(x, y, z, p["fibula_shaft_rows"])
    return sdf.smooth_union(sdf.smooth_union(head, styloid, 4.0), shaft, 7.0)


def patella(p: Parameters, x: Array, y: Array, z: Array) -> Array:
    """Patella: an ellipsoid that narrows downwards, with two posterior facets and a ridge."""
    narrowing = 1.0 + 0.011 * z
    body = sdf.ellipsoid(
        x * narrowing, y, z, p["patella_width"], p["patella_thickness"], p["patella_height"]
    )
    facets = 0.93 * (y - 0.62 * p["patella_thickness"] + 0.36 * jnp.sqrt(x * x + 6.0))
    return sdf.smooth_intersection(body, facets, 3.0)
