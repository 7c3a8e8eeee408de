"""Knee MRI volumes from a single radiograph, in JAX and Flax.

`load`, `predict`, `grade`, `simulate` and `evaluate` are the public interface: see `api`.
"""

import importlib
from typing import Any

from xr2mri_jax.runtime import xla_flags

__version__ = "0.1.0"
_PUBLIC = ("load", "predict", "grade", "simulate", "evaluate")
__all__ = [*_PUBLIC, "api", "samples"]

# Before any backend starts: commands and worker processes all import the package.
xla_flags.guard()


def __getattr__(name: str) -> Any:
    """Imports the public interface on first use, so that `import xr2mri_jax` stays fast."""
    if name in _PUBLIC:
        return getattr(importlib.import_module("xr2mri_jax.api"), name)
    if name in ("api", "samples"):
        return importlib.import_module(f"xr2mri_jax.{name}")
    raise AttributeError(f"module 'xr2mri_jax' has no attribute {name!r}")
