"""The two exceptions that a one-line message explains: wrong input, and work that failed."""

import errno
import unicodedata
from collections.abc import Iterator

# Exit codes of a command that raised them.
WORK_FAILED = 1
WRONG_INPUT = 2

# Messages for disk errors that are not the program's fault.
_OF_THE_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk cannot be read or written",
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
}
# Texts of the same errors in other exceptions that libraries raise.
_SAID = {
    "No space left on device": errno.ENOSPC,
    "Not enough disk space": errno.ENOSPC,  # TFDS, before it starts
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
    "Input/output error": errno.EIO,
    "Permission denied": errno.EACCES,
}


class InputError(ValueError):
    """Input that cannot be used; the message is one line that a user can act on.

    The line names the file, tag or key, what was found there and what was expected. Command lines
    print it on standard error and exit with `WRONG_INPUT`.
    """


class WorkError(RuntimeError):
    """Work that cannot be finished although the input is right; the message is one line.

    Command lines print it on standard error and exit with `WORK_FAILED`.
    """


def disk_error(error: BaseException) -> OSError | None:
    """The disk error that `error` or one of its causes reports; None if there is none.

    Returns:
      An OSError with one of the numbers above; its `filename` is None if no error names the file.
    """
    found = None
    for one in causes(error):
        number = one.errno if isinstance(one, OSError) else None
        if number not in _OF_THE_DISK:
            number = next((n for text, n in _SAID.items() if text in str(one)), None)
        if number is None:
            continue
        name = one.filename if isinstance(one, OSError) else None
        if found is None or (found.filename is None and name is not None):
            found = OSError(number, _OF_THE_DISK[number], name)
    return found


def failure_line(error: BaseException) -> str | None:
    """One line for a failure that is not the program's fault; None for any other failure."""
    if isinstance(error, WorkError):
        return str(error)
    disk = disk_error(error)
    if disk is not None:
        where = "" if disk.filename is None else f"{disk.filename}: "
        return f"{where}{disk.strerror}; nothing that was there before is lost"
    if any(isinstance(one, MemoryError) for one in causes(error)):
        return "there is not enough memory for this work"
    for one in causes(error):
        if "RESOURCE_EXHAUSTED" in str(one):
            return f"there is not enough memory for this work ({str(one).splitlines()[0]})"
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error, the parts of an exception group, and the causes of each."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]


def printable(text: str) -> str:
    """`text` with characters that control a terminal escaped as \\x1b, \\u202e, ...

    These are control and format characters (escapes, line breaks, changes of direction), line and
    paragraph separators, and bytes that are not text (in file names that are not UTF-8).
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
