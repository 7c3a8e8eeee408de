"""Prepares a dataset from simulated knees or from your own files.

xr2mri prepare --dataset=knee_phantom/quickstart --data_dir=DATA
xr2mri prepare --dataset=knee_pairs --data_dir=DATA --source=COLLECTION [--sequence=dess ...]
xr2mri prepare --dataset=knee_xray/square224 --data_dir=DATA --source=DIR
"""

import os
from typing import Any

from absl import flags

# Inherited by all workers, Beam's included: preparation computes on the CPU only.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from xr2mri_jax import datasets
from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.runtime import command_line, processor

DATASET = flags.DEFINE_string(
    "dataset", None, "DATASET or DATASET/CONFIG, for example knee_phantom/quickstart"
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "folder for the prepared dataset")
SOURCE = flags.DEFINE_string("source", None, "folder or manifest of the source files, if any")
NUM_WORKERS = flags.DEFINE_integer("num_workers", processor.cores(), "number of processes")
REPORT = flags.DEFINE_string(
    "report", None, "CSV file for an additional copy of the dataset's report.csv"
)
BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner", None, "prepare on Apache Beam: DirectRunner, DataflowRunner, FlinkRunner, ..."
)
BEAM_OPTIONS = flags.DEFINE_list("beam_options", [], "options of Beam, NAME=VALUE,NAME=VALUE")

# Options of the datasets made from files; the dataset's default applies if a flag is not given.
flags.DEFINE_string(
    "sequence", None, "knee_pairs: MRI sequence: dess, cor_iw_tse, sag_iw_tse or cor_flash"
)
flags.DEFINE_integer(
    "visit_tolerance", None, "knee_pairs: maximum months between radiograph and MRI"
)
flags.DEFINE_string(
    "duplicates", None, "knee_pairs: with several candidates, choose one or reject the knee"
)
flags.DEFINE_list("grades", None, "knee_pairs: tables of KL grades outside the source folder")
flags.DEFINE_string(
    "visit", None, "knee_pairs: visit code, e.g. V00, if the collection does not give it"
)
flags.DEFINE_string("places", None, "knee_pairs: CSV of knee positions in the radiographs")
flags.DEFINE_float(
    "spacing", None, "knee_pairs: pixel spacing in mm of radiographs whose files have none"
)
flags.DEFINE_integer("echo", None, "knee_pairs: which echo of the MRI to read, 1 for the shortest")
flags.DEFINE_string("splits", None, "knee_pairs: CSV (subject,split) or JSON with given splits")
flags.DEFINE_integer("split_seed", None, "knee_pairs: seed of the split by subject")
flags.DEFINE_list("split_shares", None, "knee_pairs: shares, train=0.8,validation=0.1,test=0.1")
flags.DEFINE_list("clahe", None, "adaptive equalisation: clip limit, tile size in mm, e.g. 0.01,16")
flags.DEFINE_bool(
    "departures", None, "knee_family: vary shapes around the mixed maps as measured in patients"
)
flags.DEFINE_enum(
    "side", None, ["left", "right"], "knee_family: side of label maps that do not state it"
)
flags.DEFINE_float("max_broken", None, "maximum fraction of unusable items tolerated, 0..1")
OPTIONS = (
    "sequence", "visit_tolerance", "duplicates", "grades", "visit", "places", "spacing", "echo",
    "splits", "split_seed", "split_shares", "clahe", "max_broken",
    "departures", "side",
)  # fmt: skip


def main() -> None:
    """Prepares the dataset and prints its folder, the sizes of its splits and the report."""
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
    """The options given as flags; raises InputError if a number is malformed."""
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
