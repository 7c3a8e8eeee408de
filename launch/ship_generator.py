"""`xr2mri ship_generator` from a clone: python launch/ship_generator.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import ship_generator

if __name__ == "__main__":
    ship_generator.run()
