"""Turns a mapping from a config into a frozen, checked model specification."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from xr2mri_jax.errors import InputError

Spec = TypeVar("Spec")


def read(kind: type[Spec], mapping: Mapping[str, Any], where: str) -> Spec:
    """Builds the frozen dataclass `kind` from `mapping`; every field's type is checked.

    Args:
      kind: dataclass whose fields are `int`, `float`, `str` or `tuple[int, ...]`, as by their
        defaults; a field without default is a required `tuple[int, ...]`.
      mapping: values by field name; lists are accepted for tuples, integers for floats.
      where: the mapping's name in messages, such as "model.cae".

    Raises:
      InputError: an unknown key, a missing key, or a value of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key in mapping:
        if key not in fields:
            raise InputError(f"{where}.{key}: unknown key; known are {', '.join(sorted(fields))}")
        values[key] = _checked(mapping[key], fields[key].default, f"{where}.{key}")
    for name, field in fields.items():
        if name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"{where}.{name} is missing: expected integers")
    return kind(**values)


def _checked(value: Any, default: Any, where: str) -> Any:
    if isinstance(default, str):
        if not isinstance(value, str):
            raise InputError(f"{where}: found {value!r}, expected text")
        return value
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where}: found {value!r}, expected a number")
        if not math.isfinite(value):
            raise InputError(f"{where}: found {value!r}, expected a finite number")
        return float(value)
    if isinstance(default, int):
        return _whole(value, where)
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{where}: found {value!r}, expected a list of integers")
    return tuple(_whole(item, where) for item in value)


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{where}: found {value!r}, expected an integer, 0 or more")
    return value


def require_divisible(shape: tuple[int, ...], levels: int, where: str) -> None:
    """Raises InputError unless every size is a positive multiple of 2**levels."""
    step = 2**levels
    if any(size < step or size % step for size in shape):
        raise InputError(
            f"{where}: found {shape}, expected multiples of {step} for {levels} levels of stride 2"
        )


def require_positive(sizes: tuple[int, ...], where: str) -> None:
    """Raises InputError unless every size is 1 or more."""
    if any(size < 1 for size in sizes):
        raise InputError(f"{where}: found {sizes}, expected every entry to be 1 or more")
