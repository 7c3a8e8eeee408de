"""Makes the generator that launch/predict.py uses from a training run.

xr2mri ship_generator --workdir=RUN [--real=knee_xray/box128] [--output=NEW_FOLDER]
"""

from absl import flags

from xr2mri_jax.runtime import command_line

_WORKDIR = flags.DEFINE_string("workdir", "", "folder of the training run")
_REAL = flags.DEFINE_string(
    "real", "knee_xray/box128", "dataset of real radiographs that the model is to know"
)
_OUTPUT = flags.DEFINE_string("output", None, "new folder; default the package's own model")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where the dataset is; default as in training")
_STEP = flags.DEFINE_integer("step", None, "checkpoint; default the newest")


def main() -> None:
    """Reads the flags, makes the generator and says where it is."""
    from xr2mri_jax.evaluation import ship_generator

    model, folder = ship_generator.ship(
        _WORKDIR.value, _REAL.value, _OUTPUT.value, _DATA_DIR.value, _STEP.value
    )
    size = (folder / "weights.npz").stat().st_size / 2**20
    print(f"{folder}: {model.stage.name} stage, step {model.step}, {size:.1f} MB")


def run() -> None:
    """The command line."""
    command_line.run(main, required=("workdir",))
