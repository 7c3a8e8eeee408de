"""Writes cases of a prepared dataset as files: radiograph PNG, MRI NIfTI, and a table.

xr2mri export --dataset=knee_phantom/quickstart --data_dir=DIR --split=test \
    --cases=0,1 --output=DIR
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_DATASET = flags.DEFINE_string("dataset", "", "DATASET/CONFIG, e.g. knee_phantom/quickstart")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "folder of the prepared dataset")
_SPLIT = flags.DEFINE_string("split", "test", "train, validation or test")
_CASES = flags.DEFINE_list("cases", ["0"], "positions in the split, separated by commas")
_OUTPUT = flags.DEFINE_string("output", "", "folder for the files")


def main() -> None:
    """Reads the flags and writes the cases."""
    from xr2mri_jax.datasets import cases

    rows = cases.write_cases(
        _DATASET.value,
        _DATA_DIR.value,
        _SPLIT.value,
        cases.parse_positions(_CASES.value),
        _OUTPUT.value,
    )
    for row in rows:
        kl = "unknown" if row.kl is None else row.kl
        spacing = "spacing unknown" if row.spacing is None else f"{row.spacing:g} mm per pixel"
        print(f"{row.name}: {row.side} knee, KL {kl}, {spacing}")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("dataset", "data_dir", "output"))
