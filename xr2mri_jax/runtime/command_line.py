"""What every command line shares: exit code 0 done, 1 the work failed, 2 the input is wrong."""

import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from xr2mri_jax.errors import WRONG_INPUT, InputError


def run(
    main: Callable[[], Any],
    required: tuple[str, ...] = (),
    rewrite: Callable[[list[str]], list[str]] | None = None,
) -> None:
    """Parses the flags, runs `main()` and exits with the project's codes.

    Args:
      main: takes nothing and reads absl flags; an `InputError` that it raises is printed as one
        line on standard error and ends the process with code 2, any other exception with its
        traceback and code 1.
      required: names of flags that must be given and not be empty.
      rewrite: changes the arguments before they are parsed; raises InputError.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            if any(word in ("--help", "-h", "-help") for word in argv[1:]):
                _show_help(main)
            rest = flags.FLAGS([argv[0], *rewrite(argv[1:])] if rewrite else argv)
        except (flags.Error, InputError, ValueError) as error:
            # A recipe's error reaches here as text with its traceback; the error is its last part.
            _refuse(str(error).rpartition(f"{InputError.__name__}: ")[2])
        if len(rest) > 1:
            _refuse(f"unexpected argument {rest[1]!r}: every input is given as --name=value")
        for name in required:
            if flags.FLAGS[name].value in (None, "", []):
                _refuse(f"--{name} is missing: {flags.FLAGS[name].help}")
        return rest

    def guarded(_: list[str]) -> None:
        if not flags.FLAGS["verbosity"].present:  # libraries would tell of every file they open
            logging.set_verbosity(logging.WARNING)
        try:
            main()
        except InputError as error:
            _refuse(str(error))

    app.run(guarded, flags_parser=parse)


def _show_help(main: Callable[[], Any]) -> None:
    """Prints the module's text and the flags that it defines, and ends with code 0."""
    module = sys.modules[main.__module__]
    print((module.__doc__ or "").strip())
    print()
    print(
        flags.FLAGS.module_help(module.__name__ if module.__name__ != "__main__" else sys.argv[0])
    )
    sys.exit(0)


def _refuse(message: str) -> None:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    sys.exit(WRONG_INPUT)
