"""The verbs of the command `xr2mri`, one file each: its flags, `main`, and `run`."""
