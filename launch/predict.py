"""`xr2mri predict` from a clone: python launch/predict.py --help"""

from xr2mri_jax.commands import predict

if __name__ == "__main__":
    predict.run()
