"""Fixtures that all tests share."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Eight simulated devices; and less effort in compiling, which costs the tests more than running.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
)

from pathlib import Path

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
