"""Fits the network that finds knees in radiographs and writes its weights.

xr2mri fit_knee_finder --real=knee_xray_kl/train,knee_xray_kl/train_more --workdir=fit \
    --output=weights.npz
"""

from pathlib import Path

from absl import flags

from xr2mri_jax.runtime import command_line

_REAL = flags.DEFINE_list("real", None, "folders of real single-knee images, GRADE/NAME{R,L}.png")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder for intermediate files")
_OUTPUT = flags.DEFINE_string("output", None, "weights file to write, ending in .npz")


def main() -> None:
    """Fits and writes."""
    from xr2mri_jax.tools.fit_knee_finder.fit import Plan, fit

    workdir, output = (Path(str(flag.value)) for flag in (_WORKDIR, _OUTPUT))
    fit([Path(folder) for folder in _REAL.value or []], workdir, output, Plan())


def run() -> None:
    """The command line."""
    command_line.run(main, required=("real", "workdir", "output"))
