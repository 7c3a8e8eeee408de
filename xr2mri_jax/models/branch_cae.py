"""Auto-encoder of both sides of the joint, whose encoder is Siamese-GAP's branch.

The decoder is small and used in training only: the purpose is to pretrain the branch's parameters.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from xr2mri_jax.models.layers import Convolution, Dtype, Upsample, activate, initialiser
from xr2mri_jax.models.product import Dense
from xr2mri_jax.models.siamese_gap import Branch, SiameseGapSpec


class BranchCae(nn.Module):
    """Patches f32[n, p, p, 1] in [0, 1] -> reconstructions of the same shape and range.

    Submodules `branch`, as in `siamese_gap.SiameseGap`, and `decoder`; collections "params" and
    "batch_stats".
    """

    spec: SiameseGapSpec
    hidden_channels: int
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        self.branch = Branch(self.spec, self.axis_name, self.dtype)
        self.decoder = _Decoder(self.spec, self.hidden_channels, self.dtype)

    def __call__(self, patches: jax.Array, train: bool = False) -> jax.Array:
        """See the class; `train`: batch normalisation uses the batch's own moments."""
        return self.decoder(self.branch(patches, train)[-1])


class _Decoder(nn.Module):
    """The last block's maps [n, h, w, c] -> f32[n, p, p, 1] in [0, 1]."""

    spec: SiameseGapSpec
    hidden_channels: int
    dtype: Dtype

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        *finer, last = self.spec.channels
        hidden = Dense(
            self.hidden_channels, kernel_init=initialiser(1.0), dtype=self.dtype, name="bottleneck"
        )
        x = Convolution(last // 2, dtype=self.dtype, name="widen")(hidden(maps))
        for level in reversed(range(len(finer))):
            x = Upsample(finer[level] // 2, dtype=self.dtype, name=f"up{level}")(activate(x))
        output = Convolution(1, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="output")
        return jax.nn.sigmoid(output(activate(x)).astype(jnp.float32))


def hidden_cells(keys: jax.Array, shape: tuple[int, ...], pixels: int, share: float) -> jax.Array:
    """Which pixels of an image are hidden, in square cells: f32[b, h, w, 1], 1 where hidden.

    As in SimMIM (Xie et al. 2022, arXiv 2111.09886, section 3.2): a share of the cells, drawn
    without replacement.

    Args:
      keys: key[b].
      shape: (h, w).
      pixels: side of a cell; those at the lower and right margin may be cut.
      share: of the cells, rounded to whole cells.
    """
    height, width = shape
    rows, columns = -(-height // pixels), -(-width // pixels)
    count = round(share * rows * columns)

    def of_one(key: jax.Array) -> jax.Array:
        order = jax.random.permutation(key, rows * columns)
        cells = (order < count).reshape(rows, columns).astype(jnp.float32)
        return jnp.repeat(jnp.repeat(cells, pixels, axis=0), pixels, axis=1)

    return jax.vmap(of_one)(keys)[:, :height, :width, None]
