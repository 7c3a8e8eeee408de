"""The sides of a knee, "left" and "right"."""

from xr2mri_jax.errors import InputError

SIDES = ("left", "right")


def checked_side(side: str | None) -> str:
    """Returns `side`; raises InputError unless it is "left" or "right"."""
    if side not in SIDES:
        raise InputError(f"side of the knee is {side!r}: expected one of {', '.join(SIDES)}")
    return side
