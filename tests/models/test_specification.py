"""Specifications: types are checked, lists become tuples, messages name the key."""

import dataclasses

import ml_collections
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import specification


@dataclasses.dataclass(frozen=True)
class _Sizes:
    shape: tuple[int, ...]
    name: str = "a"
    count: int = 2
    level: float = 0.5


def test_values_are_checked_and_converted():
    spec = specification.read(_Sizes, {"shape": [1, 2], "level": 1}, "model")
    assert spec == _Sizes((1, 2), "a", 2, 1.0)
    assert isinstance(spec.level, float)
    config = ml_collections.ConfigDict({"shape": (3,), "name": "b"})
    assert specification.read(_Sizes, config, "model") == _Sizes((3,), "b")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"shape": (1,), "size": 1},
            "model.size: unknown key; known are count, level, name, shape",
        ),
        ({}, "model.shape is missing"),
        ({"shape": ()}, "model.shape: found"),
        ({"shape": (1.0,)}, "model.shape: found 1.0"),
        ({"shape": (1,), "count": "2"}, "model.count: found '2', expected an integer"),
        ({"shape": (1,), "count": -1}, "model.count: found -1"),
        ({"shape": (1,), "level": "0.5"}, "model.level: found '0.5', expected a number"),
        ({"shape": (1,), "name": 3}, "model.name: found 3, expected text"),
    ],
)
def test_what_does_not_fit_is_named(mapping, message):
    with pytest.raises(InputError, match=message):
        specification.read(_Sizes, mapping, "model")


def test_divisibility():
    specification.require_divisible((8, 16), 3, "shape")
    with pytest.raises(InputError, match=r"shape: found \(8, 12\), expected multiples of 8"):
        specification.require_divisible((8, 12), 3, "shape")
    with pytest.raises(InputError, match="multiples of 8"):
        specification.require_divisible((0, 8), 3, "shape")
