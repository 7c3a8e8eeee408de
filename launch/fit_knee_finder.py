"""`xr2mri fit_knee_finder` from a clone: python launch/fit_knee_finder.py --help"""

from xr2mri_jax.commands import fit_knee_finder

if __name__ == "__main__":
    fit_knee_finder.run()
