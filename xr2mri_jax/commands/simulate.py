"""A knee's label map to a simulated radiograph and MRI; or a folder of maps to a folder of pairs.

xr2mri simulate --labels=FILE [--side=right] --xray=OUT.png --mri=OUT.nii.gz
xr2mri simulate --labels=DIR [--side=right | --knees=CSV] --output=DIR
"""

from pathlib import Path

from absl import flags

from xr2mri_jax.errors import InputError, printable
from xr2mri_jax.runtime import command_line

LABELS = flags.DEFINE_string(
    "labels", "", "label map (NIfTI, NRRD or MetaImage), or a folder of such"
)
SIDE = flags.DEFINE_enum("side", None, ["left", "right"], "side, where the labels do not tell it")
TABLE = flags.DEFINE_string(
    "table",
    "auto",
    "auto (names in the file, or a table that makes a knee of it), oai_zib, oai_zib_cm, oai_woo, "
    "ski10, pymskt, phantom, or a CSV file with code,name",
)
SEED = flags.DEFINE_integer("seed", 0, "of noise, textures, and the soft tissue that is added")
XRAY = flags.DEFINE_string("xray", None, "radiograph to write, ending in .png")
MRI = flags.DEFINE_string("mri", None, "MRI to write, ending in .nii.gz or .nii")
OUTPUT = flags.DEFINE_string("output", None, "folder for the pairs of a folder of maps")
KNEES = flags.DEFINE_string(
    "knees", None, "CSV with file, side, subject, visit, kl of the maps of a folder"
)


def main() -> None:
    """Simulates one pair or a folder of pairs from the flags."""
    folder = Path(LABELS.value).is_dir()
    _require(folder, {"xray": XRAY.value, "mri": MRI.value}, {"output": OUTPUT.value})
    if KNEES.value and not folder:
        raise InputError("--knees: found one map in --labels, expected a folder")
    if folder:
        _simulate_folder()
    else:
        _simulate_file()


def _simulate_file() -> None:
    # Imported here, so that a wrong flag is answered at once.
    from xr2mri_jax.simulation.files import PairFiles, simulate_file

    files = PairFiles.named(XRAY.value or "", MRI.value or "")
    record = simulate_file(LABELS.value, files, SIDE.value, TABLE.value, SEED.value)
    names = ", ".join(f"{code} {name}" for code, name in record["labels"]["names"].items())
    print(printable(f"labels: {names}"))
    for doubt in record["labels"]["doubts"]:
        print(printable(f"note: {doubt}"))
    print(f"not in the map, added from the phantom: {', '.join(record['added_from_phantom'])}")
    print(
        f"{files.xray}: {record['side']} knee, {record['radiograph']['spacing_mm'][0]:g} mm a "
        f"pixel, the joint in the middle\n{files.mri}: on the map's own grid"
    )


def _simulate_folder() -> None:
    from xr2mri_jax.simulation.folder import BROKEN, MANIFEST, simulate_folder

    output = Path(OUTPUT.value or "")
    report = simulate_folder(LABELS.value, output, SIDE.value, KNEES.value, TABLE.value, SEED.value)
    for name, reason in report.broken.items():
        print(printable(f"broken: {name}: {reason}"))
    more = f", reasons in {output / BROKEN}" if report.broken else ""
    print(
        f"{output / MANIFEST}: {len(report.done)} pairs simulated, {len(report.kept)} kept from "
        f"before, {len(report.broken)} maps broken{more}"
    )


def _require(
    folder: bool, of_file: dict[str, str | None], of_folder: dict[str, str | None]
) -> None:
    """Raises InputError where a flag is missing, or belongs to the other form."""
    wanted, other = (of_folder, of_file) if folder else (of_file, of_folder)
    form = "a folder" if folder else "one map"
    for name, value in wanted.items():
        if not value:
            raise InputError(f"--{name} is missing: --labels is {form}")
    for name, value in other.items():
        if value:
            raise InputError(f"--{name}: found {value}, expected none where --labels is {form}")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("labels",))
