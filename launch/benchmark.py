"""`xr2mri benchmark` from a clone: python launch/benchmark.py --help"""

from xr2mri_jax.commands import benchmark

if __name__ == "__main__":
    benchmark.run()
