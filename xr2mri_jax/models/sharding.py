"""Volumes split along depth over the devices of a mesh; without such a mesh nothing changes.

A volume's features are [b, h, w, d, c]; the matrix products treat them as columns [b, h, w, d * c].
Splitting `d` therefore splits a column into contiguous parts: the product into a column gives each
device its own part, and the product out of a column is a sum over the devices, which XLA's
partitioner inserts. Only upsampling reads the voxels next to a part; `upsampled` exchanges them
itself, because the interleaved phases have an odd size, for which the partitioner of jaxlib 0.10
and 0.12 crashes. A model only has to name the axis of `d` by `split_depth` after every level:
activations, their gradients and the output are then stored in parts, while 2D features, parameters
and the optimizer's state are complete on every device.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

# The mesh axes of `training.parallel`: examples, and the depth of volumes.
BATCH, DEPTH = "batch", "depth"
# The depth axis of a batch's entries.
DEPTH_AXIS = {"mri": 1, "mask": 1, "labels": 1, "distances": 2}


def split_depth(x: jax.Array, axis: int) -> jax.Array:
    """The same array, split along its depth over the devices of the current mesh.

    Args:
      x: [b, ...], traced.
      axis: the position of `d`.

    Returns:
      `x`, unchanged if no mesh is set (`jax.set_mesh`) or the mesh does not split depth; complete
      on each device of the depth axis if the parts would be unequal, as at the coarsest levels.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or DEPTH not in mesh.axis_names:
        return x
    return jax.lax.with_sharding_constraint(x, _spec(x, axis, dict(mesh.shape)))


def upsampled(
    upsample: Callable[..., jax.Array],
    x: jax.Array,
    kernel: jax.Array,
    crop: tuple[int, int],
    bias: jax.Array,
) -> jax.Array:
    """A transposed convolution with kernel 4 and stride 2, computed by parts if depth is split.

    Args:
      upsample: `layers.transposed_convolution`.
      x: [b, *n, c]; with three spatial axes the last one is the depth.
      kernel: [4, ..., c, o].
      crop: on every axis, see `upsample`.
      bias: [o].

    Returns:
      [b, *(2 n), o], split along depth like `x` by `split_depth`.
    """
    dims = x.ndim - 2
    mesh = jax.sharding.get_abstract_mesh()
    if dims < 3 or mesh.empty or DEPTH not in mesh.axis_names:
        return upsample(x, kernel, (crop,) * dims, bias)
    sizes = dict(mesh.shape)
    parts, spec = sizes[DEPTH], _spec(x, 3, sizes)
    if x.shape[3] % parts:
        whole = PartitionSpec(spec[0])
        y = upsample(jax.lax.with_sharding_constraint(x, whole), kernel, (crop,) * dims, bias)
        return jax.lax.with_sharding_constraint(y, whole)

    def part(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        """One device's part, with the voxels before and after it, which are 0 at the ends."""
        # The explicit gradients (`product`) are those of one device's part; the gradient of
        # `pcast` sums them.
        kernel, bias = (jax.lax.pcast(whole, split, to="varying") for whole in (kernel, bias))
        up = [(i, i + 1) for i in range(parts - 1)]
        before = jax.lax.ppermute(x[:, :, :, -1:], DEPTH, up)
        after = jax.lax.ppermute(x[:, :, :, :1], DEPTH, [(j, i) for i, j in up])
        wide = jnp.concatenate([before, x, after], axis=3)
        return upsample(wide, kernel, (crop, crop, (crop[0] + 2, crop[1] + 2)), bias)

    split = tuple(name for name in spec if name is not None)
    specs = (spec, PartitionSpec(), PartitionSpec())
    return jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=spec)(x, kernel, bias)


def _spec(x: jax.Array, axis: int, sizes: dict[str, int]) -> PartitionSpec:
    """The split of an array over examples and depth, wherever the parts are equal."""
    parts: list[str | None] = [None] * x.ndim
    if x.shape[axis] % sizes[DEPTH] == 0:
        parts[axis] = DEPTH
    if x.shape[0] % sizes[BATCH] == 0:
        parts[0] = BATCH
    return PartitionSpec(*parts)
