"""Sets the XLA flag without which some versions of JAX compute wrong sums on a CPU.

jaxlib 0.10.2 and 0.11 use YNNPACK for reductions. With it, `jit` returns wrong numbers for some
vmapped reductions (github.com/jax-ml/jax/issues/39103), and reductions of arrays of rank 7 and more
can crash (issues 39257 and 40412). With the flag, reductions use XLA's own code. Version 0.10.1
does not have the defect and 0.12 has fixed it. Neither gets the flag, because jaxlib ends the
process if XLA_FLAGS contains an unknown flag.
"""

import importlib.metadata
import os
import re
import sys
import warnings

VARIABLE = "XLA_FLAGS"
NAME = "--xla_cpu_experimental_ynn_fusion_type"
FLAG = f"{NAME}=-reduce"
# Affected versions: from the first, below the second.
AFFECTED = ((0, 10, 2), (0, 12))


def guard() -> None:
    """Adds FLAG to the environment if the installed jaxlib needs it.

    The package calls it on import, so that every command and every worker process has the flag
    before a backend starts. The user's XLA_FLAGS are kept; if they already set the flag, nothing
    changes.

    Warns (RuntimeWarning) if a backend has already started without the flag.
    """
    given = os.environ.get(VARIABLE, "")
    if not is_affected(_installed()) or NAME in given:
        return
    if _backend_has_started():
        warnings.warn(
            f"jaxlib {_installed()} started its CPU backend before xr2mri_jax was imported: "
            f"some sums may be wrong (jax issue 39103); import xr2mri_jax first, or set "
            f"{VARIABLE}={FLAG}",
            RuntimeWarning,
            stacklevel=3,
        )
        return
    os.environ[VARIABLE] = f"{given} {FLAG}".strip()


def is_affected(version: str) -> bool:
    """Whether a jaxlib of this version, such as "0.10.2", needs the flag; "" is no version."""
    found = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return AFFECTED[0] <= found < AFFECTED[1]


def _installed() -> str:
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _backend_has_started() -> bool:
    """Asks JAX if it is already imported; importing it here would slow down every command."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bool(bridge.backends_are_initialized())
