"""The command `xr2mri predict` from a clone; `python launch/predict.py --help` says what it takes."""

from xr2mri_jax.commands import predict

if __name__ == "__main__":
    predict.run()
