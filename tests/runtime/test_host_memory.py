"""Tests of the host's memory settings."""

import subprocess
import sys

PAGES = """
import resource, sys
import numpy as np
if sys.argv[1] == "kept":
    from xr2mri_jax.runtime import host_memory
    assert host_memory.keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(1 << 24, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(min(faults() for _ in range(3)))
"""


def count(mode):
    done = subprocess.run(
        [sys.executable, "-c", PAGES, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_a_large_block_is_not_mapped_again():
    # 64 MiB are 16384 pages of 4 KiB, or 32 huge ones of 2 MiB.
    assert count("kept") < 16 <= count("default")
