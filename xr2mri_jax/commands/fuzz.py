"""Reads thousands of damaged files: each must give correct data or a one-line refusal.

xr2mri fuzz --files=10000 --seed=0 --output=fuzz.json
"""

from absl import flags

from xr2mri_jax.files import write_json
from xr2mri_jax.runtime import command_line
from xr2mri_jax.tools.fuzzing import run as fuzzing

_FILES = flags.DEFINE_integer("files", 10000, "number of damaged files")
_SEED = flags.DEFINE_integer("seed", 0, "random seed of the damage")
_WORKERS = flags.DEFINE_integer("workers", 2, "number of reading processes")
_SECONDS = flags.DEFINE_float("seconds", 5.0, "time limit per file in seconds")
_EXTRA = flags.DEFINE_string("extra", None, "folder of additional files to damage")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the summary")


def main() -> None:
    """Runs the fuzzer, prints and writes its summary, and fails if it found a fault."""
    report = fuzzing.run(_FILES.value, _SEED.value, _WORKERS.value, _SECONDS.value, _EXTRA.value)
    write_json(str(_OUTPUT.value), report)
    print(fuzzing.table(report))
    if any(report[kind] for kind in fuzzing.FAULTS):
        raise RuntimeError(f"found faults; they are listed in {_OUTPUT.value}")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("output",))
