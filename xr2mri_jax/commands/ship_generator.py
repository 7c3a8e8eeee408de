"""Packages a training run as the generator that `xr2mri predict` uses.

xr2mri ship_generator --workdir=RUN [--real=knee_xray/box128] [--maps=DIR] [--output=NEW_FOLDER]
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_WORKDIR = flags.DEFINE_string(
    "workdir", "", "folder of the training run, or of a packaged generator whose mean --maps renews"
)
_REAL = flags.DEFINE_string(
    "real", "knee_xray/box128", "dataset of real radiographs for the novelty score and the reading"
)
_OUTPUT = flags.DEFINE_string("output", None, "new folder; default: the package's own model")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "folder of the prepared datasets; default: as in training"
)
_MAPS = flags.DEFINE_string(
    "maps", None, "label maps of knee_family: its usual knee becomes the generator's mean"
)
_TRUST = flags.DEFINE_float(
    "trust", 1.0, "form shape: factor, 0 to 1, of all departures from the mean knee"
)
_READING_KNEES = flags.DEFINE_integer(
    "reading_knees",
    0,
    "packaged generator: replace its reading of the radiograph by a linear one, fitted on this "
    "number of simulated knees and on --real",
)
_EXCLUDE = flags.DEFINE_list(
    "exclude_subjects", [], "patients of --real whose radiographs take no part in --reading_knees"
)
_STEP = flags.DEFINE_integer("step", None, "checkpoint; default: the newest")


def main() -> None:
    """Packages the generator and prints its folder."""
    from xr2mri_jax.evaluation import ship_generator

    model, folder = ship_generator.ship(
        _WORKDIR.value,
        _REAL.value,
        _OUTPUT.value,
        _DATA_DIR.value,
        _STEP.value,
        _MAPS.value,
        _TRUST.value,
        _READING_KNEES.value,
        _EXCLUDE.value,
    )
    size = (folder / "weights.npz").stat().st_size / 2**20
    print(f"{folder}: {model.stage.name} stage, step {model.step}, {size:.1f} MB")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("workdir",))
