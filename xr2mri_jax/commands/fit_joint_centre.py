"""Fits the network that finds the joint's centre in an MRI, with a fixed seed.

xr2mri fit_joint_centre --output=weights.npz

The weights that ship are older than this fit; xr2mri_jax/preprocess/joint_centre/README.md says how
they were made.
"""

from absl import flags

from xr2mri_jax.runtime import command_line
from xr2mri_jax.tools.fit_joint_centre import fit

_PLAN = fit.Plan()
_OUTPUT = flags.DEFINE_string("output", None, "the .npz file of the weights")
_KNEES = flags.DEFINE_integer("knees", _PLAN.knees, "phantom knees")
_EXAMPLES = flags.DEFINE_integer("examples", _PLAN.examples, "examples made of them")
_STEPS = flags.DEFINE_integer("steps", _PLAN.steps, "optimizer steps")
_SEED = flags.DEFINE_integer("seed", _PLAN.seed, "seed of the whole fit")


def main() -> None:
    """Fits and writes the weights."""
    plan = fit.Plan(_KNEES.value, _EXAMPLES.value, _STEPS.value, seed=_SEED.value)
    fit.fit(str(_OUTPUT.value), plan)


def run() -> None:
    """The command line."""
    command_line.run(main, required=("output",))
