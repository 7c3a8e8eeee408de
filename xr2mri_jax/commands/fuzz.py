"""Breaks thousands of files and has every reader meet them: a refusal in one line, or right data.

xr2mri fuzz --files=10000 --seed=0 --output=fuzz.json
"""

from absl import flags

from xr2mri_jax.files import write_json
from xr2mri_jax.runtime import command_line
from xr2mri_jax.tools.fuzzing import run as fuzzing

_FILES = flags.DEFINE_integer("files", 10000, "how many broken files")
_SEED = flags.DEFINE_integer("seed", 0, "decides what is done to them")
_WORKERS = flags.DEFINE_integer("workers", 2, "processes that read")
_SECONDS = flags.DEFINE_float("seconds", 5.0, "a file that takes longer hangs")
_EXTRA = flags.DEFINE_string("extra", None, "folder of your own files to break too")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the summary")


def main() -> None:
    """Runs the fuzzer, prints and writes its summary, and fails where it found a fault."""
    report = fuzzing.run(_FILES.value, _SEED.value, _WORKERS.value, _SECONDS.value, _EXTRA.value)
    write_json(str(_OUTPUT.value), report)
    print(fuzzing.table(report))
    if any(report[kind] for kind in fuzzing.FAULTS):
        raise RuntimeError(f"{_OUTPUT.value}: the findings are listed there")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("output",))
