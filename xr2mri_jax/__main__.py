"""The command `xr2mri`: finds the verb and hands over to it; imports nothing heavy before."""

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
        "one radiograph to an MRI volume, labels, meshes",
        "--xray=knee.png --output=knee.nii.gz",
    ),
    "grade": ("Kellgren-Lawrence grade 2 against 0", "--xray=FOLDER --output=grades.csv"),
    "prepare": (
        "build a dataset",
        "--dataset=knee_pairs --data_dir=DATA --source=COLLECTION",
    ),
    "train": (
        "train a stage, or continue it",
        "--config=cae:pairs --workdir=RUN/cae --config.data.data_dir=DATA",
    ),
    "evaluate": ("metrics with controls, and a report", "--workdir=RUN/generator --split=test"),
    "gradcam": (
        "where a classifier looks, over a split",
        "--workdir=RUN/gap --split=validation --output=MAPS",
    ),
    "simulate": (
        "a label map to a simulated radiograph and MRI",
        "--labels=knee.nii.gz --side=right --xray=x.png --mri=m.nii.gz",
    ),
    "export": (
        "cases of a dataset as files",
        "--dataset=knee_phantom/quickstart --data_dir=DATA --cases=0,1 --output=CASES",
    ),
    "gallery": (
        "simulated and real knees through one generator, as a picture",
        "--output=gallery.png --xray=FOLDER",
    ),
    "benchmark": ("measured comparisons", "--suite=generator --output=generator.json"),
    "ship_grader": ("a training run becomes a grader", "--workdir=RUN/gap --output=GRADER"),
    "ship_generator": (
        "a training run becomes a generator that ships",
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
    "fuzz": ("damaged files for every reader", "--files=10000 --seed=0 --output=fuzz.json"),
    "completion": ("print a shell completion script", "bash"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `xr2mri VERB --flag=value ...`; exit code 2 and one line for a verb that is none."""
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
        print(f"error: found the verb {verb!r}: {hint}", file=sys.stderr)
        sys.exit(WRONG_INPUT)


def _help() -> str:
    lines = [
        "xr2mri VERB --flag=value ...      knee MRI volumes from one radiograph, with controls",
        "",
        "For research only, not for diagnosis.",
        "",
    ]
    for verb, (what, example) in VERBS.items():
        lines += [f"  {verb:18s}{what}", f"  {'':18s}    xr2mri {verb} {example}"]
    lines += ["", "xr2mri VERB --help lists the verb's flags; xr2mri --version the version."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
