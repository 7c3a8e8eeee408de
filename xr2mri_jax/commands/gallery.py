"""Draws the predictions of one generator for simulated knees and real radiographs.

xr2mri gallery --output=GALLERY.png [--xray=FILE_OR_FOLDER] [--dataset=knee_family/default]
    [--data_dir=DIR] [--model=DIR] [--count=4]
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_OUTPUT = flags.DEFINE_string("output", "", "picture to write, ending in .png")
_MODEL = flags.DEFINE_string(
    "model", "", "workdir of a training run or folder of a generator; default: the shipped model"
)
_XRAY = flags.DEFINE_string("xray", None, "real radiograph, or a folder of them")
_DATASET = flags.DEFINE_string("dataset", None, "prepared dataset of simulated knees")
_DATA_DIR = flags.DEFINE_string("data_dir", "workdir/data", "folder of the prepared dataset")
_COUNT = flags.DEFINE_integer(
    "count", 4, "number of simulated and of real knees to draw", lower_bound=1
)


def main() -> None:
    """Draws the picture and prints its rows."""
    from xr2mri_jax.inference.gallery import write_gallery
    from xr2mri_jax.presentation.pluralise import pluralise

    titles = write_gallery(
        _OUTPUT.value, _MODEL.value, _XRAY.value, _DATASET.value, _DATA_DIR.value, _COUNT.value
    )
    print(f"{_OUTPUT.value}: {pluralise(len(titles), 'row')}: {'; '.join(titles)}")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("output",))
