"""Builds a TFDS dataset: prepare.py --dataset=knee_phantom/quickstart --data_dir=DIR."""

import os

from absl import flags

from xr2mri_jax import command_line, datasets

DATASET = flags.DEFINE_string(
    "dataset", None, "DATASET or DATASET/CONFIG, for example knee_phantom/quickstart"
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "folder that the prepared dataset goes into")
SOURCE = flags.DEFINE_string("source", None, "folder of the raw files, where the dataset has any")
NUM_WORKERS = flags.DEFINE_integer("num_workers", os.cpu_count() or 1, "number of processes")


def main() -> None:
    """Prepares the dataset and says where it is and how large its splits are."""
    name, data_dir = str(DATASET.value), str(DATA_DIR.value)
    state = "already" if datasets.is_prepared(name, data_dir) else "now"
    builder = datasets.prepare(name, data_dir, NUM_WORKERS.value or 1, SOURCE.value)
    sizes = ", ".join(f"{name} {split.num_examples}" for name, split in builder.info.splits.items())
    print(f"{builder.info.full_name} is {state} prepared in {builder.data_dir}: {sizes}")


if __name__ == "__main__":
    command_line.run(main, required=("dataset", "data_dir"))
