"""`xr2mri grade` from a clone: python launch/grade.py --help"""

from xr2mri_jax.commands import grade

if __name__ == "__main__":
    grade.run()
