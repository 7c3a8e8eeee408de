"""The command `xr2mri prepare` from a clone; `python launch/prepare.py --help` says what it takes."""

from xr2mri_jax.commands import prepare

if __name__ == "__main__":
    prepare.run()
