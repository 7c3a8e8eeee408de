"""Comparison of the geometries of two volumes."""

from typing import Any

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry.volume import Volume


def require_same_geometry(a: Volume, b: Volume, tolerance_mm: float = 1e-3) -> None:
    """Raises an InputError that names which of shape, spacing, orientation and origin differ.

    Spacing and orientation differ if they move the far end of the volume by more than
    `tolerance_mm`; origins differ if they lie farther apart than that.
    """
    differences = []
    if a.shape != b.shape:
        differences.append(f"shape {a.shape} and {b.shape}")
    extent = np.maximum(a.shape, b.shape)
    if (np.abs(np.subtract(a.spacing, b.spacing)) * extent).max() > tolerance_mm:
        differences.append(f"spacing {_numbers(a.spacing)} and {_numbers(b.spacing)} mm")
    directions = a.affine[:3, :3] / a.spacing, b.affine[:3, :3] / b.spacing
    turn = np.linalg.norm(directions[0] - directions[1], axis=0) * extent * a.spacing
    if turn.max() > tolerance_mm:
        names = ["".join(v.orientation) for v in (a, b)]
        if names[0] == names[1]:
            names = [_numbers(d.ravel(order="F")) for d in directions]
        differences.append(f"orientation {names[0]} and {names[1]}")
    if np.linalg.norm(a.affine[:3, 3] - b.affine[:3, 3]) > tolerance_mm:
        origins = [_numbers(v.affine[:3, 3]) for v in (a, b)]
        differences.append(f"origin {origins[0]} and {origins[1]} mm")
    if differences:
        raise InputError("geometries differ: " + "; ".join(differences))


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in np.asarray(values)) + ")"
