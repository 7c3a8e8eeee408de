"""Writes the sample radiograph of the package: a simulated right knee, 0.5 mm per pixel.

xr2mri sample --output=knee.png
"""

from pathlib import Path

from absl import flags

from xr2mri_jax import files, output_paths, samples
from xr2mri_jax.runtime import command_line

_OUTPUT = flags.DEFINE_string("output", "", "picture to write, ending in .png")


def main() -> None:
    """Writes a copy and prints what it shows."""
    output = Path(_OUTPUT.value)
    output_paths.require_ending(output, ".png", "--output")
    output_paths.require_file_place(output, "--output")
    with files.atomic_path(output) as partial:
        partial.write_bytes(samples.KNEE.read_bytes())
    print(f"{output}: a simulated right knee, 0.5 mm per pixel")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("output",))
