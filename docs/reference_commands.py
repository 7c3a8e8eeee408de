"""Writes docs/reference/commands.md from the help: python docs/reference_commands.py"""

import re
import subprocess
import sys
from pathlib import Path

from xr2mri_jax.__main__ import VERBS

PAGE = Path(__file__).parent / "reference" / "commands.md"
HEAD = """# Commands

`xr2mri VERB --flag=value ...`. From a clone, `python launch/VERB.py` takes the same flags.
Exit codes: 0 done, 1 the work failed, 2 the input or a flag is wrong, with one line that says what
was found, what was expected and where.

This page is made from the help by `python docs/reference_commands.py`; a test compares the two.
"""


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    for verb, (what, example) in VERBS.items():
        parts.append(f"## {verb}\n\n{what[0].upper()}{what[1:]}.\n\n    xr2mri {verb} {example}\n")
        if verb != "completion":
            command = [sys.executable, "-m", "xr2mri_jax", verb, "--help"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            flags = done.stdout.partition(f"xr2mri_jax.commands.{verb}:\n")[2]
            parts.append("```text\n" + re.sub(r" +\n", "\n", flags).rstrip() + "\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
