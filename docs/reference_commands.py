"""Writes the reference page of the commands: python docs/reference_commands.py [PAGE.md]"""

import contextlib
import importlib
import io
import re
import sys
from pathlib import Path

from absl import flags

from xr2mri_jax.__main__ import VERBS

PAGE = Path(__file__).parent / "reference" / "commands.md"
HEAD = """# Commands

`xr2mri VERB --flag=value ...`. From a clone, `python launch/VERB.py` takes the same flags.
Exit codes: 0 done, 1 the work failed, 2 wrong input or flag, with one line that says what was
found, what was expected and where.

`python docs/reference_commands.py` generates this page from the help texts; a test compares them.
"""
# The default of --num_workers depends on the machine.
OF_THE_MACHINE = re.compile(r"(--num_workers:[^-]*\(default: ')\d+'")


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for verb, (what, example) in VERBS.items():
        parts.append(f"## {verb}\n\n{what[0].upper()}{what[1:]}.\n\n    xr2mri {verb} {example}\n")
        if verb != "completion":
            parts.append(f"```text\n{flags_of(verb)}\n```\n")
    return "\n".join(parts)


def flags_of(verb: str) -> str:
    """The flags of a verb as its help shows them; removed from absl's registry afterwards."""
    module = importlib.import_module(f"xr2mri_jax.commands.{verb}").__name__
    # Without a terminal, absl wraps at a fixed width.
    with contextlib.redirect_stdout(io.StringIO()):
        text = flags.FLAGS.module_help(module).partition(f"{module}:\n")[2]
    for flag in flags.FLAGS.get_flags_for_module(module):
        delattr(flags.FLAGS, flag.name)
    text = OF_THE_MACHINE.sub(r"\1number of cores'", text)
    return re.sub(r" +\n", "\n", text).rstrip()


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page(), encoding="utf-8")
