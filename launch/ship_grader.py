"""`xr2mri ship_grader` from a clone: python launch/ship_grader.py --help"""

from xr2mri_jax.commands import ship_grader

if __name__ == "__main__":
    ship_grader.run()
