"""Trains a stage or continues it: python launch/train.py --config=configs/STAGE.py --workdir=DIR"""

import sys
from pathlib import Path

from absl import flags, logging
from ml_collections import config_flags

from xr2mri_jax import command_line
from xr2mri_jax.training import loop, parallel

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "the recipe, configs/STAGE.py or configs/STAGE.py:VARIANT", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run; a run in it is continued")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", None, "join the run's other hosts; by default where a scheduler shows several"
)


def main() -> None:
    """Exit codes: 0 done, 1 not finite, 2 wrong input, 143 or 130 stopped by SIGTERM or SIGINT."""
    # What Orbax and TFDS tell about every file would bury the run's own lines.
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    parallel.start_distributed(DISTRIBUTED.value)
    try:
        code = loop.train(CONFIG.value, WORKDIR.value)
    except loop.NotFiniteError as error:
        sys.exit(f"error: {error}")
    sys.exit(code)


def refuse_missing_recipe(arguments: list[str]) -> None:
    """Exits with code 2 where the recipe's file is absent: reading it comes before any main."""
    given = iter(arguments)
    for argument in given:
        name, equals, value = argument.partition("=")
        if name.lstrip("-") == "config":
            path = (value if equals else next(given, "")).partition(":")[0]
            if path and not Path(path).is_file():
                line = f"--config={path}: no such file, expected configs/STAGE.py[:VARIANT]"
                print(f"error: {line}", file=sys.stderr)
                sys.exit(2)


if __name__ == "__main__":
    refuse_missing_recipe(sys.argv[1:])
    command_line.run(main, required=("config", "workdir"))
