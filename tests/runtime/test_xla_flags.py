"""Vmapped reductions are right in every process that imports the package."""

import importlib.metadata
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xr2mri_jax.runtime import xla_flags

ROOT = Path(__file__).parents[2]
# jax issue 39103: the last value is 2 ** 30 exactly, jaxlib 0.10.2 gives 1071645696 by itself.
REPRODUCER = """
import jax, jax.numpy as jnp
i = jnp.arange(32769, dtype=jnp.float32)
x = jnp.stack((i, jnp.zeros_like(i), jnp.zeros_like(i)), axis=1)
print(float(jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(x)[-1]))
"""
# jax issue 40412: ends the process of jaxlib 0.10.2 by itself.
RANK_7 = """
import jax, jax.numpy as jnp
u = jnp.ones((3, 1, 2, 2, 8, 8, 8))
print(float(jax.jit(lambda a, b: jnp.sum(a * b, axis=3))(u, u).sum()))
"""
RIGHT = 1073741824.0
# Libraries alone are imported before the forks: JAX reads the flag when its backend starts.
FORKS = """
import os, runpy, sys
import jax, flax, optax, orbax.checkpoint, tensorflow_datasets
from jax._src import xla_bridge
for command in {commands}:
    child = os.fork()
    if child == 0:
        runpy.run_path(f"launch/{{command}}.py", run_name="imported")
        assert not xla_bridge.backends_are_initialized()
        print(os.environ.get("XLA_FLAGS", "none"), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, command
"""


def python(program: str, flags: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment.pop("XLA_FLAGS", None)
    if flags is not None:
        environment["XLA_FLAGS"] = flags
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "first", ["import xr2mri_jax", "import jax, xr2mri_jax", "import xr2mri_jax.geometry"]
)
def test_reproducer_is_right(first):
    done = python(f"{first}\n{REPRODUCER}")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == RIGHT
    assert done.stderr == ""


def test_reduction_of_rank_7_does_not_crash():
    done = python(f"import xr2mri_jax\n{RANK_7}")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 2 * 3 * 2 * 8**3


def test_every_command_sets_the_flag():
    """Each launch script, in a fork of its own, has the flag before a backend starts."""
    commands = sorted(path.stem for path in (ROOT / "launch").glob("*.py"))
    assert len(commands) > 10
    done = python(FORKS.format(commands=commands))
    assert done.returncode == 0, done.stderr
    affected = xla_flags.is_affected(importlib.metadata.version("jaxlib"))
    wanted = xla_flags.FLAG if affected else "none"
    assert dict(zip(commands, done.stdout.splitlines(), strict=True)) == dict.fromkeys(
        commands, wanted
    )


def test_the_users_own_flags_are_kept():
    program = "import xr2mri_jax, os\nprint(os.environ['XLA_FLAGS'])\n" + REPRODUCER
    done = python(program, "--xla_force_host_platform_device_count=2")
    flags, found = done.stdout.splitlines()
    assert flags.startswith("--xla_force_host_platform_device_count=2")
    assert float(found) == RIGHT


def test_a_started_backend_is_warned_of():
    program = "import jax; jax.devices()\nimport xr2mri_jax"
    done = python(program)
    affected = xla_flags.is_affected(importlib.metadata.version("jaxlib"))
    assert ("started its CPU backend before" in done.stderr) == affected
    # With the flag in the environment the backend started right.
    assert python(program, xla_flags.FLAG if affected else None).stderr == ""


def _flags_of_process(_: int) -> str:
    return os.environ.get("XLA_FLAGS", "")


def test_spawned_workers_have_the_flag():
    """Spawned processes inherit the environment of the one that imported the package."""
    affected = xla_flags.is_affected(importlib.metadata.version("jaxlib"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(_flags_of_process, [0])
    assert (xla_flags.FLAG in found) == affected


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("0.10.0", False),
        ("0.10.1", False),
        ("0.10.2", True),
        ("0.10.2.dev20260701", True),
        ("0.11.0", True),
        ("0.12.0.1", False),
        ("1.0", False),
        ("", False),
    ],
)
def test_versions_with_the_fault(version, affected):
    assert xla_flags.is_affected(version) is affected


def test_guard_leaves_another_jaxlib_alone(monkeypatch):
    monkeypatch.setattr(xla_flags, "_installed", lambda: "0.12.0")
    monkeypatch.setenv("XLA_FLAGS", "--mine=1")
    xla_flags.guard()
    assert os.environ["XLA_FLAGS"] == "--mine=1"


def test_guard_leaves_the_users_choice_of_the_flag_alone(monkeypatch):
    monkeypatch.setattr(xla_flags, "_installed", lambda: "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", f"{xla_flags.NAME}=dot")
    xla_flags.guard()
    assert os.environ["XLA_FLAGS"] == f"{xla_flags.NAME}=dot"
