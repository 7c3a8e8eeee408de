"""The slowly varying brightness of an MRI (coil sensitivity), estimated and divided out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from skimage.filters import threshold_otsu

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.preprocess.record import with_defaults

# degree: total degree of the polynomial in the logarithm. classes: tissues told apart by
# brightness. ridge: pulls coefficients to 0, per voxel that was used. rounds: of estimation.
# sample_mm: the field is estimated on voxels of about this size.
DEFAULT_BIAS_FIELD: Mapping[str, Any] = MappingProxyType(
    {"degree": 3, "classes": 4, "ridge": 1e-3, "rounds": 30, "sample_mm": 4.0}
)
LARGEST_DEGREE = 6
_SMALLEST_SAMPLE = 200


def correct_bias(
    volume: Volume, settings: Mapping[str, Any] = DEFAULT_BIAS_FIELD
) -> tuple[Volume, dict[str, Any]]:
    """Divides a volume by its estimated bias field.

    The logarithm of the field is a polynomial, that of the true brightness a mixture of normal
    distributions, one a tissue class; both are fitted in turns (expectation maximisation as in Van
    Leemput et al., "Automated model-based bias field correction of MR images of the brain", IEEE
    Trans Med Imaging 18:885-896, 1999). The field's geometric mean over the leg is 1, so that the
    range of the values stays. Air is left out of the fit.

    Args:
      volume: real, finite [i, j, k].
      settings: keys as in DEFAULT_BIAS_FIELD; keys left out keep their default.

    Returns:
      The volume f32[i, j, k], and the JSON-able record: the settings, "shape", "exponents" and
      "coefficients" of the field (see `bias_field`), "range" (smallest and largest factor in the
      leg) and "variation" (spread of the logarithm within the classes, before and after).

    Raises:
      InputError: an unknown or impossible setting, values that are not finite, a volume without
        contrast or with too few voxels that are not air.
    """
    checked = checked_bias_field(settings)
    values, place = _sample(volume, checked["sample_mm"])
    exponents = [
        (i, j, k)
        for i, j, k in np.ndindex(*[checked["degree"] + 1] * 3)
        if 0 < i + j + k <= checked["degree"]
    ]
    basis = _basis(place, exponents)
    basis_mean = basis.mean(axis=0)
    coefficients, before, after = _fit(np.log(values), basis - basis_mean, checked)
    constant = float(-basis_mean @ coefficients)
    factor = np.exp(basis @ coefficients + constant)
    record = {
        **checked,
        "shape": list(volume.shape),
        "exponents": [[0, 0, 0], *(list(e) for e in exponents)],
        "coefficients": [constant, *coefficients.tolist()],
        "range": [float(factor.min()), float(factor.max())],
        "variation": [before, after],
    }
    corrected = np.divide(volume.array, bias_field(record), dtype=np.float32, casting="unsafe")
    return Volume(corrected, volume.affine), record


def bias_field(record: Mapping[str, Any]) -> np.ndarray:
    """The field f32[i, j, k] of a record of `correct_bias`: corrected times field is the source.

    It is exp(sum of coefficient * P_a(t_i) P_b(t_j) P_c(t_k)) over the exponents (a, b, c), with
    Legendre polynomials P and t = (2 index + 1) / n - 1 along an axis of n voxels.
    """
    table = _table(record)
    rows = [
        legendre.legvander((2 * np.arange(n) + 1) / n - 1, len(table) - 1).astype(np.float32)
        for n in record["shape"]
    ]
    partial = np.einsum("abc,ia,jb->ijc", table, rows[0], rows[1], optimize=True)
    field = partial.astype(np.float32) @ rows[2].T
    return np.exp(field, out=field)


def bias_field_at(record: Mapping[str, Any], index: np.ndarray) -> np.ndarray:
    """The field f32[...] at voxel indices [..., 3] of the source, which may be broken.

    Outside the source the field of its nearest face goes on: there the polynomial knows nothing.
    """
    t = np.clip((2 * np.asarray(index) + 1) / np.array(record["shape"]) - 1, -1, 1)
    logarithm = legendre.legval3d(t[..., 0], t[..., 1], t[..., 2], _table(record))
    return np.exp(logarithm).astype(np.float32)


def checked_bias_field(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with their defaults; raises InputError where one is unknown or impossible."""
    checked = with_defaults("bias_field", settings, DEFAULT_BIAS_FIELD)
    limits = {
        "degree": (1, LARGEST_DEGREE),
        "classes": (1, 12),
        "ridge": (0, 1e6),
        "rounds": (1, 1000),
        "sample_mm": (0.5, 20),
    }
    for name, (low, high) in limits.items():
        value = checked[name]
        whole = isinstance(DEFAULT_BIAS_FIELD[name], int)
        if not low <= value <= high or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            raise InputError(f"bias_field.{name}: found {value}, expected {kind} {low}..{high}")
        checked[name] = int(value) if whole else float(value)
    return checked


def _table(record: Mapping[str, Any]) -> np.ndarray:
    """The coefficients by their exponents, f64[degree + 1, degree + 1, degree + 1]."""
    exponents = np.asarray(record["exponents"])
    table = np.zeros((int(exponents.max()) + 1,) * 3)
    table[tuple(exponents.T)] = record["coefficients"]
    return table


def _sample(volume: Volume, sample_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Values f64[n] > 0 of block means that are not air, and their place t f64[n, 3] in -1..1."""
    array, where = volume.array, []
    for axis, size in enumerate(volume.spacing):
        n = array.shape[axis]
        factor = max(1, min(round(sample_mm / size), n))
        starts = np.arange(0, n, factor)
        counts = np.diff(np.append(starts, n))
        sums = np.add.reduceat(array, starts, axis=axis, dtype=np.float32)
        array = sums / counts.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        where.append((2 * starts + counts) / n - 1)
    if not np.isfinite(array).all():
        raise InputError("the volume has values that are not finite, expected finite ones")
    if not np.ptp(array) > 0:
        raise InputError("the volume is constant, expected an MRI")
    # Half of Otsu's threshold keeps dark bone and leaves out air, whose noise lies far below.
    leg = array > max(0.5 * float(threshold_otsu(array.ravel())), float(array.max()) * 1e-4)
    if leg.sum() < _SMALLEST_SAMPLE:
        raise InputError(
            f"found {int(leg.sum())} blocks of {sample_mm:g} mm that are not air, expected at "
            f"least {_SMALLEST_SAMPLE} for a bias field"
        )
    place = np.stack([t[i] for t, i in zip(where, np.nonzero(leg), strict=True)], axis=-1)
    return array[leg].astype(np.float64), place


def _basis(place: np.ndarray, exponents: list[tuple[int, int, int]]) -> np.ndarray:
    degree = max(max(e) for e in exponents)
    rows = [legendre.legvander(place[:, axis], degree) for axis in range(3)]
    return np.stack([rows[0][:, i] * rows[1][:, j] * rows[2][:, k] for i, j, k in exponents], -1)


def _fit(
    logarithm: np.ndarray, basis: np.ndarray, settings: Mapping[str, Any]
) -> tuple[np.ndarray, float, float]:
    """Coefficients of the log field, and the spread within the classes before and after."""
    n, k = len(logarithm), settings["classes"]
    penalty = settings["ridge"] * n * np.eye(basis.shape[1])
    coefficients, before = np.zeros(basis.shape[1]), float("nan")
    quantiles = (np.arange(k) + 0.5) / k
    means = np.quantile(logarithm, quantiles)
    spreads, shares = np.full(k, max(float(logarithm.std()) / k, 1e-3)), np.full(k, 1 / k)
    for turn in range(settings["rounds"]):
        clean = logarithm - basis @ coefficients
        chance = np.log(shares / spreads) - 0.5 * ((clean[:, None] - means) / spreads) ** 2
        chance = np.exp(chance - chance.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        total = chance.sum(axis=0) + 1e-9
        means = chance.T @ clean / total
        squares = (chance * (clean[:, None] - means) ** 2).sum(axis=0)
        spreads = np.sqrt(squares / total + 1e-4)
        shares = total / total.sum()
        if turn == 0:
            before = float(np.sqrt(squares.sum() / n))
        # Weighted least squares: each voxel is compared with the mean of the classes it may be.
        weights = chance / spreads**2
        weight = weights.sum(axis=1)
        target = logarithm - weights @ means / weight
        weight /= weight.mean()
        weighted = basis * weight[:, None]
        coefficients = np.linalg.solve(basis.T @ weighted + penalty, weighted.T @ target)
    return coefficients, before, float(np.sqrt(squares.sum() / n))
