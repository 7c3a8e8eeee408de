"""`xr2mri train` from a clone: python launch/train.py --help"""

from xr2mri_jax.commands import train

if __name__ == "__main__":
    train.run()
