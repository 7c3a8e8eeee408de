"""Prepares a process that is a command, on import: signal handlers, and one thread for BLAS.

Commands import it first. It is a separate module because importing a library must change neither
signal handlers nor the environment.
"""

from xr2mri_jax.runtime import blas, interruption

interruption.arm()
blas.one_thread()
