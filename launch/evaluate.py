"""`xr2mri evaluate` from a clone: python launch/evaluate.py --help"""

from xr2mri_jax.commands import evaluate

if __name__ == "__main__":
    evaluate.run()
