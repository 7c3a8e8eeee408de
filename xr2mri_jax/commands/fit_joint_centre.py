"""Fits the network that finds the joint's centre in an MRI; its weights ship with the package.

xr2mri fit_joint_centre --output=xr2mri_jax/preprocess/joint_centre.npz

The weights that ship were fitted in two rounds (about 700 steps) with other mixtures of examples
in between. One fit by this command takes 15 minutes on two CPU cores and came out worse: on one of
the tests' coronal scans it is 7 mm off.
"""

from absl import flags

from xr2mri_jax.runtime import command_line
from xr2mri_jax.tools.fit_joint_centre import fit

_OUTPUT = flags.DEFINE_string("output", None, "the .npz file of the weights")
_KNEES = flags.DEFINE_integer("knees", 500, "phantom knees")
_EXAMPLES = flags.DEFINE_integer("examples", 8000, "examples made of them")
_STEPS = flags.DEFINE_integer("steps", 1000, "steps of the optimizer")


def main() -> None:
    """Fits and writes the weights."""
    fit.fit(str(_OUTPUT.value), _KNEES.value, _EXAMPLES.value, _STEPS.value)


def run() -> None:
    """The command line."""
    command_line.run(main, required=("output",))
