"""The folder of a run: its config and its checkpoints, written atomically and verified on reading.

    WORKDIR/config.json               the resolved config
    WORKDIR/run.json                  the run's name, the SHA-256 of config.json, earlier
                                      runs, doubts
    WORKDIR/checkpoints/120/          one step: everything needed to continue training
      state/                          arrays, by Orbax
      progress.json                   input position and metric sums
      config.json                     the config that it was trained with
      manifest.json                   run, step, SHA-256 and size of every other file here

The folder of a step gets its name only when it is complete. Orbax restores some files with flipped
bits without an error, so every file is verified against the manifest first. Run and step in the
manifest reveal a folder that belongs to another step or another run.
"""

from xr2mri_jax.workdir.checkpoints import (
    MANIFEST,
    fingerprints,
    load_state,
    read_checkpoint,
    read_step,
    require_shapes,
    step_folder,
    steps,
    verify_step,
    write_step,
)
from xr2mri_jax.workdir.run import (
    CONFIG,
    RUN,
    read_config,
    read_run,
    sha256,
    start_run,
    write_config,
)

__all__ = [
    "CONFIG",
    "MANIFEST",
    "RUN",
    "fingerprints",
    "load_state",
    "read_checkpoint",
    "read_config",
    "read_run",
    "read_step",
    "require_shapes",
    "sha256",
    "start_run",
    "step_folder",
    "steps",
    "verify_step",
    "write_config",
    "write_step",
]
