"""What every command line shares: exit code 0 done, 1 the work failed, 2 the input is wrong."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from xr2mri_jax.errors import WRONG_INPUT, InputError


def run(main: Callable[[], Any], required: tuple[str, ...] = ()) -> None:
    """Parses the flags, runs `main()` and exits with the project's codes.

    Args:
      main: takes nothing and reads absl flags; an `InputError` that it raises is printed as one
        line on standard error and ends the process with code 2, any other exception with its
        traceback and code 1.
      required: names of flags that must be given and not be empty.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            _refuse_missing_recipe(argv[1:])
            rest = flags.FLAGS(argv)
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


def _refuse_missing_recipe(arguments: list[str]) -> None:
    """Refuses --config=FILE[:VARIANT] without such a file, which ml_collections tells too late."""
    given = iter(arguments)
    for argument in given:
        name, equals, value = argument.partition("=")
        if name.lstrip("-") == "config":
            path = (value if equals else next(given, "")).partition(":")[0]
            if path and not Path(path).is_file():
                _refuse(f"--config={path}: no such file, expected configs/STAGE.py[:VARIANT]")


def _refuse(message: str) -> None:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    sys.exit(WRONG_INPUT)
