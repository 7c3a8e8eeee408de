"""Checks the maps of an encoder that a generator takes."""

from collections.abc import Sequence

import jax

from xr2mri_jax.errors import InputError


def require_maps(hidden: Sequence[jax.Array], volume_shape: tuple[int, ...], levels: int) -> None:
    """Raises InputError unless an encoder's maps are aligned with the volume behind them.

    Args:
      hidden: by level, finest first, [b, h', w', c].
      volume_shape: (d, h, w); level i has the size (h >> i + 1, w >> i + 1).
      levels: number of levels expected.
    """
    wanted = [tuple(size >> i + 1 for size in volume_shape[1:]) for i in range(levels)]
    found = [tuple(x.shape[1:3]) for x in hidden]
    if found != wanted:
        raise InputError(
            f"generator: the encoder's maps are {found}, expected {wanted} for the volume "
            f"{volume_shape} (the radiograph must be as high and wide as the volume)"
        )
