"""`xr2mri fuzz` from a clone: python launch/fuzz.py --help"""

from xr2mri_jax.commands import fuzz

if __name__ == "__main__":
    fuzz.run()
