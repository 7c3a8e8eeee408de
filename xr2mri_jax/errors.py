"""The one exception that means: the input is wrong, not the program."""

# The exit code of a command line that raised it.
WRONG_INPUT = 2


class InputError(ValueError):
    """Input that cannot be used; the message is one line that a user can act on.

    The line names the file, tag or key, what was found there and what was expected. Command lines
    print it on standard error and exit with `WRONG_INPUT`.
    """
