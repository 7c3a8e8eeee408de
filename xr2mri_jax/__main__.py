"""The command `xr2mri`: runs the module of a verb; imports nothing heavy before that."""

import difflib
import importlib
import sys
from collections.abc import Sequence

import xr2mri_jax
from xr2mri_jax.errors import WRONG_INPUT

# By verb: what it does, and an example.
VERBS = {
    "sample": ("write a sample radiograph", "--output=knee.png"),
    "predict": (
        "predict an MRI volume, labels and meshes from one radiograph",
        "--xray=knee.png --output=volume.nii.gz",
    ),
    "serve": (
        "look at predictions in a browser: a local app for your own radiographs",
        "--port=8765",
    ),
    "grade": (
        "grade radiographs: Kellgren-Lawrence grades 0 to 4",
        "--xray=FOLDER --output=grades.csv",
    ),
    "prepare": (
        "prepare a dataset",
        "--dataset=knee_pairs --data_dir=DATA --source=COLLECTION",
    ),
    "train": (
        "train a stage, or continue a run",
        "--config=cae:pairs --workdir=RUN/cae --config.data.data_dir=DATA",
    ),
    "evaluate": (
        "evaluate a run against controls, and write a report",
        "--workdir=RUN/generator --split=test",
    ),
    "calibrate": (
        "fit the uncertainty of a trained generator",
        "--workdir=RUN/generator",
    ),
    "ladder": (
        "draw how much of the MRI a radiograph tells",
        "--workdir=RUN/generator --output=LADDER",
    ),
    "gradcam": (
        "average Grad-CAM maps of a classifier over a split",
        "--workdir=RUN/gap --split=validation --output=MAPS",
    ),
    "simulate": (
        "simulate a radiograph and an MRI from a label map",
        "--labels=knee.nii.gz --side=right --xray=x.png --mri=m.nii.gz",
    ),
    "export": (
        "write cases of a dataset as files",
        "--dataset=knee_phantom/quickstart --data_dir=DATA --cases=0,1 --output=CASES",
    ),
    "gallery": (
        "draw predictions for simulated and real knees",
        "--output=gallery.png --xray=FOLDER",
    ),
    "benchmark": ("run a benchmark", "--suite=generator --output=generator.json"),
    "ship_grader": ("package a training run as a grader", "--workdir=RUN/gap --output=GRADER"),
    "ship_generator": (
        "package a training run as a generator",
        "--workdir=RUN/generator --output=GENERATOR",
    ),
    "fit_knee_finder": (
        "fit the network that finds knees in radiographs",
        "--real=FOLDER --workdir=FIT --output=weights.npz",
    ),
    "fit_joint_centre": (
        "fit the network that finds the joint in an MRI",
        "--output=weights.npz",
    ),
    "fuzz": ("test the readers on damaged files", "--files=10000 --seed=0 --output=fuzz.json"),
    "completion": ("print a shell completion script", "bash"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `xr2mri VERB --flag=value ...`; an unknown verb gives one line and exit code 2."""
    if arguments is None:  # the process is this command
        importlib.import_module("xr2mri_jax.runtime.start_command")
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words[0] if words else "--help"
    if verb in ("--help", "-h", "--helpfull", "help"):
        print(_help())
    elif verb == "--version":
        print(f"xr2mri_jax {xr2mri_jax.__version__}")
    elif verb == "completion":
        from xr2mri_jax.commands import completion

        completion.run(words[1:], VERBS)
    elif verb in VERBS:
        # absl takes the program's name from the first word.
        sys.argv = [f"xr2mri {verb}", *words[1:]]
        importlib.import_module(f"xr2mri_jax.commands.{verb}").run()
    else:
        near = difflib.get_close_matches(verb.replace("-", "_"), VERBS, 1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(VERBS)}"
        print(f"error: unknown verb {verb!r}: {hint}", file=sys.stderr)
        sys.exit(WRONG_INPUT)


def _help() -> str:
    lines = [
        "xr2mri VERB --flag=value ...      knee MRI volumes from a single radiograph",
        "",
        "For research only, not for diagnosis.",
        "",
    ]
    for verb, (what, example) in VERBS.items():
        lines += [f"  {verb:18s}{what}", f"  {'':18s}    xr2mri {verb} {example}"]
    lines += [
        "",
        "xr2mri VERB --help lists the flags of a verb.",
        "xr2mri --version prints the version.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
