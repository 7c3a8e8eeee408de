"""`xr2mri fuzz` from a clone: python launch/fuzz.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import fuzz

if __name__ == "__main__":
    fuzz.run()
