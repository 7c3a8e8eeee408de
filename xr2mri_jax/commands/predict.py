"""Synthesises MRI volumes from radiographs of knees, with a record and a picture for each.

xr2mri predict --xray=FILE --output=OUT.nii.gz [--model=DIR] [--side=right] [--spacing=MM]
    [--labels=LABELS.nii.gz] [--meshes=DIR] [--dicom_dir=DIR [--keep_identity]]
    [--page=FOLDER_OR_HTML]
xr2mri predict --xray=FOLDER_OR_CSV --output=FOLDER [--labels=FOLDER] [--meshes=FOLDER]
    [--page=FOLDER]
"""

from pathlib import Path

from absl import flags

from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import command_line

MODEL = flags.DEFINE_string(
    "model", "", "workdir of a trained generator or joint stage; default: the shipped model"
)
XRAY = flags.DEFINE_string(
    "xray",
    "",
    "radiograph of one or both knees: DICOM, PNG, TIFF, JPEG or NIfTI; a folder of radiographs; a "
    "CSV table with the column file",
)
OUTPUT = flags.DEFINE_string(
    "output", "", "volume to write, ending in .nii.gz or .nii; for several radiographs a folder"
)
SIDE = flags.DEFINE_enum(
    "side",
    None,
    ["left", "right"],
    "side of the knee; default: from the file, else from the image; required if both knees are "
    "shown",
)
SPACING = flags.DEFINE_float(
    "spacing",
    None,
    "pixel spacing at the knee in mm; default: from the file, else estimated from the image",
)
CENTRE = flags.DEFINE_string(
    "centre", None, "joint centre, row,column in pixels; default: located in the image"
)
DICOM_DIR = flags.DEFINE_string(
    "dicom_dir", None, "new folder; also write the volume as a DICOM series"
)
KEEP_IDENTITY = flags.DEFINE_bool(
    "keep_identity", False, "copy patient and study of the radiograph to the DICOM series"
)
LABELS = flags.DEFINE_string(
    "labels",
    None,
    "label map to write, ending in .nii.gz or .nii; for several radiographs a folder",
)
MESHES = flags.DEFINE_string(
    "meshes", None, "folder for meshes: one STL file per structure, in patient mm"
)
PICTURE = flags.DEFINE_bool(
    "picture", None, "draw a PNG of each volume; default: yes for one radiograph, no for several"
)
PAGE = flags.DEFINE_string(
    "page",
    None,
    "also write a page with a viewer of volume, labels and meshes: a new folder with index.html; "
    "for one radiograph also possible: one file ending in .html",
)
FORCE = flags.DEFINE_bool(
    "force",
    False,
    "use the middle of the image if no frontal knee is found in it; also accept a tilted joint "
    "line or an impossible --spacing",
)


def main() -> None:
    """Predicts what the flags ask for."""
    centre = _parse_centre(CENTRE.value)
    # Imported here, so that wrong flags are reported immediately.
    from xr2mri_jax.inference.predict_many import is_many
    from xr2mri_jax.runtime import compilation_cache, host_memory

    host_memory.keep_freed_memory()
    compilation_cache.use()
    if is_many(XRAY.value):
        _predict_many()
    else:
        _predict_one(centre)


def _predict_one(centre: tuple[float, float] | None) -> None:
    from xr2mri_jax.inference.predict import predict_file

    predict_file(
        MODEL.value,
        XRAY.value,
        OUTPUT.value,
        SIDE.value,
        SPACING.value,
        centre,
        DICOM_DIR.value,
        KEEP_IDENTITY.value,
        FORCE.value,
        LABELS.value,
        MESHES.value,
        picture=PICTURE.value is not False,
        page=PAGE.value,
    )
    print(f"{OUTPUT.value}: synthesised from one radiograph - research only, not for diagnosis")


def _predict_many() -> None:
    from xr2mri_jax.inference.many_options import ManyOptions
    from xr2mri_jax.inference.predict_many import predict_many

    for flag in (CENTRE, DICOM_DIR, KEEP_IDENTITY):
        if flag.value not in (None, False):
            raise InputError(
                f"--{flag.name}: found {flag.value!r} with many radiographs, expected it with one"
            )
    for flag in (OUTPUT, LABELS):
        if flag.value is not None and flag.value.endswith((".nii", ".nii.gz")):
            raise InputError(
                f"--{flag.name}: found the file {flag.value}, with many radiographs "
                f"(--xray={XRAY.value}) expected a folder"
            )
    options = ManyOptions(
        Path(XRAY.value),
        Path(OUTPUT.value),
        MODEL.value or None,
        SIDE.value,
        SPACING.value,
        FORCE.value,
        None if LABELS.value is None else Path(LABELS.value),
        None if MESHES.value is None else Path(MESHES.value),
        bool(PICTURE.value),
        None if PAGE.value is None else Path(PAGE.value),
    )
    predict_many(options)


def _parse_centre(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        row, column = (float(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--centre: found {text!r}, expected row,column, e.g. 512,380.5"
        ) from error
    return row, column


def run() -> None:
    """The command line."""
    command_line.run(main, required=("xray", "output"))
