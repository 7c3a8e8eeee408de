"""Fits the network that finds the joint's centre in an MRI; its weights ship with the package.

python launch/fit_joint_centre.py --output=xr2mri_jax/preprocess/joint_centre.npz
"""

from absl import flags

from xr2mri_jax import command_line
from xr2mri_jax.joint_centre_training import fit

_OUTPUT = flags.DEFINE_string("output", None, "the .npz file of the weights")
_KNEES = flags.DEFINE_integer("knees", 500, "phantom knees")
_EXAMPLES = flags.DEFINE_integer("examples", 8000, "examples made of them")
_STEPS = flags.DEFINE_integer("steps", 1000, "steps of the optimizer")


def main() -> None:
    """Fits and writes the weights."""
    fit.fit(str(_OUTPUT.value), _KNEES.value, _EXAMPLES.value, _STEPS.value)


if __name__ == "__main__":
    command_line.run(main, required=("output",))
