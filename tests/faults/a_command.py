"""Runs the command line as a process, with limits of the system."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def xr2mri(
    *words: str | Path, limits: Sequence[tuple[int, int]] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end.

    Args:
      words: the verb and its flags.
      limits: of `resource.setrlimit`, number and value.
      environment: added to that of the tests.
    """

    def limit() -> None:
        import resource

        for number, value in limits:
            resource.setrlimit(number, (value, value))

    variables = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-m", "xr2mri_jax", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=variables,
        preexec_fn=limit if limits else None,
    )


def done(*words: str | Path) -> None:
    """Runs a command that must succeed."""
    found = xr2mri(*words)
    assert found.returncode == 0, found.stderr
