"""Runs a command with the common exit codes: 0 done, 1 the work failed, 2 wrong input."""

import logging as standard_logging
import math
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from xr2mri_jax.errors import WORK_FAILED, WRONG_INPUT, InputError, failure_line, printable
from xr2mri_jax.runtime import devices, host_memory, interruption

# The exceptions of absl and ml_collections for invalid flags.
_WRONG_FLAGS = (flags.Error, ValueError, AttributeError, KeyError, TypeError, SyntaxError)
_QUOTES = "\"'"


class _PlainDoubts(logging.PythonFormatter):
    """Shows a doubt as the commands show an error; other messages keep time and place."""

    def format(self, record: standard_logging.LogRecord) -> str:
        if record.levelno < standard_logging.WARNING or record.exc_info:
            return str(super().format(record))
        return f"{record.levelname.lower()}: {record.getMessage()}"


def run(
    main: Callable[[], Any],
    required: tuple[str, ...] = (),
    rewrite: Callable[[list[str]], list[str]] | None = None,
    own_devices: bool = False,
) -> None:
    """Parses the flags, runs `main()` and exits with the project's codes.

    Prints one line on standard error and exits with
      code 2 for an `InputError`: wrong input, devices in JAX_PLATFORMS that do not exist, or too
        small a limit in `ulimit -v`;
      code 1 for a failure of the environment (`errors.failure_line`: a full disk, no memory);
      code 143 or 130 for SIGTERM or SIGINT.
    Any other exception gives a traceback and code 1.

    Args:
      main: takes nothing and reads absl flags.
      required: names of flags that must have a non-empty value.
      rewrite: changes the arguments before they are parsed; raises InputError.
      own_devices: `main` calls `devices.require` itself, because it must first join other hosts.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            if any(word in ("--help", "-h", "-help") for word in argv[1:]):
                _show_help(main)
            rest = flags.FLAGS([argv[0], *rewrite(argv[1:])] if rewrite else argv)
        except _WRONG_FLAGS as error:
            _refuse(_flag_error_message(error))
        if len(rest) > 1:
            _refuse(f"unexpected argument {rest[1]!r}: every input is given as --name=value")
        for name in required:
            if flags.FLAGS[name].value in (None, "", []):
                _refuse(f"--{name} is missing: {flags.FLAGS[name].help}")
        _require_finite()
        return rest

    def guarded(_: list[str]) -> None:
        if not flags.FLAGS["verbosity"].present:  # some libraries log every file they open
            logging.set_verbosity(logging.WARNING)
        logging.get_absl_handler().addFilter(_one_line)
        logging.get_absl_handler().setFormatter(_PlainDoubts())
        try:
            with interruption.unwinding():
                host_memory.require_addresses()
                if not own_devices:
                    devices.require()
                main()
        except InputError as error:
            _refuse(str(error))
        except KeyboardInterrupt as error:
            interruption.leave(getattr(error, "number", signal.SIGINT))
        except Exception as error:
            line = failure_line(error)
            if line is None:
                raise
            _end(line, WORK_FAILED)

    app.run(guarded, flags_parser=parse)


def _require_finite() -> None:
    """Refuses flags that are NaN or infinite: NaN passes the bounds of absl's flags."""
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, float) and not math.isfinite(value):
            _refuse(f"--{name}: found {value:g}, expected a finite number")


def _show_help(main: Callable[[], Any]) -> None:
    """Prints the module's docstring and flags, and exits with code 0."""
    module = sys.modules[main.__module__]
    print((module.__doc__ or "").strip())
    print()
    print(
        flags.FLAGS.module_help(module.__name__ if module.__name__ != "__main__" else sys.argv[0])
    )
    sys.exit(0)


def _flag_error_message(error: Exception) -> str:
    """The message for an invalid flag, simplified for errors of absl and ml_collections."""
    text = str(error).strip()
    flag = re.match(r"flag --([^=]+)=", text)
    if isinstance(error, flags.IllegalFlagValueError) and flag and flag[1] in flags.FLAGS:
        parser = flags.FLAGS[flag[1]].parser
        if isinstance(parser, flags.BooleanParser):
            expected = "true or false"
        else:
            choices = getattr(parser, "enum_values", None)
            expected = f"one of {', '.join(choices)}" if choices else parser.syntactic_help
        if expected:  # in place of Python's text, such as "invalid literal for int()"
            found = text[flag.end() :].removesuffix(f": {error.__context__}")
            return f"--{flag[1]}: found {found or 'nothing'}, expected {expected}"
    if isinstance(error, AttributeError) and "get_config" in text:
        return "--config: the file has no function get_config, expected a recipe that defines it"
    if "Traceback" not in text and isinstance(error, AttributeError | KeyError):
        return f"--config has no key {text.strip(_QUOTES)!r}, expected one of the recipe's"
    # A recipe's error arrives as text with a traceback; its last part is the message.
    if "Traceback" in text:
        text = text.splitlines()[-1]
    return text.rpartition(f"{InputError.__name__}: ")[2]


def _refuse(message: str) -> None:
    _end(message, WRONG_INPUT)


def _one_line(record: Any) -> bool:
    """Makes a log message safe for a terminal: file names may contain escape sequences."""
    record.msg, record.args = printable(" ".join(record.getMessage().split())), ()
    return True


def _end(message: str, code: int) -> None:
    line = printable(" ".join(message.split()))
    print(f"error: {line}", file=sys.stderr)
    sys.exit(code)
