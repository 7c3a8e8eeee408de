"""Volumes split along depth over the devices of a mesh; without such a mesh nothing changes.

A volume's features are [b, h, w, d, c], seen by the matrix products as columns [b, h, w, d * c].
Splitting `d` therefore splits a column into contiguous parts: the product into a column gives each
device its own part, the product out of a column is a sum over the devices, and only upsampling
reads neighbours of another device. XLA's partitioner inserts these exchanges. All a model does is
to name, by `split_depth`, the axis of `d` after every level: activations, their gradients and the
output are then stored in parts, while 2D features, parameters and the optimizer's state are whole
on every device.
"""

import jax
from jax.sharding import PartitionSpec

# The mesh axes of `training.parallel`: examples, and the depth of volumes.
BATCH, DEPTH = "batch", "depth"
# The depth axis of a batch's entries.
DEPTH_AXIS = {"mri": 1, "mask": 1, "labels": 1, "distances": 2}


def split_depth(x: jax.Array, axis: int) -> jax.Array:
    """The same array, split along its depth over the devices of the current mesh.

    Args:
      x: [b, ...], traced or not.
      axis: the position of `d`.

    Returns:
      `x`, unchanged where no mesh is set (`jax.set_mesh`), it does not split depth, or its parts
      would be unequal, as at the coarsest levels.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or DEPTH not in mesh.axis_names or x.shape[axis] % mesh.shape[DEPTH]:
        return x
    return jax.lax.with_sharding_constraint(x, spec(x.ndim, axis, x.shape[0], dict(mesh.shape)))


def spec(ndim: int, axis: int, examples: int, sizes: dict[str, int]) -> PartitionSpec:
    """The split of an array over depth, and over examples where their number allows it."""
    parts: list[str | None] = [None] * ndim
    parts[axis] = DEPTH
    if examples % sizes[BATCH] == 0:
        parts[0] = BATCH
    return PartitionSpec(*parts)
