"""`xr2mri fit_joint_centre` from a clone: python launch/fit_joint_centre.py --help"""

# First, so that from here on a signal ends the command in one line.
import xr2mri_jax.runtime.start_command  # noqa: F401

# isort: split
from xr2mri_jax.commands import fit_joint_centre

if __name__ == "__main__":
    fit_joint_centre.run()
