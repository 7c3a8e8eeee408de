"""Builds a dataset: simulated knees, or your own files.

xr2mri prepare --dataset=knee_phantom/quickstart --data_dir=DATA
xr2mri prepare --dataset=knee_pairs --data_dir=DATA --source=COLLECTION [--sequence=dess ...]
xr2mri prepare --dataset=knee_xray/square224 --data_dir=DATA --source=DIR
"""

import os
from typing import Any

from absl import flags

# Workers, Beam's too, inherit it: preparation computes on the CPU alone.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from xr2mri_jax import datasets
from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.runtime import command_line, processor

DATASET = flags.DEFINE_string(
    "dataset", None, "DATASET or DATASET/CONFIG, for example knee_phantom/quickstart"
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "folder that the prepared dataset goes into")
SOURCE = flags.DEFINE_string("source", None, "the raw files, where the dataset is made from any")
NUM_WORKERS = flags.DEFINE_integer("num_workers", processor.cores(), "number of processes")
REPORT = flags.DEFINE_string(
    "report", None, "CSV file for what became of every knee or file; the dataset holds it as well"
)
BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner", None, "prepare on Apache Beam: DirectRunner, DataflowRunner, FlinkRunner, ..."
)
BEAM_OPTIONS = flags.DEFINE_list("beam_options", [], "Beam's own options, NAME=VALUE,NAME=VALUE")

# Options of the datasets that are made from files; those not given keep the dataset's default.
flags.DEFINE_string("sequence", None, "knee_pairs: the MRI's: dess, cor_iw_tse, cor_flash, ...")
flags.DEFINE_integer("visit_tolerance", None, "knee_pairs: months between radiograph and MRI")
flags.DEFINE_string("duplicates", None, "knee_pairs: of several candidates choose one, or reject")
flags.DEFINE_list("grades", None, "knee_pairs: KL tables that lie elsewhere than in the source")
flags.DEFINE_string("visit", None, "knee_pairs: visit code where the collection does not tell it")
flags.DEFINE_string("places", None, "knee_pairs: CSV of the knees' places in the radiographs")
flags.DEFINE_float("spacing", None, "knee_pairs: mm a pixel of radiographs that do not tell it")
flags.DEFINE_integer("echo", None, "knee_pairs: which of an MRI's echoes, 1 the shortest")
flags.DEFINE_string("splits", None, "knee_pairs: CSV (subject,split) or JSON of given splits")
flags.DEFINE_integer("split_seed", None, "knee_pairs: seed of the split by subject")
flags.DEFINE_list("split_shares", None, "knee_pairs: train=0.8,validation=0.1,test=0.1")
flags.DEFINE_list("clahe", None, "clip limit and tiles' mm of adaptive equalisation: 0.01,16")
flags.DEFINE_float("max_broken", None, "share of unusable items that is borne, 0..1")
OPTIONS = (
    "sequence", "visit_tolerance", "duplicates", "grades", "visit", "places", "spacing", "echo",
    "splits", "split_seed", "split_shares", "clahe", "max_broken",
)  # fmt: skip


def main() -> None:
    """Prepares the dataset and says where it is, how large its splits are, what was left out."""
    name, data_dir = str(DATASET.value), str(DATA_DIR.value)
    state = "already" if datasets.is_prepared(name, data_dir) else "now"
    builder = datasets.prepare(
        name,
        data_dir,
        NUM_WORKERS.value if NUM_WORKERS.value is not None else 1,
        SOURCE.value,
        given_options(),
        REPORT.value,
        BEAM_RUNNER.value,
        BEAM_OPTIONS.value,
    )
    for line in getattr(builder, "report", "").splitlines():
        print(printable(line))
    sizes = ", ".join(f"{name} {split.num_examples}" for name, split in builder.info.splits.items())
    print(f"{builder.info.full_name} is {state} prepared in {builder.data_dir}: {sizes}")


def given_options() -> dict[str, Any]:
    """The options that were given as flags; InputError where a number is none."""
    values: dict[str, Any] = {name: flags.FLAGS[name].value for name in OPTIONS}
    given = {name: value for name, value in values.items() if value is not None}
    if "grades" in given:
        given["grades"] = tuple(given["grades"])
    if "clahe" in given:
        given["clahe"] = tuple(_number("clahe", given["clahe"], word) for word in given["clahe"])
    if "split_shares" in given:
        words = [word.partition("=") for word in given["split_shares"]]
        given["split_shares"] = {
            name.strip(): _number("split_shares", given["split_shares"], share)
            for name, _, share in words
        }
    return given


def _number(flag: str, found: list[str], word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InputError(
            f"--{flag}: found {','.join(found)}, expected {flags.FLAGS[flag].help}"
        ) from None


def run() -> None:
    """The command line."""
    command_line.run(main, required=("dataset", "data_dir"))
