"""Random augmentation of a training pair on the host, which keeps radiograph and volume aligned.

Intensities change only in the radiograph. Positions change in both by the same in-plane (h, w) map,
so that the volume projected along d stays aligned with the radiograph; voxels from outside the
volume are masked out. All random numbers come from the generator passed in, so that (seed, epoch,
example) determines the result.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from xr2mri_jax.errors import InputError

STRENGTHS = {
    "shift": "largest in-plane shift along h and w, an integer number of pixels",
    "rotate": "largest in-plane rotation in degrees",
    "scale": "largest relative in-plane magnification, 0.05 for 0.95..1.05",
    "gamma": "largest natural logarithm of the radiograph's gamma",
    "contrast": "largest natural logarithm of the radiograph's contrast about its mean",
    "brightness": "largest offset of the radiograph's intensity",
    "noise": "largest standard deviation of the noise added to the radiograph",
    "blur": "largest standard deviation in pixels of a Gaussian blur of the radiograph",
    "erase": "largest fraction of the radiograph's area hidden by a uniform rectangle",
}
VOLUMES = ("mri", "mask", "labels")
_GEOMETRIC = ("shift", "rotate", "scale")


def strengths(augment: Mapping[str, Any] | None) -> dict[str, float]:
    """The strength of every augmentation, 0 if it is not given.

    Args:
      augment: keys of `STRENGTHS` with numbers of at least 0; None: no augmentation.

    Raises:
      InputError: for an unknown key or a value that is not a number of at least 0.
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
    return result


def apply(
    example: Mapping[str, Any], rng: np.random.Generator, strength: Mapping[str, float]
) -> dict[str, Any]:
    """Augments one decoded example.

    Args:
      example: `xray` uint16[h, w, 1] (65535 is 1); any of `mri` uint16[d, h, w, 1], `mask`
        uint8[d, h, w, 1], `labels` uint8[d, h, w]; other entries stay unchanged.
      rng: the example's own generator.
      strength: from `strengths`.

    Returns:
      A new dict with the same shapes; `xray` is f32[h, w, 1] in [0, 1] if its intensities changed,
      otherwise uint16 as before. The border of a moved radiograph repeats its outermost pixels; a
      moved volume and its mask are 0 there.
    """
    changed = dict(example)
    if any(strength[name] for name in _GEOMETRIC):
        _move(changed, rng, strength)
    if "xray" in changed and any(strength[n] for n in STRENGTHS if n not in _GEOMETRIC):
        changed["xray"] = _intensities(changed["xray"], rng, strength)
    return changed


def mixed(
    example: Mapping[str, Any],
    other: Mapping[str, Any],
    rng: np.random.Generator,
    concentration: float,
) -> dict[str, Any]:
    """Mixup: the weighted mean of two radiographs, with the grades of both.

    Zhang et al. 2018, arXiv 1710.09412.

    Args:
      example: xray uint16 or f32 [h, w, 1] as `apply` returns it, and kl; other entries stay
        unchanged.
      other: another example.
      rng: the pair's own generator.
      concentration: a > 0 of the distribution Beta(a, a) of the shares.

    Returns:
      A new dict: xray f32[h, w, 1] in [0, 1], share f32, the weight of the example, in [0.5, 1],
      and mixed_kl, the grade of the other example.
    """
    drawn = rng.beta(concentration, concentration)
    # Each pair is mixed in both orders equally often, so the example can get the larger share.
    share = np.float32(max(drawn, 1 - drawn))
    first, second = (_unit(pair["xray"]) for pair in (example, other))
    xray = share * first + (1 - share) * second
    return {**example, "xray": xray, "share": share, "mixed_kl": other["kl"]}


def _unit(xray: np.ndarray) -> np.ndarray:
    """A radiograph, uint16 as stored or f32 in [0, 1], as f32 in [0, 1]."""
    return np.asarray(xray, np.float32) / np.float32(65535) if xray.dtype == np.uint16 else xray


def _move(example: dict[str, Any], rng: np.random.Generator, strength: Mapping[str, float]) -> None:
    limit = int(strength["shift"])
    down, right = (int(v) for v in rng.integers(-limit, limit + 1, size=2))
    angle = math.radians(rng.uniform(-1, 1) * strength["rotate"])
    scale = 1.0 + rng.uniform(-1, 1) * strength["scale"]
    only_shifts = strength["rotate"] == 0 and strength["scale"] == 0
    for name in ("xray", *VOLUMES):
        if name not in example:
            continue
        array = np.asarray(example[name])
        shape = array.shape
        planes = array.reshape((-1, *(shape[:2] if name == "xray" else shape[1:3])))
        zero_border = name != "xray"
        if only_shifts:
            planes = _shifted(planes, down, right, zero_border)
        else:
            grid = _Grid(planes.shape[1:], down, right, angle, scale)
            if name == "labels":
                planes = grid.nearest(planes)
            elif name == "mask":
                planes = grid.linear(planes, zero_border) > 0.999
            else:
                planes = np.rint(grid.linear(planes, zero_border))
        example[name] = planes.reshape(shape).astype(array.dtype, copy=False)


def _shifted(planes: np.ndarray, down: int, right: int, zero_border: bool) -> np.ndarray:
    """Shifts [n, h, w] by integer pixels; the border is 0 or repeats the outermost pixels."""
    height, width = planes.shape[1:]
    down, right = max(-height, min(height, down)), max(-width, min(width, right))
    if not zero_border:
        rows = np.clip(np.arange(height) - down, 0, height - 1)
        columns = np.clip(np.arange(width) - right, 0, width - 1)
        return planes[:, rows[:, None], columns[None, :]]
    moved = np.zeros_like(planes)
    to_rows = slice(max(down, 0), height + min(down, 0))
    to_columns = slice(max(right, 0), width + min(right, 0))
    from_rows = slice(max(-down, 0), height + min(-down, 0))
    from_columns = slice(max(-right, 0), width + min(-right, 0))
    moved[:, to_rows, to_columns] = planes[:, from_rows, from_columns]
    return moved


class _Grid:
    """The source position of each target pixel of an [h, w] plane: rotation, scale and shift."""

    def __init__(
        self, shape: tuple[int, ...], down: int, right: int, angle: float, scale: float
    ) -> None:
        self.height, self.width = shape
        middle = (self.height - 1) / 2, (self.width - 1) / 2
        y = np.arange(self.height)[:, None] - middle[0] - down
        x = np.arange(self.width)[None, :] - middle[1] - right
        cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
        self.rows = (cosine * y + sine * x + middle[0]).ravel()
        self.columns = (-sine * y + cosine * x + middle[1]).ravel()

    @functools.cached_property
    def inside(self) -> np.ndarray:
        """Whether the source position is inside the plane: bool[h * w]."""
        return (
            (self.rows >= 0)
            & (self.rows <= self.height - 1)
            & (self.columns >= 0)
            & (self.columns <= self.width - 1)
        )

    def linear(self, planes: np.ndarray, zero_border: bool) -> np.ndarray:
        """Bilinear values of [n, h, w]: f32[n, h * w]; the border is 0 or repeats the edge."""
        flat = planes.reshape(len(planes), -1)
        rows = np.clip(self.rows, 0, self.height - 1)
        columns = np.clip(self.columns, 0, self.width - 1)
        top = np.minimum(rows.astype(np.int32), max(self.height - 2, 0))
        left = np.minimum(columns.astype(np.int32), max(self.width - 2, 0))
        below, beside = min(1, self.height - 1) * self.width, min(1, self.width - 1)
        down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
        place = top.astype(np.intp) * self.width + left
        total = np.empty(flat.shape, np.float32)
        # One plane at a time fits in the processor's cache.
        for plane, result in zip(flat.astype(np.float32, copy=False), total, strict=True):
            upper, lower = (
                _between(plane.take(row), plane.take(row + beside), right)
                for row in (place, place + below)
            )
            result[...] = _between(upper, lower, down)
        if zero_border:
            total *= self.inside
        return total

    def nearest(self, planes: np.ndarray) -> np.ndarray:
        """Nearest values of [n, h, w], 0 outside: [n, h * w]."""
        rows = np.clip(np.rint(self.rows), 0, self.height - 1).astype(np.intp)
        columns = np.clip(np.rint(self.columns), 0, self.width - 1).astype(np.intp)
        flat = planes.reshape(len(planes), -1)
        return np.take(flat, rows * self.width + columns, axis=1) * self.inside.astype(flat.dtype)


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """first + share * (second - first), in the memory of `second`."""
    second -= first
    second *= share
    second += first
    return second


def _intensities(
    xray: np.ndarray, rng: np.random.Generator, strength: Mapping[str, float]
) -> np.ndarray:
    image = _unit(xray)
    gamma, contrast, brightness = rng.uniform(-1, 1, size=3)
    image = image ** np.float32(math.exp(gamma * strength["gamma"]))
    mean = image.mean(dtype=np.float32)
    image = (image - mean) * np.float32(math.exp(contrast * strength["contrast"])) + mean
    image += np.float32(brightness * strength["brightness"])
    if strength["noise"]:
        sigma = np.float32(rng.uniform() * strength["noise"])
        image += sigma * rng.standard_normal(image.shape, dtype=np.float32)
    if strength["blur"]:
        sigmas = (rng.uniform() * strength["blur"],) * 2 + (0,)
        image = ndimage.gaussian_filter(image, sigmas, mode="nearest")
    if strength["erase"] and rng.uniform() < 0.5:
        _erase(image, rng, strength["erase"])
    return np.clip(image, 0, 1)


def _erase(image: np.ndarray, rng: np.random.Generator, largest: float) -> None:
    """Overwrites a rectangle of f32[h, w, 1] with one value, in place."""
    height, width = image.shape[:2]
    share, aspect = rng.uniform() * largest, math.exp(rng.uniform(-1, 1))
    rows = min(height, max(1, round(height * math.sqrt(share * aspect))))
    columns = min(width, max(1, round(width * math.sqrt(share / aspect))))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    image[top : top + rows, left : left + columns] = rng.uniform()
