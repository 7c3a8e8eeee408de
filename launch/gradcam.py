"""`xr2mri gradcam` from a clone: python launch/gradcam.py --help"""

from xr2mri_jax.commands import gradcam

if __name__ == "__main__":
    gradcam.run()
