"""model.json of a grader, from any source: verified by its checksum and value by value."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.errors import InputError

FORM = 2
SEAL = "description_sha256"
# The row of the threshold table that determines the column `at_threshold`.
SENSITIVITY = 0.9
KEYS = {
    "form",
    SEAL,
    "weights_sha256",
    "network",
    "grades",
    "contrast",
    "views",
    "calibration",
    "features",
    "training",
}
_ROW = ("sensitivity_wanted", "probability", "sensitivity", "specificity")
_BINS = ("count", "probability", "frequency")
# Far above any network of this package: larger values are meant to exhaust memory and time.
_LARGEST, _LONGEST = 4096, 64
_TEMPERATURES = (1e-3, 1e3)


def sealed(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description with the SHA-256 of its other entries."""
    return {**description, SEAL: _digest(description)}


def read(path: Path) -> dict[str, Any]:
    """Reads a description and validates it.

    Raises:
      InputError: the file is missing, not JSON, of another format, changed since it was written, or
        has an invalid value; the line names the file and the key.
    """
    found = files.read_json(path)
    if found.get("form") != FORM:
        raise InputError(
            f"{path}: form: found {_shown(found.get('form'))}, expected {FORM}, a grader's "
            "description that launch/ship_grader.py made"
        )
    differ = sorted(KEYS ^ found.keys())
    if differ:
        raise InputError(
            f"{path}: {_shown(differ[0])}: "
            f"{'is missing' if differ[0] in KEYS else 'is not known'}, expected the keys of a "
            f"grader's description: {', '.join(sorted(KEYS))}"
        )
    if found[SEAL] != _digest(found):
        raise InputError(
            f"{path}: {SEAL}: is not the SHA-256 of the other entries, expected an unchanged file"
        )
    _Checks(path).all(found)
    return found


class _Checks:
    """Validates the values of a description."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self, found: Mapping[str, Any]) -> None:
        self._is(
            "weights_sha256",
            found["weights_sha256"],
            "64 hexadecimal digits",
            lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v) is not None,
        )
        self._is("network", found["network"], "an object of moderate sizes", _is_moderate)
        grades = "rising grades, 2 to 5 of 0..4"
        self._is("grades", found["grades"], grades, _are_grades)
        self._is("views", found["views"], "true or false", lambda v: isinstance(v, bool))
        self._contrast(found["contrast"])
        self._calibration(found["calibration"])
        features = found["features"]
        self._keys("features", features, ("distance_one",))
        self._is("features.distance_one", features["distance_one"], "a number > 0", _is_positive)
        self._is("training", found["training"], "an object of plain values", _is_plain)

    def _contrast(self, found: Any) -> None:
        self._keys("contrast", found, ("percentiles", "clahe"))
        self._is(
            "contrast.percentiles",
            found["percentiles"],
            "two rising numbers in [0, 100]",
            lambda v: _are_numbers(v, 0, 100) and len(v) == 2 and v[0] < v[1],
        )
        if found["clahe"] is not None:
            self._keys("contrast.clahe", found["clahe"], ("clip_limit", "kernel_mm"))
            for name, value in found["clahe"].items():
                self._is(f"contrast.clahe.{name}", value, "a number > 0", _is_positive)

    def _calibration(self, found: Any) -> None:
        names = ("temperature", "thresholds", "reliability", "error_before", "error_after")
        self._keys("calibration", found, (*names, "knees", "subjects"))
        low, high = _TEMPERATURES
        self._is(
            "calibration.temperature",
            found["temperature"],
            f"a number in [{low:g}, {high:g}]",
            lambda v: _is_number(v, low, high),
        )
        for name in ("error_before", "error_after"):
            self._is(f"calibration.{name}", found[name], "a number in [0, 1]", _is_share)
        for name in ("knees", "subjects"):
            wanted = "an integer, at least 1"
            self._is(
                f"calibration.{name}", found[name], wanted, lambda v: _is_integer(v) and v >= 1
            )
        rows = found["thresholds"]
        self._is("calibration.thresholds", rows, "a list of rows", lambda v: isinstance(v, list))
        for index, row in enumerate(rows):
            self._keys(f"calibration.thresholds[{index}]", row, _ROW)
            for name in _ROW:
                key = f"calibration.thresholds[{index}].{name}"
                self._is(key, row[name], "a number in [0, 1]", _is_share)
        if not any(row["sensitivity_wanted"] == SENSITIVITY for row in rows):
            raise InputError(
                f"{self._path}: calibration.thresholds: found none for the sensitivity "
                f"{SENSITIVITY}, expected one"
            )
        self._reliability(found["reliability"])

    def _reliability(self, bins: Any) -> None:
        place = "calibration.reliability"
        self._keys(place, bins, _BINS)
        for name, most in zip(_BINS, (math.inf, 1.0, 1.0), strict=True):
            wanted = "numbers of at least 0" if name == "count" else "numbers in [0, 1]"

            def check(value: Any, most: float = most) -> bool:
                return _are_numbers(value, 0, most)

            self._is(f"{place}.{name}", bins[name], wanted, check)
        lengths = [len(bins[name]) for name in _BINS]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise InputError(
                f"{self._path}: {place}: found {lengths} counts, probabilities and frequencies, "
                "expected equally many, at least 1"
            )

    def _keys(self, key: str, found: Any, wanted: tuple[str, ...]) -> None:
        self._is(
            key,
            found,
            f"an object with the entries {', '.join(sorted(wanted))}",
            lambda v: isinstance(v, dict) and v.keys() == set(wanted),
        )

    def _is(self, key: str, value: Any, wanted: str, check: Callable[[Any], bool]) -> None:
        if not check(value):
            raise InputError(f"{self._path}: {key}: found {_shown(value)}, expected {wanted}")


def _digest(description: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in description.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _is_number(value: Any, low: float, high: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and low <= value <= high


def _is_share(value: Any) -> bool:
    return _is_number(value, 0, 1)


def _is_positive(value: Any) -> bool:
    return _is_number(value, 0, math.inf) and value > 0


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_numbers(value: Any, low: float, high: float) -> bool:
    short = isinstance(value, list) and len(value) <= _LARGEST
    return short and all(_is_number(item, low, high) for item in value)


def _are_grades(value: Any) -> bool:
    integers = isinstance(value, list) and 2 <= len(value) <= 5 and all(map(_is_integer, value))
    return integers and value == sorted(set(value)) and value[0] >= 0 and value[-1] <= 4


def _is_moderate(value: Any) -> bool:
    """Whether an object has only numbers, texts and short lists of them, none of them large."""

    def small(item: Any) -> bool:
        return isinstance(item, str) or (_is_number(item, 0, _LARGEST))

    return isinstance(value, dict) and all(
        item is None
        or isinstance(item, bool)
        or small(item)
        or (isinstance(item, list) and len(item) <= _LONGEST and all(map(small, item)))
        for item in value.values()
    )


def _is_plain(value: Any) -> bool:
    kinds = str | int | float | bool | None
    return isinstance(value, dict) and all(
        isinstance(item, kinds) and not (isinstance(item, float) and not math.isfinite(item))
        for item in value.values()
    )


def _shown(value: Any) -> str:
    """A value for a message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
