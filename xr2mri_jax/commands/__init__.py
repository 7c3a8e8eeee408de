"""The verbs of the command `xr2mri`, a file each: its flags, its `main`, and `run`."""
