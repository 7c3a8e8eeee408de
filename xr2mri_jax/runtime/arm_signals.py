"""Imported by a command before anything that takes time: from then on signals end it in one line.

A library that is imported must leave signals alone; so this is a module of its own.
"""

from xr2mri_jax.runtime import interruption

interruption.arm()
