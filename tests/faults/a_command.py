"""Runs the command line as a process, with limits of the system."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# Sets the limits in the new process: Python forks no longer where JAX has threads.
LIMITED = """
import ast, os, resource, sys
for number, value in ast.literal_eval(sys.argv[1]):
    resource.setrlimit(number, (value, value))
os.execv(sys.executable, [sys.executable, "-m", "xr2mri_jax", *sys.argv[2:]])
"""


def xr2mri(
    *words: str | Path, limits: Sequence[tuple[int, int]] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end.

    Args:
      words: the verb and its flags.
      limits: of `resource.setrlimit`, number and value.
      environment: added to that of the tests.
    """

    variables = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        # The cache of compiled programs cannot be written under limits, and would say so.
        **({"JAX_ENABLE_COMPILATION_CACHE": "false"} if limits else {}),
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-c", LIMITED, repr(list(limits)), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=variables,
    )


def done(*words: str | Path) -> None:
    """Runs a command that must succeed."""
    found = xr2mri(*words)
    assert found.returncode == 0, found.stderr
