"""`xr2mri fit_joint_centre` from a clone: python launch/fit_joint_centre.py --help"""

from xr2mri_jax.commands import fit_joint_centre

if __name__ == "__main__":
    fit_joint_centre.run()
