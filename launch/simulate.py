"""`xr2mri simulate` from a clone: python launch/simulate.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import simulate

if __name__ == "__main__":
    simulate.run()
