"""The devices that JAX_PLATFORMS asks for: there, or refused in one line."""

import logging
import os
import warnings

from xr2mri_jax.errors import InputError

VARIABLE = "JAX_PLATFORMS"


def require() -> None:
    """Starts JAX's backend where JAX_PLATFORMS names another than the CPU; else does nothing.

    To be called after `jax.distributed.initialize`, where that is called at all.

    Raises:
      InputError: if there is no device of the platforms that are named.
    """
    asked = os.environ.get(VARIABLE, "")
    if not any(name.strip() not in ("", "cpu") for name in asked.split(",")):
        return
    import jax  # a second, which is only spent where it is needed

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # JAX tells the same in many lines
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{VARIABLE}={asked}: JAX finds no such device here{f' ({reason})' if reason else ''}, "
            f"expected platforms that this machine has, as {VARIABLE}=cpu, or none named"
        ) from error
    finally:
        logging.disable(before)
