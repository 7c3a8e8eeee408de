"""Simulated knee MRI: the DESS signal equation, the coil, the noise, the acquired field."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.phantom.tissues import TISSUES, Tissue

# The value in [0, 1] of cartilage without noise and coil: the fixed scaling rule.
CARTILAGE_LEVEL = 0.42
# Standard deviation of the noise in each channel, median over acquisitions.
NOISE = 0.018
# Extent of the acquired field along d, h, w: 140 mm in the sagittal plane, 160 slices of 0.7 mm.
FIELD_MM = (140.0, 140.0, 112.0)


@dataclasses.dataclass(frozen=True)
class Dess:
    """Parameters of the double echo in steady state sequence.

    The defaults are those of the Osteoarthritis Initiative's sagittal 3D DESS with water
    excitation (Peterfy et al., Osteoarthritis Cartilage 16:1433-1441, 2008).

    Attributes:
      tr_ms, te_ms: repetition and echo time, ms.
      flip_deg: flip angle, degrees.
      fat_left: share of the fat signal that remains after water excitation.
    """

    tr_ms: float = 16.3
    te_ms: float = 4.7
    flip_deg: float = 25.0
    fat_left: float = 0.03


def dess_echoes(t1_ms: float, t2_ms: float, sequence: Dess | None = None) -> tuple[float, float]:
    """The two echoes of DESS for unit proton density.

    FISP (S+), `te_ms` after the pulse, and PSIF (S-), `te_ms` before the next one:
      S+ = tan(a/2) [1 - (E1 - cos a) r] exp(-TE / T2)
      S- = tan(a/2) [1 - (1 - E1 cos a) r] exp(+TE / T2)
    with r = (1 - E2^2) / sqrt(p^2 - q^2), p = 1 - E1 cos a - E2^2 (E1 - cos a),
    q = E2 (1 - E1)(1 + cos a), Ei = exp(-TR / Ti).

    Source: Bruder et al., Magn Reson Med 7:35-42, 1988; Haenicke and Vogel, Magn Reson Med
    49:771-775, 2003; Welsch et al., Magn Reson Med 62:544-549, 2009.

    Args:
      t1_ms, t2_ms: relaxation times, ms.
      sequence: its parameters; None: the Osteoarthritis Initiative's.

    Returns:
      (S+, S-), both at least 0.
    """
    sequence = sequence or Dess()
    angle = np.deg2rad(sequence.flip_deg)
    e1, e2 = np.exp(-sequence.tr_ms / t1_ms), np.exp(-sequence.tr_ms / t2_ms)
    cosine = np.cos(angle)
    p = 1.0 - e1 * cosine - e2**2 * (e1 - cosine)
    q = e2 * (1.0 - e1) * (1.0 + cosine)
    r = (1.0 - e2**2) / np.sqrt(p**2 - q**2)
    fisp = np.tan(angle / 2) * (1.0 - (e1 - cosine) * r) * np.exp(-sequence.te_ms / t2_ms)
    psif = np.tan(angle / 2) * (1.0 - (1.0 - e1 * cosine) * r) * np.exp(sequence.te_ms / t2_ms)
    return float(fisp), max(float(psif), 0.0)


def tissue_signal(tissue: Tissue, sequence: Dess | None = None) -> float:
    """Combined DESS signal of one tissue: root sum of squares of both echoes.

    Water excitation is a factor on the fat protons, see `Dess.fat_left`.
    """
    sequence = sequence or Dess()
    fisp, psif = dess_echoes(tissue.t1_ms, tissue.t2_ms, sequence)
    excited = 1.0 - tissue.fat_fraction * (1.0 - sequence.fat_left)
    return tissue.proton_density * excited * math.hypot(fisp, psif)


@functools.lru_cache(maxsize=8)
def signal_table(sequence: Dess | None = None) -> np.ndarray:
    """Signal by label code relative to cartilage: f32[n], read-only, 1 for cartilage."""
    table = np.zeros(max(t.code for t in TISSUES.values()) + 1, np.float32)
    for tissue in TISSUES.values():
        table[tissue.code] = tissue_signal(tissue, sequence)
    table /= table[TISSUES["femoral_cartilage"].code]
    table.flags.writeable = False
    return table


def acquire(signal: jax.Array, key: jax.Array) -> jax.Array:
    """Simulates the acquisition of the signal: coil sensitivity, Rician noise, fixed scale.

    Args:
      signal: f32[d, h, w] relative to cartilage = 1.
      key: typed key of this acquisition.

    Returns:
      f32[d, h, w] in [0, 1]; cartilage is at about CARTILAGE_LEVEL, values above 1 (free fluid near
      the coil) are clipped.
    """
    scanner, thermal = jax.random.split(key)
    draws = jnp.clip(jax.random.normal(scanner, (7,)), -2.0, 2.0)
    noise = NOISE * jnp.exp(0.2 * draws[6]) * jax.random.normal(thermal, (2, *signal.shape))
    clean = CARTILAGE_LEVEL * signal * coil_sensitivity(draws[:6], signal.shape)
    return jnp.minimum(jnp.sqrt((clean + noise[0]) ** 2 + noise[1] ** 2), 1.0)


def coil_sensitivity(draws: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Smooth, positive field about 1: f32[d, h, w], an exponential of a quadratic in d, h, w.

    A knee coil is most sensitive near its wall and falls off along the leg.

    Args:
      draws: f32[6], standard normal: linear and square terms along d, h, w.
      shape: (d, h, w).
    """
    linear, square = 0.05 * draws[:3], 0.05 * draws[3:]
    square = square + jnp.array([0.08, -0.22, 0.08])
    total = jnp.zeros((1, 1, 1))
    for axis, n in enumerate(shape):
        t = (2.0 * jnp.arange(n) + 1.0) / n - 1.0
        profile = linear[axis] * t + square[axis] * (t * t - 1.0 / 3.0)
        total = total + jnp.expand_dims(profile, [a for a in range(3) if a != axis])
    return jnp.exp(total)


def field_mask(key: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """The acquired field: bool[d, h, w] on the canonical grid.

    The field is FIELD_MM wide, a few mm off the joint's centre and rotated a few degrees about the
    leg's axis, as in a technician's planning.
    """
    draws = jnp.clip(jax.random.normal(key, (4,)), -2.0, 2.0)
    offset = jnp.array([4.0, 5.0, 3.0]) * draws[:3]
    turn = jnp.deg2rad(3.0) * draws[3]
    y, z, x = (
        (jnp.arange(n) + 0.5) * (extent / n) - 0.5 * extent - offset[axis]
        for axis, (n, extent) in enumerate(zip(shape, BOX_MM, strict=True))
    )
    y, z, x = y[:, None, None], z[None, :, None], x[None, None, :]
    along, across = jnp.cos(turn) * y + jnp.sin(turn) * x, jnp.cos(turn) * x - jnp.sin(turn) * y
    depth, height, width = FIELD_MM
    inside = (jnp.abs(along) <= 0.5 * depth) & (jnp.abs(across) <= 0.5 * width)
    return inside & (jnp.abs(z) <= 0.5 * height)
