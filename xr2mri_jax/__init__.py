"""Knee MRI volumes from a single radiograph, in JAX and Flax.

`load`, `predict`, `grade`, `simulate` and `evaluate` are the public interface: see `api`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
_PUBLIC = ("load", "predict", "grade", "simulate", "evaluate")
__all__ = [*_PUBLIC, "api", "samples"]


def __getattr__(name: str) -> Any:
    """Imports the public interface at its first use: `import xr2mri_jax` itself is light."""
    if name in _PUBLIC:
        return getattr(importlib.import_module("xr2mri_jax.api"), name)
    if name in ("api", "samples"):
        return importlib.import_module(f"xr2mri_jax.{name}")
    raise AttributeError(f"module 'xr2mri_jax' has no attribute {name!r}")
