"""Runs `xr2mri VERB ...` as a process of its own, forked from one that imported the libraries.

Importing JAX, Orbax and TFDS takes two seconds, a command's own work often less than a tenth of it.
One process per pytest worker imports them once, starts no JAX backend, and forks for each command;
the fork goes the way of `python -m xr2mri_jax`, with its own arguments, folder, environment and
standard streams. Settings that libraries read while they are imported (JAX_*, XLA_*, PYTHON*) need
a new process: `run` starts one where a test changes them.
"""

import atexit
import functools
import gc
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
TIMEOUT_S = 240
_READ_AT_IMPORT = ("JAX_", "XLA_", "PYTHON", "MPL")


def run(
    *words: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    limits: Sequence[tuple[int, int]] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end.

    Args:
      words: the verb and its flags.
      folder: where it runs; None: where the tests do.
      environment: added to that of the tests.
      limits: of `resource.setrlimit`, number and value; without JAX_* in the environment. The cache
        of compiled programs is off then: it could not be written, and would say so.

    Raises:
      subprocess.TimeoutExpired: after TIMEOUT_S.
    """
    command = [str(word) for word in words]
    added = dict(environment or {})
    if any(name.startswith(_READ_AT_IMPORT) for name in added):
        assert not limits
        return subprocess.run(
            [sys.executable, "-m", "xr2mri_jax", *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **added},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    request = {
        "words": command,
        "folder": str(folder or Path.cwd()),
        "environment": {**os.environ, **added},
        "limits": list(limits),
    }
    answer = _server().ask(json.dumps(request), command)
    return subprocess.CompletedProcess(command, answer["code"], answer["out"], answer["err"])


def done(*words: str | Path) -> None:
    """Runs a command that must succeed."""
    found = run(*words)
    assert found.returncode == 0, found.stderr


class _Server:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.kill)

    def ask(self, request: str, command: list[str]) -> dict[str, Any]:
        """The exit code of a command and what it said: code, out, err."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(request + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], TIMEOUT_S)[0]:
            process.kill()
            _server.cache_clear()
            raise subprocess.TimeoutExpired(command, TIMEOUT_S)
        return json.loads(process.stdout.readline())


@functools.cache
def _server() -> _Server:
    return _Server()


def _preload() -> None:
    import flax  # noqa: F401
    import jax  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import ml_collections  # noqa: F401
    import optax  # noqa: F401
    import orbax.checkpoint  # noqa: F401
    import skimage.measure  # noqa: F401
    import tensorflow_datasets  # noqa: F401

    import xr2mri_jax.evaluation.run
    import xr2mri_jax.inference.grade
    import xr2mri_jax.inference.predict_many
    import xr2mri_jax.training.run  # noqa: F401


def _fork_for_each() -> dict[str, Any]:
    """Returns once per request, each time in a new fork, with that request."""
    for line in sys.stdin:
        pipes = [os.pipe() for _ in range(2)]
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, (_, end) in enumerate(pipes, 1):
                os.dup2(end, number)
            return json.loads(line)
        for _, end in pipes:
            os.close(end)
        with ThreadPoolExecutor() as pool:
            said = list(pool.map(_read, [start for start, _ in pipes]))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"code": code, "out": said[0], "err": said[1]}), flush=True)
    sys.exit(0)  # the tests have ended


def _read(number: int) -> str:
    with open(number, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _enter(request: Mapping[str, Any]) -> None:
    """Gives this process what a request asks for."""
    import jax

    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # read again from the environment
    os.chdir(request["folder"])
    for number, value in request["limits"]:
        resource.setrlimit(number, (value, value))
        jax.config.update("jax_enable_compilation_cache", False)
    sys.argv = ["xr2mri", *request["words"]]


if __name__ == "__main__":
    _preload()
    gc.freeze()
    _enter(_fork_for_each())
    from xr2mri_jax.__main__ import main

    main()
