"""Convolutional auto-encoder of radiographs, with the presets `compact` and `paper`.

`paper`: Wang, Chetouani and Jennane's auto-encoder of knee radiographs: seven 3x3 convolutions of
stride 2, 32 to 2048 channels, LeakyReLU 0.2; a 299x299 radiograph becomes 2048 hidden variables.
`compact`: for two CPU cores: fewer levels, and a bottleneck that keeps a small map of positions.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import specification
from xr2mri_jax.models.layers import (
    Convolution,
    Dtype,
    ResidualBlock,
    Upsample,
    activate,
    depth_to_space,
    initialiser,
    transposed_convolution,
)
from xr2mri_jax.models.product import Dense


@dataclasses.dataclass(frozen=True)
class CompactSpec:
    """Sizes of the `compact` preset.

    Attributes:
      image_shape: (h, w) of the radiograph, each a multiple of 2**len(channels).
      channels: channels of the levels, finest (half resolution) first.
      hidden_channels: channels of the bottleneck's map at the last level's resolution.
      blocks: residual blocks of each level, from a quarter of the resolution on.
      mean_level: value of the untrained reconstruction, in (0, 1).
    """

    image_shape: tuple[int, ...]
    preset: str = "compact"
    channels: tuple[int, ...] = (16, 32, 64, 96)
    hidden_channels: int = 32
    blocks: int = 1
    mean_level: float = 0.4


@dataclasses.dataclass(frozen=True)
class PaperSpec:
    """Sizes of the `paper` preset: image_shape (h, w), the levels' channels, finest first."""

    image_shape: tuple[int, ...] = (299, 299)
    preset: str = "paper"
    channels: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048)
    mean_level: float = 0.4


PRESETS = {"compact": CompactSpec, "paper": PaperSpec}
CAESpec = CompactSpec | PaperSpec


class CompactEncoder(nn.Module):
    """Radiograph f32[b, h, w, 1] in [0, 1] -> hidden variables by level, finest first.

    Level i has [b, h / 2**(i+1), w / 2**(i+1), channels[i]]; the last is the bottleneck with
    `hidden_channels`. Values are unbounded, in the compute dtype.
    """

    spec: CompactSpec
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, xray: jax.Array) -> tuple[jax.Array, ...]:
        _require_image(xray, self.spec)
        spec, levels = self.spec, []
        x = (xray - spec.mean_level).astype(self.dtype)
        for level, channels in enumerate(spec.channels):
            x = Convolution(channels, stride=2, dtype=self.dtype, name=f"down{level}")(x)
            for block in range(spec.blocks if level else 0):
                name = f"level{level}_block{block}"
                x = ResidualBlock(channels, dtype=self.dtype, name=name)(x)
            x = activate(x)
            levels.append(x)
        hidden = Dense(
            spec.hidden_channels, kernel_init=initialiser(1.0), dtype=self.dtype, name="bottleneck"
        )(x)
        return (*levels[:-1], hidden)


class CompactDecoder(nn.Module):
    """Bottleneck [b, h', w', hidden_channels] -> reconstruction f32[b, h, w, 1] in [0, 1]."""

    spec: CompactSpec
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        spec = self.spec
        x = Convolution(spec.channels[-1], dtype=self.dtype, name="widen")(hidden)
        for level in reversed(range(len(spec.channels))):
            if level < len(spec.channels) - 1:
                x = Upsample(spec.channels[level], dtype=self.dtype, name=f"up{level}")(activate(x))
            for block in range(spec.blocks if level else 0):
                name = f"level{level}_block{block}"
                x = ResidualBlock(spec.channels[level], dtype=self.dtype, name=name)(x)
        logits = _OutputConvolution(4, spec.mean_level, dtype=self.dtype, name="output")(
            activate(x)
        )
        return jax.nn.sigmoid(depth_to_space(logits, 2).astype(jnp.float32))


class PaperEncoder(nn.Module):
    """Radiograph f32[b, h, w, 1] -> the activations of all convolutions, finest first."""

    spec: PaperSpec
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, xray: jax.Array) -> tuple[jax.Array, ...]:
        _require_image(xray, self.spec)
        x, levels = xray.astype(self.dtype), []
        for level, channels in enumerate(self.spec.channels):
            name = f"down{level}"
            convolution = Convolution(channels, 2, "VALID", dtype=self.dtype, name=name)
            x = activate(convolution(x))
            levels.append(x)
        return tuple(levels)


class PaperDecoder(nn.Module):
    """Mirror of `PaperEncoder`: bottleneck [b, h', w', c] -> f32[b, h, w, 1] in [0, 1]."""

    spec: PaperSpec
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        sizes = [self.spec.image_shape, *_paper_sizes(self.spec)]
        features = [1, *self.spec.channels]
        x = hidden
        for level in reversed(range(len(self.spec.channels))):
            shape = (3, 3, features[level + 1], features[level])
            # A 3x3 kernel's taps over four phases: an output pixel depends on 9/4 on average.
            kernel = self.param(f"up{level}_kernel", initialiser(8.0), shape, jnp.float32)
            start = 0.0 if level else _logit(self.spec.mean_level)
            bias = self.param(
                f"up{level}_bias", nn.initializers.constant(start), shape[-1:], jnp.float32
            )
            crop = tuple(
                (0, 2 * n + 2 - m) for n, m in zip(x.shape[1:3], sizes[level], strict=True)
            )
            x = transposed_convolution(x.astype(self.dtype), kernel.astype(self.dtype), crop)
            x = x + bias.astype(self.dtype)
            if level:
                x = activate(x)
        return jax.nn.sigmoid(x.astype(jnp.float32))


class _OutputConvolution(nn.Module):
    """3x3 convolution to logits whose first output is logit(mean_level) everywhere."""

    features: int
    mean_level: float
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Conv(
            self.features,
            (3, 3),
            kernel_init=nn.initializers.zeros,
            bias_init=nn.initializers.constant(_logit(self.mean_level)),
            dtype=self.dtype,
            name="conv",
        )(x)


class CAE(nn.Module):
    """The auto-encoder: submodules `encoder` and `decoder`, computing in `dtype`.

    Parameters are float32 under {"encoder": ..., "decoder": ...}.
    """

    spec: CAESpec
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        self.encoder = _encoder(self.spec, self.dtype)
        self.decoder = _decoder(self.spec, self.dtype)

    def encode(self, xray: jax.Array) -> tuple[jax.Array, ...]:
        """f32[b, h, w, 1] in [0, 1] -> hidden variables by level, finest first, bottleneck last."""
        return self.encoder(xray)

    def decode(self, hidden: jax.Array) -> jax.Array:
        """The last entry of `encode` -> reconstruction f32[b, h, w, 1] in [0, 1]."""
        return self.decoder(hidden)

    def __call__(self, xray: jax.Array) -> jax.Array:
        """f32[b, h, w, 1] in [0, 1] -> reconstruction f32[b, h, w, 1] in [0, 1]."""
        return self.decoder(self.encoder(xray)[-1])


def read_spec(spec: Mapping[str, Any]) -> CAESpec:
    """Checks a mapping with `preset`, `image_shape` and any override of the preset's sizes.

    Raises:
      InputError: unknown preset or key, wrong type, or sizes that do not fit the image.
    """
    preset = spec.get("preset", "compact")
    if preset not in PRESETS:
        raise InputError(f"cae.preset: found {preset!r}, expected one of {', '.join(PRESETS)}")
    checked: CAESpec = specification.read(PRESETS[preset], spec, "cae")
    if len(checked.image_shape) != 2:
        raise InputError(f"cae.image_shape: found {checked.image_shape}, expected (h, w)")
    if not 0.0 < checked.mean_level < 1.0:
        raise InputError(f"cae.mean_level: found {checked.mean_level}, expected it inside (0, 1)")
    specification.require_positive(checked.channels, "cae.channels")
    if isinstance(checked, CompactSpec):
        specification.require_positive((checked.hidden_channels,), "cae.hidden_channels")
        specification.require_divisible(
            checked.image_shape, len(checked.channels), "cae.image_shape"
        )
    elif min(_paper_sizes(checked)[-1]) < 1:
        raise InputError(
            f"cae.image_shape: found {checked.image_shape}, too small for "
            f"{len(checked.channels)} convolutions of stride 2 without padding"
        )
    return checked


def make(spec: Mapping[str, Any], dtype: Dtype = jnp.float32) -> CAE:
    """The auto-encoder of `spec` (see `CompactSpec` and `PaperSpec`), computing in `dtype`."""
    return CAE(read_spec(spec), dtype)


def make_encoder(spec: Mapping[str, Any], dtype: Dtype = jnp.float32) -> nn.Module:
    """The encoder alone: `make_encoder(spec).apply({"params": params["encoder"]}, xray)`."""
    return _encoder(read_spec(spec), dtype)


def hidden_shapes(spec: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    """Shapes of the hidden variables by level, finest first, without the batch axis."""
    checked = read_spec(spec)
    if isinstance(checked, PaperSpec):
        sizes = _paper_sizes(checked)
        return tuple((*s, c) for s, c in zip(sizes, checked.channels, strict=True))
    h, w = checked.image_shape
    channels = (*checked.channels[:-1], checked.hidden_channels)
    return tuple((h >> level + 1, w >> level + 1, c) for level, c in enumerate(channels))


def _encoder(spec: CAESpec, dtype: Dtype) -> nn.Module:
    if isinstance(spec, PaperSpec):
        return PaperEncoder(spec, dtype)
    return CompactEncoder(spec, dtype)


def _decoder(spec: CAESpec, dtype: Dtype) -> nn.Module:
    if isinstance(spec, PaperSpec):
        return PaperDecoder(spec, dtype)
    return CompactDecoder(spec, dtype)


def _paper_sizes(spec: PaperSpec) -> list[tuple[int, ...]]:
    """(h, w) after each convolution: floor((n - 3) / 2) + 1."""
    sizes, size = [], spec.image_shape
    for _ in spec.channels:
        size = tuple((n - 1) // 2 for n in size)
        sizes.append(size)
    return sizes


def _logit(level: float) -> float:
    return math.log(level / (1.0 - level))


def _require_image(xray: jax.Array, spec: CAESpec) -> None:
    if xray.ndim != 4 or xray.shape[1:] != (*spec.image_shape, 1):
        raise InputError(
            f"radiograph: found the shape {xray.shape}, expected (b, h, w, 1) with (h, w) = "
            f"cae.image_shape = {spec.image_shape}"
        )
