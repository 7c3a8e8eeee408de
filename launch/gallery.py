"""`xr2mri gallery` from a clone: python launch/gallery.py --help"""

from xr2mri_jax.commands import gallery

if __name__ == "__main__":
    gallery.run()
