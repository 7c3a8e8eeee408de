"""Cache of compiled programs on disk, so that later runs of a command start faster."""

import hashlib
import os
import platform
from pathlib import Path

import jax


def use() -> Path | None:
    """Turns on JAX's persistent compilation cache, unless JAX_COMPILATION_CACHE_DIR is set.

    The cache is in XDG_CACHE_HOME (default ~/.cache)/xr2mri_jax, with one folder per processor
    type: code compiled for one may not run on another machine with the same home folder.

    Returns:
      The folder; None if the environment sets another one or it cannot be created.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "xr2mri_jax" / f"compiled-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # the home folder is not writable: compile every time
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The many small programs around a network take half a second to compile in total.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    return folder


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    text = "\n".join([platform.machine(), platform.processor(), *kind])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
