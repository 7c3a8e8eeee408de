"""The one exception that means: the input is wrong, not the program."""

import unicodedata

# The exit code of a command line that raised it.
WRONG_INPUT = 2


class InputError(ValueError):
    """Input that cannot be used; the message is one line that a user can act on.

    The line names the file, tag or key, what was found there and what was expected. Command lines
    print it on standard error and exit with `WRONG_INPUT`.
    """


def printable(text: str) -> str:
    """`text` in which nothing controls a terminal: such characters become \\x1b, \\u202e, ...

    Those are control and format characters (escapes, line breaks, changes of direction), line and
    paragraph separators, and what is no text (the bytes of file names that are not UTF-8).
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
