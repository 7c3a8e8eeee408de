"""The XLA flag without which some versions of JAX compute wrong sums on a CPU.

jaxlib 0.10.2 and 0.11 hand reductions to YNNPACK. With it `jit` returns wrong numbers for some
vmapped reductions (github.com/jax-ml/jax/issues/39103), and reductions of arrays of rank 7 and more
can crash (issues 39257 and 40412). The flag keeps reductions with XLA's own code. 0.10.1 does not
have the fault, 0.12 has it mended; neither gets the flag, because a jaxlib ends the process where
XLA_FLAGS names a flag that it does not know.
"""

import importlib.metadata
import os
import re
import sys
import warnings

VARIABLE = "XLA_FLAGS"
NAME = "--xla_cpu_experimental_ynn_fusion_type"
FLAG = f"{NAME}=-reduce"
# Versions with the fault: from the first on, below the second.
AFFECTED = ((0, 10, 2), (0, 12))


def guard() -> None:
    """Adds FLAG to the environment where the installed jaxlib needs it.

    It is called when the package is imported, so that every command and every worker process has
    the flag before a backend starts. The user's own XLA_FLAGS are kept; where they set the flag
    themselves nothing changes.

    Warns (RuntimeWarning) where a backend has started without the flag: it cannot be changed then.
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
    """Asks JAX where it is imported already; importing it here would slow every command down."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bool(bridge.backends_are_initialized())
