"""Random augmentation of a batch on the devices, which keeps radiograph and volume aligned.

Intensities change only in the radiograph (`augment_intensities.py`, `clahe.py`). Positions change
in radiograph and volume by the same in-plane (h, w) map (`warp.py`), so that the volume projected
along d stays aligned with the radiograph; voxels from outside the volume are masked out. All random
numbers come from one key per example, so the result does not depend on devices, hosts or the other
examples of the batch. An augmentation of strength 0 adds nothing to the program.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from xr2mri_jax.data import augment_intensities, warp
from xr2mri_jax.errors import InputError

STRENGTHS = {
    "shift": "largest in-plane shift along h and w, an integer number of pixels",
    "rotate": "largest in-plane rotation in degrees",
    "scale": "largest relative in-plane magnification, 0.05 for 0.95..1.05",
    "elastic": "largest displacement in pixels of a smooth random in-plane deformation",
    "clahe": "largest share, up to 1, of the adaptively equalised radiograph",
    "gamma": "largest natural logarithm of the radiograph's gamma",
    "contrast": "largest natural logarithm of the radiograph's contrast about its mean",
    "brightness": "largest offset of the radiograph's intensity",
    "noise": "largest standard deviation of the noise added to the radiograph",
    "blur": "largest standard deviation in pixels of a Gaussian blur of the radiograph",
    "erase": "largest fraction of the radiograph's area hidden by a uniform rectangle",
}
# Numbers folded into keys: the example itself, its partner in mixup, and their shares.
_MOVE, _CHANGE, _PARTNER, _SHARE = range(4)
# Points of the tabulated quantile function of the shares.
_QUANTILES = 2049


def strengths(augment: Mapping[str, Any] | None) -> dict[str, float]:
    """The strength of every augmentation, 0 if it is not given.

    Args:
      augment: keys of `STRENGTHS` with numbers of at least 0; None: no augmentation.

    Raises:
      InputError: for an unknown key, a value that is not a number of at least 0, a shift that is
        not an integer, a scale of 1 or more, or a share above 1.
    """
    result = dict.fromkeys(STRENGTHS, 0.0)
    for name, value in (augment or {}).items():
        if name not in STRENGTHS:
            raise InputError(
                f"data.augment.{name}: unknown augmentation, expected one of "
                + ", ".join(STRENGTHS)
            )
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise InputError(f"data.augment.{name}: {value!r} found, expected a number >= 0")
        result[name] = float(value)
    if result["shift"] != int(result["shift"]):
        raise InputError(f"data.augment.shift: {result['shift']:g} found, expected an integer")
    if result["scale"] >= 1:
        raise InputError(f"data.augment.scale: {result['scale']:g} found, expected less than 1")
    if result["clahe"] > 1:
        raise InputError(f"data.augment.clahe: {result['clahe']:g} found, expected at most 1")
    return result


def apply(
    batch: Mapping[str, Any],
    keys: jax.Array,
    strength: Mapping[str, float],
    mixup: float = 0.0,
) -> dict[str, Any]:
    """Augments a batch; traceable.

    Args:
      batch: as `batches.make_iterator` yields it: xray f32[b, h, w, 1] in [0, 1]; any of mri and
        mask f32[b, d, h, w, 1], labels u8[b, d, h, w], distances f32[b, k, d', h', w'] in mm; other
        entries stay unchanged.
      keys: key[b], one per example.
      strength: from `strengths`.
      mixup: a > 0 mixes each augmented radiograph with the augmented other_xray, with the weights
        share and 1 - share; share = max(s, 1 - s) with s from Beta(a, a), because a pair is mixed
        in both orders equally often (Zhang et al. 2018, arXiv 1710.09412).

    Returns:
      A new dict of the same shapes and dtypes. The border of a moved radiograph and of moved
      distances repeats their outermost values; a moved volume, its mask and labels are 0 there.
      With `mixup`, share f32[b] in [0.5, 1] and mixed_kl i32[b], the other's grade, replace
      other_xray and other_kl.

    Raises:
      InputError: at tracing, if the planes of radiograph and volume do not match.
    """
    changed = dict(batch)
    moving = warp.is_active(strength)
    names = [name for name in warp.MOVED if name in batch and (moving or name == "xray")]
    if names and any(strength.values()):
        example = {name: batch[name] for name in names}
        changed |= jax.vmap(lambda one, key: _augmented(one, key, strength))(example, keys)
    if mixup:
        other = changed.pop("other_xray")
        changed["mixed_kl"] = changed.pop("other_kl")
        if any(strength.values()):
            partners = jax.vmap(jax.random.fold_in, (0, None))(keys, _PARTNER)
            other = jax.vmap(lambda x, key: _augmented({"xray": x}, key, strength)["xray"])(
                other, partners
            )
        changed["share"] = jax.vmap(lambda key: _share(key, mixup))(keys)
        share = changed["share"][:, None, None, None]
        changed["xray"] = share * changed["xray"] + (1.0 - share) * other
    return changed


def _augmented(
    example: Mapping[str, jax.Array], key: jax.Array, strength: Mapping[str, float]
) -> dict[str, jax.Array]:
    changed = dict(example)
    if warp.is_active(strength):
        changed = warp.apply(changed, jax.random.fold_in(key, _MOVE), strength)
    if "xray" in changed and augment_intensities.is_active(strength):
        change = jax.random.fold_in(key, _CHANGE)
        changed["xray"] = augment_intensities.apply(changed["xray"][..., 0], change, strength)[
            ..., None
        ]
    return changed


def _share(key: jax.Array, concentration: float) -> jax.Array:
    """max(s, 1 - s) of s from Beta(a, a): the quantile function above the median, tabulated."""
    places = np.linspace(0.0, 1.0, _QUANTILES)
    values = special.betaincinv(concentration, concentration, 0.5 + 0.5 * places)
    drawn = jax.random.uniform(jax.random.fold_in(key, _SHARE))
    return jnp.interp(drawn, places.astype(np.float32), values.astype(np.float32))
