"""Connective tissue of a completed leg: septa in the fat, fascia, streaks in the muscles.

They change the MRI signal only. Their contrast follows one real DESS series, see
tests/phantom/test_dess_contrast.py. Coordinates are as in `bones`.
"""

import jax
import jax.numpy as jnp

from xr2mri_jax.phantom import anatomy, sdf
from xr2mri_jax.phantom.mri import signal_table
from xr2mri_jax.phantom.tissues import CODES

Array = jax.Array

# Septa lie roughly parallel to the skin, at this distance, in mm for a leg of the usual size.
SEPTA_MM = 4.0
# Half the thickness of a septum over SEPTA_MM, and of the fascia in mm.
_THIN, _FASCIA_MM = 0.1, 0.5
# Signal of septa and fascia over that of muscle; share of a muscle's signal left in a streak.
_CONNECTIVE, _STREAK = 0.65, 0.4
# Standard deviation of the bending of septa, over SEPTA_MM.
_BEND = 0.7


def fields(key: Array, relative: list[Array]) -> tuple[Array, Array]:
    """Smooth noise that bends the septa, and noise stretched along the leg for the streaks.

    Args:
      key: typed key.
      relative: positions along d, h and w relative to the box (0..1), f32[n] each.

    Returns:
      f32[d, h, w] each, standard deviation about _BEND and 1.
    """
    bent, streaked = jax.random.split(key)
    cells = 1.6 * _BEND * jax.random.normal(bent, (40, 40, 40))
    bundles = 1.6 * jax.random.normal(streaked, (96, 16, 128))
    # The cells extend beyond the box, so that nothing is mirrored within the leg.
    within = [0.5 * position + 0.25 for position in relative]
    return anatomy.stretch(cells, within), anatomy.stretch(bundles, within)


def add(signal: Array, skin: Array, fascia: Array, noise: tuple[Array, Array, Array]) -> Array:
    """Adds the connective tissue to the signals of `anatomy.soft_layers`, f32[n, h, w].

    Args:
      signal: in the order of `anatomy.SOFT`.
      skin, fascia: f32[h, w], distances to the leg's outer surface and to the deep fascia, negative
        inside.
      noise: of a slab, `fields` and the fine noise of `anatomy.textures`.
    """
    bend, bundles, grain = noise
    names = list(anatomy.SOFT)
    fat, muscle = names.index("fat"), names.index("muscle")
    between = jnp.abs(jnp.mod(skin / SEPTA_MM + bend, 1.0) - 0.5) / _THIN
    # Septa have gaps.
    septa = jnp.exp(-(between**2)) * jnp.clip(0.7 + 0.5 * grain, 0.0, 1.0)
    share = jnp.maximum(septa, jnp.exp(-((fascia / _FASCIA_MM) ** 2)))
    connective = _CONNECTIVE * signal_table()[CODES["muscle"]]
    signal = signal.at[fat].set(signal[fat] + share * (connective - signal[fat]))
    streak = 1.0 - (1.0 - _STREAK) * sdf.smooth_step(1.1, 1.7, bundles)
    return signal.at[muscle].multiply(streak)
