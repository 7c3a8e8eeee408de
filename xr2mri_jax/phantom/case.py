"""One phantom case: all stored fields of one knee, determined by (seed, index)."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.geometry import BOX_MM, SIDES
from xr2mri_jax.phantom.anatomy import Voxels, voxelise
from xr2mri_jax.phantom.bones import with_rows
from xr2mri_jax.phantom.mri import acquire, field_mask
from xr2mri_jax.phantom.parameters import Parameters, sample
from xr2mri_jax.phantom.pose import Pose, place
from xr2mri_jax.phantom.radiograph import expose
from xr2mri_jax.phantom.surfaces import stored

# Up to this many voxels, optimised compilation takes longer than it saves.
SMALL = 40_000


def simulate_case(
    seed: int, index: int, shape: tuple[int, int, int], distances: bool = False
) -> dict[str, Any]:
    """Simulates knee `index` of the phantom population `seed`.

    Knees 2 s and 2 s + 1 are the right and the left one of subject s: they share most of their
    anatomy. All arrays are in the canonical frame, in which a left knee looks like a right one.

    Args:
      seed: identifies the population, 0 or more.
      index: number of the knee, 0 or more.
      shape: (d, h, w) in voxels over the canonical box.
      distances: whether to add signed distances; d must be even, h and w multiples of 4.

    Returns:
      xray: u16[h, w, 1], value / 65535 in [0, 1], bone bright.
      mri: u16[d, h, w, 1], the same scale, 0 outside the mask.
      mask: u8[d, h, w, 1], 1 inside the acquired field.
      labels: u8[d, h, w], codes of `tissues.TISSUES`, everywhere.
      side, kl: int, index into SIDES and Kellgren-Lawrence grade.
      subject: str.
      spacing: f32[3], mm along d, h, w.
      distances: i8[k, d / 2, h / 4, w / 4], see `surfaces.stored`; only if requested.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed {seed} and index {index} must be 0 or more")
    d, h, w = shape
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        arrays = jax.device_get(_simulate(seed, index, (d, h, w), distances))
    if distances:
        arrays["distances"] = stored(np.asarray(arrays["distances"]))
    return {
        **{name: np.asarray(value) for name, value in arrays.items() if name != "kl"},
        "kl": int(arrays["kl"]),
        "side": SIDES.index("right" if index % 2 == 0 else "left"),
        "subject": f"phantom{seed}_{index // 2:06d}",
        "spacing": np.array([b / n for b, n in zip(BOX_MM, shape, strict=True)], np.float32),
    }


class Parts(NamedTuple):
    """The compiled parts of the simulation for one shape.

    They are separate because XLA would recompute shared scalars for every use in a single program,
    which makes compilation several times slower.
    """

    place: Callable[[Parameters], Pose]
    voxelise: Callable[[Parameters, Pose, jax.Array], Voxels]
    measure: Callable[[jax.Array, jax.Array, jax.Array], dict[str, jax.Array]]


@functools.lru_cache(maxsize=8)
def compiled_parts(shape: tuple[int, int, int], distances: bool = False) -> Parts:
    """`pose.place`, `anatomy.voxelise` and the measurement, compiled at their first call.

    Compilation takes most of the time for a small dataset, so LLVM's optimisation level depends on
    the number of voxels (level 1 runs as fast as the highest here; level 0 runs ten times slower).
    """
    level = 0 if math.prod(shape) <= SMALL else 1

    def compiled(function: Callable, level: int) -> Callable:
        return jax.jit(function, compiler_options={"xla_backend_optimization_level": level})

    return Parts(
        compiled(place, 0),
        compiled(functools.partial(voxelise, shape=shape, distances=distances), level),
        compiled(_measure, level),
    )


class Draw(NamedTuple):
    """One knee of a population: its parameters with `bones.with_rows`, and the other keys."""

    parameters: Parameters
    surfaces: jax.Array
    measurement: jax.Array


def draw(seed: int, index: int) -> Draw:
    """Draws knee `index` of the population `seed`; typed keys, f32 parameters."""
    subjects, knees = (jax.random.fold_in(jax.random.key(seed), part) for part in (0, 1))
    knee_key = jax.random.fold_in(knees, index)
    parameters = with_rows(sample(jax.random.fold_in(subjects, index // 2), knee_key))
    return Draw(parameters, *(jax.random.fold_in(knee_key, part) for part in (2, 3)))


def _simulate(
    seed: int, index: int, shape: tuple[int, int, int], distances: bool
) -> dict[str, Any]:
    parts = compiled_parts(shape, distances)
    parameters, surfaces, measurement = draw(seed, index)
    voxels = parts.voxelise(parameters, parts.place(parameters), surfaces)
    arrays = parts.measure(voxels.signal, voxels.attenuation, measurement)
    arrays |= {"labels": voxels.labels, "kl": parameters["kl"]}
    return arrays | ({"distances": voxels.distances} if distances else {})


def _measure(signal: jax.Array, attenuation: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
    """MRI, its mask and the radiograph, as they are stored."""
    scan, field, exposure = jax.random.split(key, 3)
    depth_mm, *pixel_mm = (extent / n for extent, n in zip(BOX_MM, signal.shape, strict=True))
    d, h, w = signal.shape
    mask = field_mask(field, (d, h, w))
    return {
        "xray": _to_uint16(expose(attenuation, depth_mm, pixel_mm, exposure)),
        "mri": _to_uint16(jnp.where(mask, acquire(signal, scan), 0.0))[..., None],
        "mask": mask.astype(jnp.uint8)[..., None],
    }


def _to_uint16(image: jax.Array) -> jax.Array:
    """[0, 1] -> integers of 0 to 65535."""
    return jnp.round(image * 65535.0).astype(jnp.uint16)
