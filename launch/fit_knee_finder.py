"""`xr2mri fit_knee_finder` from a clone: python launch/fit_knee_finder.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import fit_knee_finder

if __name__ == "__main__":
    fit_knee_finder.run()
