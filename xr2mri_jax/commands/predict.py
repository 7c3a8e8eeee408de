"""One radiograph of a knee to one synthesised MRI volume, with a picture and a record beside it.

xr2mri predict --xray=FILE --output=OUT.nii.gz [--model=DIR] [--side=right] [--spacing=MM]
    [--labels=LABELS.nii.gz] [--meshes=DIR] [--dicom_dir=DIR [--keep_identity]]
"""

from absl import flags

from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import command_line

MODEL = flags.DEFINE_string(
    "model", "", "workdir of a trained generator or joint stage; default the model that ships"
)
XRAY = flags.DEFINE_string("xray", "", "radiograph of one knee or of both, any of the formats")
OUTPUT = flags.DEFINE_string("output", "", "volume to write, ending in .nii.gz or .nii")
SIDE = flags.DEFINE_enum(
    "side", None, ["left", "right"], "which knee of two; of one where the file says no side"
)
SPACING = flags.DEFINE_float(
    "spacing", None, "mm a pixel at the knee; where neither it nor the file states one: estimated"
)
CENTRE = flags.DEFINE_string(
    "centre",
    None,
    "pixel row,column of the joint's centre; where not given, where the joint is seen",
)
DICOM_DIR = flags.DEFINE_string("dicom_dir", None, "new folder for the volume as DICOM series")
KEEP_IDENTITY = flags.DEFINE_bool(
    "keep_identity", False, "carry the radiograph's patient and study over into the DICOM series"
)
LABELS = flags.DEFINE_string("labels", None, "label map to write, ending in .nii.gz or .nii")
MESHES = flags.DEFINE_string("meshes", None, "folder for a STL file a structure, patient's mm")
FORCE = flags.DEFINE_bool("force", False, "take the middle of a picture that shows no frontal knee")


def main() -> None:
    """Predicts one volume from the flags."""
    centre = _parse_centre(CENTRE.value)
    # Imported here, so that a wrong flag is answered at once.
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
    )
    print(f"{OUTPUT.value}: synthesised from one radiograph - research only, not for diagnosis")


def _parse_centre(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        row, column = (float(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(f"--centre: found {text!r}, expected row,column as 512,380.5") from error
    return row, column


def run() -> None:
    """The command line."""
    command_line.run(main, required=("xray", "output"))
