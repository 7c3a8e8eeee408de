"""`xr2mri simulate` from a clone: python launch/simulate.py --help"""

from xr2mri_jax.commands import simulate

if __name__ == "__main__":
    simulate.run()
