"""`xr2mri export` from a clone: python launch/export.py --help"""

from xr2mri_jax.commands import export

if __name__ == "__main__":
    export.run()
