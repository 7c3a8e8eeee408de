"""Installs signal handlers on import: from then on a signal ends the command with one line.

Commands import it first. It is a separate module because importing a library must not change signal
handlers.
"""

from xr2mri_jax.runtime import interruption

interruption.arm()
