"""Tests of the exit codes that every command line shares."""

import subprocess
import sys

import pytest

SCRIPT = """
from absl import flags, logging
from xr2mri_jax.runtime import command_line
from xr2mri_jax.errors import InputError
flags.DEFINE_integer("n", 0, "a number")
flags.DEFINE_string("name", None, "a name")
flags.DEFINE_float("size", None, "a size", lower_bound=0.5, upper_bound=2)
flags.DEFINE_enum("kind", "a", ["a", "b"], "a kind")
flags.DEFINE_bool("fast", False, "whether")
def main():
    if flags.FLAGS.n == 1:
        raise InputError("file x: found\\n a, expected b")
    if flags.FLAGS.n == 2:
        raise RuntimeError("broken")
    if flags.FLAGS.n == 3:
        logging.warning("%s: a\\n doubt", "file x")
command_line.run(main, required=("name",))
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--name=a"], 0, ""),
        (["--name=a", "--n=1"], 2, "error: file x: found a, expected b"),
        (["--name=a", "--n=x"], 2, "error: --n: found x, expected an integer\n"),
        (["--name=a", "--n="], 2, "error: --n: found nothing, expected an integer\n"),
        (["--name=a", "--kind=c: d"], 2, "error: --kind: found c: d, expected one of a, b\n"),
        (["--name=a", "--fast=x"], 2, "error: --fast: found x, expected true or false\n"),
        (["--name=a", "--m=1"], 2, "error: Unknown command line flag 'm'"),
        ([], 2, "error: --name is missing: a name"),
        (["--name=a", "more"], 2, "error: unexpected argument 'more'"),
        (["--name=a", "--n=2"], 1, "RuntimeError: broken"),
        (["--name=a", "--size=nan"], 2, "error: --size: found nan, expected a finite number"),
        (
            ["--name=a", "--size=inf"],
            2,
            "error: --size: found inf, expected a number in the range [0.5, 2]",
        ),
        (["--name=a", "--size=1"], 0, ""),
        (["--name=a", "--n=3"], 0, "warning: file x: a doubt\n"),
    ],
)
def test_exit_codes(arguments, code, said):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert said in done.stderr
    if code == 2:
        assert len(done.stderr.strip().splitlines()) == 1
