"""Reads and checks model.json of a packaged model of any origin: checksum, keys and values."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax import files
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import budget

SEAL = "description_sha256"
WEIGHTS_SHA256 = "weights_sha256"
# Maximum bytes of the file; the shipped ones have less than 4 KiB.
LARGEST = 1 << 20
# Far above every network of this package: larger sizes serve to exhaust memory and time.
_LARGEST_SIZE, _LONGEST = 4096, 64
# Maximum number of layers in a level of a network, by the keys that count them.
_LAYERS = {"blocks": 64, "convolutions": 64}
_DEEPEST = 4
_LARGEST_WHOLE = 1 << 53


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of packaged model.

    Attributes:
      name: its name in messages, "grader" or "generator".
      form: version of the file format that is written and read.
      keys: of its description, besides `form` and the two checksums.
      made_by: the script that writes it.
      check: checks the values, given that all keys exist; raises InputError.
    """

    name: str
    form: int
    keys: tuple[str, ...]
    made_by: str
    check: "Callable[[Checks, Mapping[str, Any]], None]"

    @property
    def all_keys(self) -> frozenset[str]:
        """All keys of a description."""
        return frozenset(("form", SEAL, WEIGHTS_SHA256, *self.keys))


def sealed(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description with the SHA-256 of the rest of it added."""
    return {**description, SEAL: _digest(description)}


def read(path: Path, kind: Kind) -> dict[str, Any]:
    """Reads and checks a description.

    Raises:
      InputError: it is missing, too long, not JSON, of another form, changed since it was written,
        or has an invalid value; the line names the file and the key.
    """
    found = files.json_object(path, budget.read_bytes(path, LARGEST))
    if found.get("form") != kind.form:
        raise InputError(
            f"{path}: form: found {shown(found.get('form'))}, expected {kind.form}, a "
            f"{kind.name}'s description that {kind.made_by} made"
        )
    differ = sorted(kind.all_keys ^ found.keys())
    if differ:
        raise InputError(
            f"{path}: {shown(differ[0])}: "
            f"{'is missing' if differ[0] in kind.all_keys else 'is not known'}, expected the keys "
            f"of a {kind.name}'s description: {', '.join(sorted(kind.all_keys))}"
        )
    if found[SEAL] != _digest(found):
        raise InputError(
            f"{path}: {SEAL}: is not the SHA-256 of the rest of it, expected the file as it was "
            "written"
        )
    checks = Checks(path)
    checks.value(
        WEIGHTS_SHA256,
        found[WEIGHTS_SHA256],
        "64 hexadecimal digits",
        lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v) is not None,
    )
    kind.check(checks, found)
    return found


class Checks:
    """Checks of a description's values; the errors name file and key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def value(self, key: str, value: Any, wanted: str, check: Callable[[Any], bool]) -> None:
        """Raises InputError unless `check(value)`; `wanted` describes the expected value."""
        if not check(value):
            raise InputError(f"{self.path}: {key}: found {shown(value)}, expected {wanted}")

    def keys(self, key: str, found: Any, wanted: tuple[str, ...]) -> None:
        """Raises InputError unless `found` is an object with exactly these entries."""
        self.value(
            key,
            found,
            f"an object with the entries {', '.join(sorted(wanted))}",
            lambda v: isinstance(v, dict) and v.keys() == set(wanted),
        )

    def network(self, key: str, found: Any) -> None:
        """Raises InputError unless `found` has the sizes of a network, none too large."""
        self.value(key, found, "an object of moderate sizes", _is_moderate)

    def distance_one(self, features: Any) -> None:
        """Raises InputError unless `features` is a valid entry of that name."""
        self.keys("features", features, ("distance_one",))
        self.value("features.distance_one", features["distance_one"], "a number > 0", is_positive)

    def contrast(self, found: Any) -> None:
        """Raises InputError unless `found` is a valid entry `contrast`, as `DEFAULT_CONTRAST`."""
        self.keys("contrast", found, ("percentiles", "clahe"))
        self.value(
            "contrast.percentiles",
            found["percentiles"],
            "two rising numbers in [0, 100]",
            lambda v: are_numbers(v, 0, 100) and len(v) == 2 and v[0] < v[1],
        )
        if found["clahe"] is not None:
            self.keys("contrast.clahe", found["clahe"], ("clip_limit", "kernel_mm"))
            for name, value in found["clahe"].items():
                self.value(f"contrast.clahe.{name}", value, "a number > 0", is_positive)

    def plain(self, key: str, found: Any) -> None:
        """Raises InputError unless `found` is an object of plain, finite values."""
        wanted = "an object of plain, finite values"
        self.value(key, found, wanted, lambda v: isinstance(v, dict) and _is_plain(v))


def is_number(value: Any, low: float, high: float) -> bool:
    """Whether `value` is a finite number in [low, high]."""
    if isinstance(value, int) and not isinstance(value, bool):
        return low <= value <= min(high, _LARGEST_WHOLE)
    return isinstance(value, float) and math.isfinite(value) and low <= value <= high


def is_share(value: Any) -> bool:
    """Whether `value` is a number in [0, 1]."""
    return is_number(value, 0, 1)


def is_positive(value: Any) -> bool:
    """Whether `value` is a finite number above 0."""
    return is_number(value, 0, math.inf) and value > 0


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def are_numbers(value: Any, low: float, high: float) -> bool:
    """Whether `value` is a list of limited length of finite numbers in [low, high]."""
    short = isinstance(value, list) and len(value) <= _LARGEST_SIZE
    return short and all(is_number(item, low, high) for item in value)


def shown(value: Any) -> str:
    """A value for a message, truncated if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _digest(description: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in description.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _is_moderate(value: Any) -> bool:
    """Whether an object has only moderate numbers, texts, and short lists of these."""

    def small(item: Any, most: float) -> bool:
        return isinstance(item, str | bool) or item is None or is_number(item, 0, most)

    def fits(key: str, item: Any) -> bool:
        most = _LAYERS.get(key, _LARGEST_SIZE)
        if isinstance(item, list):
            return len(item) <= _LONGEST and all(small(one, most) for one in item)
        return small(item, most)

    return isinstance(value, dict) and all(fits(key, item) for key, item in value.items())


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        return depth < _DEEPEST and all(_is_plain(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return depth < _DEEPEST and all(_is_plain(item, depth + 1) for item in value)
    return not isinstance(value, float) or math.isfinite(value)
