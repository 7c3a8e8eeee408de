"""The common parts of the records of standardised radiographs and volumes."""

from collections.abc import Mapping, Sequence
from typing import Any

from xr2mri_jax.errors import InputError


def frame_record(source_shape: Sequence[int], shape: Sequence[int], side: str) -> dict[str, Any]:
    """The part of a record with source grid, target grid, side and mirroring."""
    return {
        "source_shape": [int(n) for n in source_shape],
        "shape": [int(n) for n in shape],
        "side": side,
        "mirrored": side == "left",
    }


def with_defaults(
    name: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings with their defaults filled in.

    Raises:
      InputError: a key without a default; `name` is the name of the settings in the message.
    """
    unknown = sorted(set(settings) - set(defaults))
    if unknown:
        raise InputError(f"{name}: found the key {unknown[0]!r}, expected {', '.join(defaults)}")
    return {**defaults, **settings}
