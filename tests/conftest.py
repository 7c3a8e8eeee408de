"""Fixtures that all tests share."""

import atexit
import importlib.metadata
import os
import shutil
import subprocess
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Eight simulated devices; less effort in compiling, which costs the tests more than running; and no
# threads within an operation, since there is a process of tests a core. The older generator of
# fused loops compiles a training step in a third of the time; jaxlib 0.12 does not have it any
# more, and ends the process where XLA_FLAGS has an unknown flag.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_multi_thread_eigen=false"
    + (
        " --xla_cpu_use_fusion_emitters=false"
        if importlib.metadata.version("jaxlib").startswith("0.10.")
        else ""
    ),
)
# As in the project's commands (`runtime.blas`).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Many tests and commands need the same programs: each is compiled once, for all processes.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-for-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files in XR2MRI_REAL_DATA; unset, the test is skipped and says so."""
    value = os.environ.get("XR2MRI_REAL_DATA")
    if not value:
        pytest.skip("XR2MRI_REAL_DATA is not set: tests on real files are skipped")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"XR2MRI_REAL_DATA={value} is not a folder")
    return folder


@pytest.fixture(scope="session")
def dicom_errors() -> Callable[[Iterable[Path]], list[str]]:
    """Validates DICOM files by dicom3tools (Debian): the errors of each, and between them.

    Where the programs are not installed the test is skipped and says so, or fails if
    XR2MRI_DCIODVFY is "required", as it is in continuous integration.
    """
    missing = [name for name in ("dciodvfy", "dcentvfy") if shutil.which(name) is None]
    if missing:
        said = f"{missing[0]} is not installed (Debian: apt-get install dicom3tools)"
        if os.environ.get("XR2MRI_DCIODVFY") == "required":
            pytest.fail(said)
        pytest.skip(said)

    def errors(paths: Iterable[Path]) -> list[str]:
        paths = [str(path) for path in paths]
        commands = [["dciodvfy", "-new", path] for path in paths] + [["dcentvfy", *paths]]
        found = []
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = (done.stdout + done.stderr).splitlines()
            found += [line for line in lines if "Error" in line]
            if done.returncode != 0:
                found.append(f"Error: {command[0]} ended with {done.returncode}: {lines[-3:]}")
        return found

    return errors


@pytest.fixture(scope="session")
def chromium() -> Callable[[int, int], Any]:
    """Opens Chromium (Debian) with a width and a height in pixels.

    Where it is not installed the test is skipped and says so, or fails if XR2MRI_CHROMIUM is
    "required", as it is in continuous integration.
    """
    from chromium import Browser, find

    if find() is None:
        said = "chromium is not installed (Debian: apt-get install chromium)"
        if os.environ.get("XR2MRI_CHROMIUM") == "required":
            pytest.fail(said)
        pytest.skip(said)
    return Browser
