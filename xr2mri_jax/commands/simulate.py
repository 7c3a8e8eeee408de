"""Simulates a radiograph and an MRI from a label map of a knee, or pairs from a folder of maps.

xr2mri simulate --labels=FILE [--side=right] --xray=OUT.png --mri=OUT.nii.gz
xr2mri simulate --labels=DIR [--side=right | --knees=CSV] --output=DIR
"""

from pathlib import Path

from absl import flags

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.runtime import command_line

LABELS = flags.DEFINE_string(
    "labels", "", "label map (NIfTI, NRRD, MetaImage or MGH), or a folder of label maps"
)
SIDE = flags.DEFINE_enum(
    "side", None, ["left", "right"], "side of the knee, if the labels do not determine it"
)
TABLE = flags.DEFINE_string(
    "table",
    "auto",
    "label table: oai_zib, oai_zib_cm, oai_woo, ski10, pymskt, phantom, or a CSV file with the "
    "columns code,name; auto: the names in the file, else the table that gives a plausible knee",
)
SEED = flags.DEFINE_integer("seed", 0, "random seed of noise, textures and added soft tissue")
XRAY = flags.DEFINE_string("xray", None, "radiograph to write, ending in .png")
MRI = flags.DEFINE_string("mri", None, "MRI to write, ending in .nii.gz or .nii")
OUTPUT = flags.DEFINE_string("output", None, "for a folder of maps: folder for the pairs")
KNEES = flags.DEFINE_string(
    "knees", None, "for a folder of maps: CSV with the columns file,side,subject,visit,kl"
)


def main() -> None:
    """Simulates one pair or a folder of pairs."""
    folder = Path(LABELS.value).is_dir()
    _require(folder, {"xray": XRAY.value, "mri": MRI.value}, {"output": OUTPUT.value})
    if KNEES.value and not folder:
        raise InputError("--knees: found one map in --labels, expected a folder")
    if folder:
        _simulate_folder()
    else:
        _simulate_file()


def _simulate_file() -> None:
    # Imported here, so that wrong flags are reported immediately.
    from xr2mri_jax.simulation.files import PairFiles, simulate_file

    files = PairFiles.named(XRAY.value or "", MRI.value or "")
    record = simulate_file(LABELS.value, files, SIDE.value, TABLE.value, SEED.value)
    names = ", ".join(f"{code} {name}" for code, name in record["labels"]["names"].items())
    print(printable(f"labels: {names}"))
    for doubt in record["labels"]["doubts"]:
        print(printable(f"note: {doubt}"))
    print(f"missing in the map, added from the phantom: {', '.join(record['added_from_phantom'])}")
    print(
        f"{files.xray}: {record['side']} knee, {record['radiograph']['spacing_mm'][0]:g} mm per "
        f"pixel, centred on the joint\n{files.mri}: on the grid of the map"
    )


def _simulate_folder() -> None:
    from xr2mri_jax.presentation.pluralise import pluralise
    from xr2mri_jax.simulation.folder import BROKEN, MANIFEST, simulate_folder

    output = Path(OUTPUT.value or "")
    report = simulate_folder(LABELS.value, output, SIDE.value, KNEES.value, TABLE.value, SEED.value)
    for name, doubts in report.doubts.items():
        for doubt in doubts:
            print(printable(f"note: {name}: {doubt}"))
    for name, reason in report.broken.items():
        print(printable(f"unusable: {name}: {reason}"))
    more = f", reasons in {output / BROKEN}" if report.broken else ""
    print(
        f"{output / MANIFEST}: {pluralise(len(report.done), 'pair')} simulated, "
        f"{pluralise(len(report.kept), 'existing pair')} kept, "
        f"{pluralise(len(report.broken), 'unusable map')}{more}"
    )


def _require(
    folder: bool, of_file: dict[str, str | None], of_folder: dict[str, str | None]
) -> None:
    """Raises InputError if a flag is missing or applies only to the other kind of input."""
    wanted, other = (of_folder, of_file) if folder else (of_file, of_folder)
    form = "a folder" if folder else "one map"
    for name, value in wanted.items():
        if not value:
            raise InputError(f"--{name} is missing: --labels is {form}")
    for name, value in other.items():
        if value:
            raise InputError(
                f"--{name}: found {value}, but this flag does not apply if --labels is {form}"
            )


def run() -> None:
    """The command line."""
    command_line.run(main, required=("labels",))
