"""Trains a stage, or continues an interrupted run.

xr2mri train --config=cae:quickstart --workdir=RUN/cae --config.data.data_dir=DATA
xr2mri train --config=my_recipe.py:variant --workdir=RUN --config.optimizer.learning_rate=1e-3
"""

import sys

from absl import flags
from ml_collections import config_flags

from xr2mri_jax.runtime import command_line, devices, host_memory, local_processes
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training import loop, parallel, recipes

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "recipe: STAGE, STAGE:VARIANT, or your own file FILE.py:VARIANT",
    lock_config=True,
)
WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run; an existing run is continued")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", None, "train on several hosts; default: if a scheduler assigns several"
)
LOCAL_PROCESSES = flags.DEFINE_integer(
    "local_processes",
    1,
    "number of training processes on this machine, which share its CPU cores; 0: one per core",
)


def main() -> None:
    """Trains; exit codes: 0 done, 1 work failed, 2 wrong input, 143 or 130 stopped by a signal."""
    recipe.validate(recipe.plain(CONFIG.value))
    batch_size = CONFIG.value.data.batch_size
    count = local_processes.process_count(LOCAL_PROCESSES.value, batch_size)
    if count > 1:
        sys.exit(local_processes.run([sys.executable, *sys.orig_argv[1:]], count))
    local_processes.follow()
    host_memory.keep_freed_memory()
    parallel.divide_cores(CONFIG.value.cpu_devices, batch_size)
    parallel.start_distributed(DISTRIBUTED.value)
    devices.require()
    sys.exit(loop.train(CONFIG.value, WORKDIR.value))


def run() -> None:
    """The command line."""
    command_line.run(main, required=("config", "workdir"), rewrite=_with_recipe, own_devices=True)


def _with_recipe(arguments: list[str]) -> list[str]:
    """Replaces --config=STAGE[:VARIANT] by the recipe's file; InputError if there is none."""
    rewritten, words = [], iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name.lstrip("-") == "config":
            value = value if equals else next(words, "")
            word = f"--config={recipes.resolve(value)}" if value else "--config="
        rewritten.append(word)
    return rewritten
