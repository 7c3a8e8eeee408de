"""Whether a command can write where it is asked to, told before any work is done."""

import tempfile
from pathlib import Path

from xr2mri_jax.errors import InputError


def require_writable(folder: Path, flag: str) -> None:
    """Tries the folder, or the one that it would be made in; makes nothing; else InputError."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(
            f"{flag}: the folder {nearest} cannot be written to ({error.strerror}), expected one "
            "that can"
        ) from error
