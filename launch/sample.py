"""`xr2mri sample` from a clone: python launch/sample.py --help"""

from xr2mri_jax.commands import sample

if __name__ == "__main__":
    sample.run()
