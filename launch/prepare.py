"""`xr2mri prepare` from a clone: python launch/prepare.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import prepare

if __name__ == "__main__":
    prepare.run()
