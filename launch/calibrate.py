"""`xr2mri calibrate` from a clone: python launch/calibrate.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import calibrate

if __name__ == "__main__":
    calibrate.run()
