"""Signed distances of the soft tissues around the bones: muscles, tendons, ligaments, skin.

Same coordinates and conventions as `bones`: the leg's frame has its origin in the joint's centre.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.phantom import sdf
from xr2mri_jax.phantom.parameters import Parameters

Array = jax.Array

# Muscles that cross the box: centre (x, y, z) and radii in mm; long ones end outside the box.
MUSCLES: dict[str, tuple[float, float, float, float, float, float]] = {
    "vastus_medialis": (30.0, -17.0, -66.0, 22.0, 29.0, 50.0),
    "vastus_lateralis": (-33.0, -17.0, -76.0, 21.0, 31.0, 52.0),
    "vastus_intermedius": (-2.0, -36.0, -96.0, 28.0, 16.0, 44.0),
    "biceps_femoris": (-34.0, 33.0, -52.0, 14.0, 21.0, 78.0),
    "semimembranosus": (20.0, 38.0, -56.0, 20.0, 19.0, 66.0),
    "semitendinosus": (24.0, 56.0, -66.0, 13.0, 11.0, 70.0),
    "sartorius": (46.0, 20.0, -38.0, 7.5, 18.0, 76.0),
    "gastrocnemius_medial": (21.0, 42.0, 44.0, 21.0, 18.0, 76.0),
    "gastrocnemius_lateral": (-19.0, 43.0, 48.0, 19.0, 17.0, 74.0),
    "soleus_popliteus": (-2.0, 27.0, 60.0, 30.0, 12.0, 42.0),
    "tibialis_anterior": (-27.0, -8.0, 64.0, 13.0, 17.0, 44.0),
    "peroneus": (-43.0, 14.0, 68.0, 9.0, 14.0, 40.0),
}


def muscles(p: Parameters, x: Array, y: Array, z: Array, fascia: Array) -> Array:
    """All muscles, kept inside the fascia and separated by thin layers of fat.

    Args:
      fascia: distance to the deep fascia, negative inside.

    Returns:
      The distance to the nearest muscle.
    """
    table = np.array(list(MUSCLES.values()), np.float32)

    def nearer(index: Array, two: tuple[Array, Array]) -> tuple[Array, Array]:
        cx, cy, cz, rx, ry, rz = jnp.asarray(table)[index]
        muscle = sdf.ellipsoid(x - cx, y - cy, z - cz, rx * p["bulk"], ry * p["bulk"], rz)
        nearest, second = two
        return jnp.minimum(nearest, muscle), jnp.minimum(second, jnp.maximum(nearest, muscle))

    far = jnp.full_like(fascia, 1e3)
    nearest, second = jax.lax.fori_loop(0, len(table), nearer, (far, far))
    septum = p["fat_in_muscle"] + 0.3 - 0.5 * (second - nearest)
    return jnp.maximum(jnp.maximum(nearest, septum), fascia + 0.5)


def calf(p: Parameters, x: Array, y: Array, z: Array, fascia: Array) -> Array:
    """The muscles behind both bones of the lower leg as one shape, which reaches the bones."""
    bulk = p["bulk"]
    behind = sdf.ellipsoid(x + 4.0, y - 32.0, z - 78.0, 37.0 * bulk, 27.0 * bulk, 68.0)
    return jnp.maximum(behind, fascia + 0.5)


def skin(p: Parameters, x: Array, y: Array, z: Array, patella: Array) -> Array:
    """Outer surface of the leg; it bulges over the patella."""
    thigh = sdf.smooth_step(0.0, -70.0, z)
    calf = jnp.exp(-0.5 * ((z - 55.0) / 30.0) ** 2)
    grow = 0.45 * (p["fat"] - 7.0)
    rx = p["girth"] * (48.0 + 8.5 * thigh + 4.0 * calf) + grow
    ry = p["girth"] * (53.0 + 8.0 * thigh + 3.0 * calf) + grow
    outline = sdf.tube(x, y - 4.0 - 3.0 * calf, rx, ry)
    return sdf.smooth_union(outline, patella - 4.5 - 0.1 * p["fat"], 10.0)


def fascia(p: Parameters, x: Array, y: Array, skin_distance: Array) -> Array:
    """Deep fascia: the skin less subcutaneous fat, thicker medially and behind."""
    thickness = p["fat"] * jnp.clip(1.0 + 0.006 * x + 0.003 * y, 0.5, 1.6)
    return skin_distance + 1.6 + thickness


def tendons(p: Parameters, x: Array, y: Array, z: Array, patella: tuple) -> Array:
    """Quadriceps tendon, patellar tendon, collateral ligaments, in the leg's frame.

    Args:
      patella: its centre (x, y, z).
    """
    px, py, pz = patella
    height = p["patella_height"]
    flat = jnp.zeros_like(x)
    # Attached parts are relative to the patella's centre, so that the rows stay constant.
    above, below = pz - 0.8 * height, pz + 0.7 * height
    (quadriceps,) = sdf.capsules(
        flat, y - py, z - above, np.array([[0.0, -3.0, 0.0, 0.0, 5.0, -65.0, 3.3]], np.float32)
    )
    u = jnp.clip((z - below) / (36.0 - below), 0.0, 1.0)
    tendon = jnp.hypot(y - (py - 4.0) * (1.0 - u) + 27.0 * u, z - below - u * (36.0 - below)) - 2.6
    width = jnp.abs(x - 0.5 * px)
    sheet = jnp.minimum(jnp.maximum(quadriceps, width - 17.0), jnp.maximum(tendon, width - 13.0))
    (medial,) = sdf.capsules(
        x, flat, z, np.array([[39.0, 0.0, -26.0, 29.0, 0.0, 55.0, 1.3]], np.float32)
    )
    medial = jnp.maximum(medial, jnp.abs(y + 2.0) - 9.0)
    (lateral,) = sdf.capsules(
        x, y, z, np.array([[-39.0, -1.0, -26.0, -38.0, 20.0, 19.0, 2.2]], np.float32)
    )
    return jnp.minimum(jnp.minimum(sheet, medial), lateral)


def vessels(x: Array, y: Array, z: Array) -> Array:
    """Popliteal artery and vein, in the leg's frame."""
    artery = (2.0, 26.0, -80.0, -3.0, 31.0, 30.0, 3.0)
    vein = (-5.0, 33.0, -80.0, -7.0, 37.0, 30.0, 3.6)
    return jnp.min(sdf.capsules(x, y, z, np.array([artery, vein], np.float32)), axis=0)


def branches(x: Array, y: Array, z: Array) -> Array:
    """Vessels of the calf, about the joint and under the skin, in the leg's frame."""
    table = [
        (-3.0, 31.0, 30.0, -4.0, 36.0, 110.0, 2.6),  # posterior tibial artery
        (-7.0, 37.0, 30.0, -1.0, 40.0, 110.0, 3.2),  # and vein
        (0.0, 27.0, -38.0, 38.0, -6.0, -34.0, 1.1),  # superior genicular arteries, medial
        (0.0, 27.0, -38.0, -37.0, -4.0, -34.0, 1.1),  # and lateral
        (0.0, 31.0, 22.0, 37.0, -4.0, 24.0, 1.0),  # inferior ones, medial
        (0.0, 31.0, 16.0, -37.0, 2.0, 10.0, 1.0),  # and lateral
        (47.0, 27.0, -90.0, 46.0, 24.0, 110.0, 1.6),  # great saphenous vein
        (-2.0, 58.0, 110.0, -2.0, 40.0, 4.0, 1.3),  # small saphenous vein
    ]
    return jnp.min(sdf.capsules(x, y, z, np.array(table, np.float32)), axis=0)
