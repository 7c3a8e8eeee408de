"""Tests that predicting and grading import nothing that they do not need."""

import subprocess
import sys

import pytest

# Libraries of training, datasets, pictures and tables that a user would wait for.
FORBIDDEN = (
    "apache_beam", "grain", "matplotlib", "optax", "orbax", "pandas", "sklearn", "tensorboard",
    "tensorboardX", "tensorflow", "tensorflow_datasets", "torch",
)  # fmt: skip


@pytest.mark.parametrize("name", ["inference.predict", "inference.predict_many", "inference.grade"])
def test_inference_imports_what_it_needs(name):
    names = "{m.split(chr(46))[0] for m in sys.modules}"
    probe = f"import sys, xr2mri_jax.{name}; print(*sorted({names}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"jax", "numpy", "nibabel"} <= loaded
    assert not loaded & set(FORBIDDEN)
