"""Compiled programs kept on disk, so that a command's second run starts at once."""

import hashlib
import os
import platform
from pathlib import Path

import jax


def use() -> Path | None:
    """Turns JAX's persistent compilation cache on; JAX_COMPILATION_CACHE_DIR goes before it.

    Programs lie in XDG_CACHE_HOME (default ~/.cache)/xr2mri_jax, in a folder for each processor:
    code for one may not run on another that shares the home.

    Returns:
      The folder; None if the environment names one or it cannot be made.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "xr2mri_jax" / f"compiled-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written to: compiled anew each time, else the same
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The small programs around a network are many, and compile for half a second together.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    return folder


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    text = "\n".join([platform.machine(), platform.processor(), *told])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
