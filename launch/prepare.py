"""`xr2mri prepare` from a clone: python launch/prepare.py --help"""

from xr2mri_jax.commands import prepare

if __name__ == "__main__":
    prepare.run()
