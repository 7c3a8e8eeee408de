"""Ends a run on several hosts quickly when one of them fails or is lost.

Otherwise the remaining hosts wait for the lost one: in a sum over the devices, or in the barrier
of JAX's distributed runtime at the end of a process (up to 5 minutes).
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jax

from xr2mri_jax import workdir
from xr2mri_jax.errors import WORK_FAILED, WRONG_INPUT, InputError, WorkError
from xr2mri_jax.training.run import NotFiniteError

# Parts of the runtime's messages about a broken connection: Gloo, NCCL, the coordination service.
_CONNECTION = ("Gloo", "NCCL", "UNAVAILABLE", "heartbeat", "onnection")


class LostHostError(WorkError):
    """Another host of the run ended or cannot be reached; the message says how to continue."""


@contextlib.contextmanager
def ends_quickly(folder: Path) -> Iterator[None]:
    """A context for steps that this host takes together with others.

    If the block raises, this process ends without waiting for the other hosts, which then detect
    its loss. `NotFiniteError` is exempt, because all hosts raise it at the same step.

    Args:
      folder: the run's workdir.

    Raises:
      LostHostError: in place of JAX's error about a broken connection to another host.
    """
    if jax.process_count() == 1:
        yield
        return
    try:
        yield
    except NotFiniteError:
        raise
    except Exception as error:
        # Runs before JAX's own handlers, which wait for the other hosts.
        atexit.register(_leave, WRONG_INPUT if isinstance(error, InputError) else WORK_FAILED)
        if isinstance(error, jax.errors.JaxRuntimeError) and _is_connection(error):
            raise LostHostError(_line(folder, error)) from error
        raise


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_connection(error: Exception) -> bool:
    return any(word in str(error) for word in _CONNECTION)


def _line(folder: Path, error: Exception) -> str:
    saved = workdir.steps(folder)
    after = f"after step {saved[-1]}" if saved else "from the start, as there is no checkpoint yet"
    return (
        f"another host of this run ended or cannot be reached ({str(error).splitlines()[0]}): "
        f"repeat the command, on any number of hosts, to continue {folder} {after}"
    )
