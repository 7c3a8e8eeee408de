"""Checks that the devices named in JAX_PLATFORMS exist."""

import logging
import os
import warnings

from xr2mri_jax.errors import InputError

VARIABLE = "JAX_PLATFORMS"


def require() -> None:
    """Starts JAX's backend if JAX_PLATFORMS names a platform other than the CPU.

    Must be called after `jax.distributed.initialize`, if that is called.

    Raises:
      InputError: if there is no device of the named platforms.
    """
    asked = os.environ.get(VARIABLE, "")
    if not any(name.strip() not in ("", "cpu") for name in asked.split(",")):
        return
    import jax  # takes a second, so only if needed

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # JAX logs the same in many lines
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{VARIABLE}={asked}: JAX finds no such device here{f' ({reason})' if reason else ''}, "
            f"expected platforms of this machine, for example {VARIABLE}=cpu, or no value"
        ) from error
    finally:
        logging.disable(before)
