"""Fits the network that finds the joint's centre in an MRI, with a fixed seed.

xr2mri fit_joint_centre --output=weights.npz

The default flags produce the shipped weights, which are described in
xr2mri_jax/preprocess/joint_centre/README.md.
"""

from absl import flags

from xr2mri_jax.runtime import command_line
from xr2mri_jax.tools.fit_joint_centre import fit

_PLAN = fit.Plan()
_OUTPUT = flags.DEFINE_string("output", None, "weights file to write, ending in .npz")
_KNEES = flags.DEFINE_integer("knees", _PLAN.knees, "number of phantom knees")
_EXAMPLES = flags.DEFINE_integer(
    "examples", _PLAN.examples, "number of training examples made from the knees"
)
_STEPS = flags.DEFINE_integer("steps", _PLAN.steps, "optimizer steps")
_SEED = flags.DEFINE_integer("seed", _PLAN.seed, "random seed")


def main() -> None:
    """Fits and writes the weights."""
    plan = fit.Plan(_KNEES.value, _EXAMPLES.value, _STEPS.value, seed=_SEED.value)
    fit.fit(str(_OUTPUT.value), plan)


def run() -> None:
    """The command line."""
    command_line.run(main, required=("output",))
