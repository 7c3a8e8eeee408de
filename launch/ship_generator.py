"""`xr2mri ship_generator` from a clone: python launch/ship_generator.py --help"""

from xr2mri_jax.commands import ship_generator

if __name__ == "__main__":
    ship_generator.run()
