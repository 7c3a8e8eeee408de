"""Checks the content of a grader's model.json: every value must be in its range."""

import math
from collections.abc import Mapping
from typing import Any

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.model_description import (
    Checks,
    Kind,
    are_numbers,
    is_number,
    is_share,
    is_whole,
)

# Sensitivity of the row of the threshold table that sets the column `at_threshold`.
SENSITIVITY = 0.9
_ROW = ("sensitivity_wanted", "probability", "sensitivity", "specificity")
_BINS = ("count", "probability", "frequency")
_TEMPERATURES = (1e-3, 1e3)
# Lists with one number per grade, and their ranges. The last two occur together, if the
# probabilities are meant for other shares of the grades than those of the training.
BY_GRADE = {"set_limits": (0.0, 1.0), "offsets": (-100.0, 100.0), "prevalence": (1e-6, 1.0)}


def _check(checks: Checks, found: Mapping[str, Any]) -> None:
    checks.network("network", found["network"])
    grades = "rising grades, 2 to 5 of 0..4"
    checks.value("grades", found["grades"], grades, _are_grades)
    checks.value("views", found["views"], "true or false", lambda v: isinstance(v, bool))
    checks.contrast(found["contrast"])
    _check_calibration(checks, found["calibration"])
    checks.distance_one(found["features"])
    checks.plain("training", found["training"])


KIND = Kind(
    "grader",
    3,
    ("network", "grades", "contrast", "views", "calibration", "features", "training"),
    "launch/ship_grader.py",
    _check,
)


def _check_calibration(checks: Checks, found: Any) -> None:
    names = ("temperature", "thresholds", "reliability", "error_before", "error_after")
    # Graders of two grades have none of these; `form.read` requires the limits of the others.
    more = [name for name in BY_GRADE if isinstance(found, dict) and name in found]
    if more not in ([], ["set_limits"]):
        more = list(BY_GRADE)
    checks.keys("calibration", found, (*names, "knees", "subjects", *more))
    for name in more:
        low, high = BY_GRADE[name]

        def check(value: Any, low: float = low, high: float = high) -> bool:
            return are_numbers(value, low, high)

        wanted = f"numbers in [{low:g}, {high:g}]"
        checks.value(f"calibration.{name}", found[name], wanted, check)
    low, high = _TEMPERATURES
    checks.value(
        "calibration.temperature",
        found["temperature"],
        f"a number in [{low:g}, {high:g}]",
        lambda v: is_number(v, low, high),
    )
    for name in ("error_before", "error_after"):
        checks.value(f"calibration.{name}", found[name], "a number in [0, 1]", is_share)
    for name in ("knees", "subjects"):
        wanted = "a whole number, at least 1"
        checks.value(f"calibration.{name}", found[name], wanted, lambda v: is_whole(v) and v >= 1)
    _check_thresholds(checks, found["thresholds"])
    _check_reliability(checks, found["reliability"])


def _check_thresholds(checks: Checks, rows: Any) -> None:
    place = "calibration.thresholds"
    checks.value(place, rows, "a list of rows", lambda v: isinstance(v, list))
    for index, row in enumerate(rows):
        checks.keys(f"{place}[{index}]", row, _ROW)
        for name in _ROW:
            checks.value(f"{place}[{index}].{name}", row[name], "a number in [0, 1]", is_share)
    if not any(row["sensitivity_wanted"] == SENSITIVITY for row in rows):
        raise InputError(
            f"{checks.path}: {place}: found none for the sensitivity {SENSITIVITY}, expected one"
        )


def _check_reliability(checks: Checks, bins: Any) -> None:
    place = "calibration.reliability"
    checks.keys(place, bins, _BINS)
    for name, most in zip(_BINS, (math.inf, 1.0, 1.0), strict=True):
        wanted = "numbers of at least 0" if name == "count" else "numbers in [0, 1]"

        def check(value: Any, most: float = most) -> bool:
            return are_numbers(value, 0, most)

        checks.value(f"{place}.{name}", bins[name], wanted, check)
    lengths = [len(bins[name]) for name in _BINS]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise InputError(
            f"{checks.path}: {place}: found {lengths} counts, probabilities and frequencies, "
            "expected equally many, at least 1"
        )


def _are_grades(value: Any) -> bool:
    whole = isinstance(value, list) and 2 <= len(value) <= 5 and all(map(is_whole, value))
    return whole and value == sorted(set(value)) and value[0] >= 0 and value[-1] <= 4
