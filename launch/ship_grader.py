"""`xr2mri ship_grader` from a clone: python launch/ship_grader.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import ship_grader

if __name__ == "__main__":
    ship_grader.run()
