"""Baselines of Siamese-GAP: Deep Siamese, ResNet-18, a VGG-like network."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import siamese_gap, specification
from xr2mri_jax.models.convolution import MOMENTUM, NormalisedConvolution
from xr2mri_jax.models.layers import Dtype, initialiser
from xr2mri_jax.models.normalisation import EPSILON, bound
from xr2mri_jax.models.siamese_gap import average, dropped


@dataclasses.dataclass(frozen=True)
class WidthSpec:
    """Sizes of a baseline.

    Attributes:
      image_shape: (h, w) of the radiograph.
      width: channels of the first convolutions; deeper ones have multiples of it.
      dropout: share of the features dropped in training, in [0, 1).
      classes: number of logits.
      head: as in `siamese_gap.SiameseGapSpec`.
    """

    image_shape: tuple[int, ...] = (224, 224)
    width: int = 32
    dropout: float = 0.2
    classes: int = 2
    head: str = "nominal"


class _Classifier(nn.Module):
    """Base class of the baselines: features, dropout, a linear layer to the logits."""

    spec: WidthSpec
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        self.body = self.make_body()
        self.head = siamese_gap.last_layer(self.spec.classes, self.spec.head)

    def make_body(self) -> nn.Module:
        """The convolutions."""
        raise NotImplementedError

    def features(self, xray: jax.Array, train: bool = False) -> jax.Array:
        """Radiograph f32[b, h, w, 1] in [0, 1] to the input of the last layer, f32[b, n]."""
        return average(self.body(xray - 0.5, train).astype(jnp.float32))

    def classify(self, pooled: jax.Array) -> jax.Array:
        """f32[b, n] from `features` to logits f32[b, classes]."""
        return siamese_gap.class_logits(self.head(pooled), self.spec.head)

    def __call__(
        self, xray: jax.Array, train: bool = False, keys: jax.Array | None = None
    ) -> jax.Array:
        """Radiograph f32[b, h, w, 1] in [0, 1] to logits f32[b, classes]; `keys`: for dropout."""
        features = self.features(xray, train)
        if train and keys is not None and self.spec.dropout:
            features = dropped(features, self.spec.dropout, keys)
        return self.classify(features)


class DeepSiamese(_Classifier):
    """Tiulpin et al. 2018 (doi 10.1038/s41598-018-20132-7): both sides of the joint, concatenated.

    Six 3x3 convolutions of width, 2 width and 4 width channels shared by both patches, about
    150 thousand parameters at width 32. Unlike in the paper, the convolutions are padded.
    """

    def make_body(self) -> nn.Module:
        """See the base class."""
        w = self.spec.width
        layers = ((w, 2), (w, 1), (w, 1), (0, 2), (2 * w, 1), (2 * w, 1), (0, 2), (4 * w, 1))
        return _Stack(layers, self.axis_name, self.dtype)

    def features(self, xray: jax.Array, train: bool = False) -> jax.Array:
        """Both patches' averages side by side, f32[b, 8 width]."""
        maps = self.body(siamese_gap.patches(xray) - 0.5, train)
        return jnp.concatenate(jnp.split(average(maps.astype(jnp.float32)), 2), axis=-1)


class VggLike(_Classifier):
    """Eight 3x3 convolutions in five blocks with max pooling between them, on the whole crop.

    After Simonyan and Zisserman 2015, arXiv 1409.1556 (configuration A), with half the channels,
    batch norm, and an average in place of its three dense layers.
    """

    def make_body(self) -> nn.Module:
        """See the base class."""
        w = self.spec.width
        layers = [(w, 1), (0, 2), (2 * w, 1), (0, 2)]
        for multiple in (4, 8, 8):
            layers += [(multiple * w, 1), (multiple * w, 1), (0, 2)]
        return _Stack(tuple(layers[:-1]), self.axis_name, self.dtype)


class ResNet18(_Classifier):
    """He et al. 2016, arXiv 1512.03385, 18 layers, with one input channel, on the whole crop."""

    def make_body(self) -> nn.Module:
        """See the base class."""
        return _Residual(self.spec.width, self.axis_name, self.dtype)


class _Stack(nn.Module):
    """Sequence of layers: (features, stride) is a convolution, (0, 2) a 2 x 2 max pooling."""

    layers: tuple[tuple[int, int], ...]
    axis_name: str | None
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for number, (features, stride) in enumerate(self.layers):
            if not features:
                x = halved(x)
                continue
            name = f"conv{number}"
            x = NormalisedConvolution(
                features, stride, self.axis_name, dtype=self.dtype, name=name
            )(x, train)
        return x


class _Residual(nn.Module):
    """The convolutions of an 18-layer residual network: [b, h, w, 1] -> [b, h', w', 8 width]."""

    width: int
    axis_name: str | None
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=MOMENTUM,
            epsilon=EPSILON,
            axis_name=bound(self.axis_name) if train else None,
            dtype=self.dtype,
        )
        convolution = partial(
            nn.Conv, use_bias=False, kernel_init=initialiser(2.0), dtype=self.dtype
        )
        x = convolution(self.width, (7, 7), 2, name="first")(x)
        x = halved(nn.relu(norm(name="first_norm")(x)))
        for block in range(8):
            features = self.width * 2 ** (block // 2)
            stride = 2 if block in (2, 4, 6) else 1
            y = convolution(features, (3, 3), stride, name=f"block{block}_first")(x)
            y = nn.relu(norm(name=f"block{block}_first_norm")(y))
            y = convolution(features, (3, 3), name=f"block{block}_second")(y)
            y = norm(name=f"block{block}_second_norm")(y)
            if stride == 2:
                x = convolution(features, (1, 1), stride, name=f"block{block}_across")(x)
                x = norm(name=f"block{block}_across_norm")(x)
            x = nn.relu(x + y)
        return x


def halved(x: jax.Array) -> jax.Array:
    """2 x 2 max pooling: [b, h, w, c] -> [b, h // 2, w // 2, c]."""
    height, width = (size // 2 * 2 for size in x.shape[1:3])
    corners = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return jnp.maximum(jnp.maximum(*corners[:2]), jnp.maximum(*corners[2:]))


class Kind:
    """Reads the spec of one baseline and makes the network, like the module `siamese_gap`."""

    def __init__(self, name: str, network: type[_Classifier], width: int):
        """Takes the kind's name, its network and its default width."""
        self._name, self._network, self._width = name, network, width

    def read_spec(self, spec: Mapping[str, Any]) -> WidthSpec:
        """Checks a mapping with the fields of `WidthSpec`; raises InputError if it is invalid."""
        checked = specification.read(WidthSpec, {"width": self._width, **spec}, self._name)
        if len(checked.image_shape) != 2 or min(checked.image_shape) < 16:
            raise InputError(
                f"{self._name}.image_shape: found {checked.image_shape}, expected (h, w) of 16 or "
                "more"
            )
        if self._network is DeepSiamese:
            siamese_gap.patch_places(checked.image_shape)
        if checked.width < 1 or checked.classes < 2 or not 0 <= checked.dropout < 1:
            raise InputError(
                f"{self._name}: found width {checked.width}, classes {checked.classes}, dropout "
                f"{checked.dropout}, expected at least 1, at least 2, in [0, 1)"
            )
        if checked.head not in siamese_gap.HEADS:
            raise InputError(
                f"{self._name}.head: found {checked.head!r}, expected "
                f"{' or '.join(siamese_gap.HEADS)}"
            )
        return checked

    def make(
        self, spec: Mapping[str, Any], dtype: Dtype = jnp.float32, axis_name: str | None = None
    ) -> _Classifier:
        """The network of `spec`, like `siamese_gap.make`."""
        return self._network(self.read_spec(spec), axis_name, dtype)


KINDS = {
    "deep_siamese": Kind("deep_siamese", DeepSiamese, 32),
    "resnet18": Kind("resnet18", ResNet18, 64),
    "vgg": Kind("vgg", VggLike, 32),
}
