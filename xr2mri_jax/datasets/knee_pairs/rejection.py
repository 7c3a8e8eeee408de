"""Rejections of knees while files are read: the reason, and the error that carries it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from xr2mri_jax.datasets.pairing_report import Reason
from xr2mri_jax.errors import InputError


class Rejected(Exception):
    """A knee that cannot be used: (reason, detail)."""


@contextlib.contextmanager
def rejecting(reason: Reason, source: Any = None, said: str = "") -> Iterator[None]:
    """Turns errors within into a rejection of one line that names the file.

    `said`, the earlier decisions, is added to it.
    """
    try:
        yield
    except Rejected:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if not isinstance(error, InputError):
            text = f"{type(error).__name__}: {text}"
        if source is not None and str(source) not in text:
            text = f"{source}: {text}"
        raise Rejected(reason, text + said) from error
