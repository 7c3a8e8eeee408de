"""The generator's form `pyramid` in idiomatic PyTorch, for the side-by-side runs.

Volumes are [b, c, d, h, w], upsampling is `ConvTranspose3d`, columns are 1x1 `Conv2d` on depth and
channels together (a view, without a copy). Importing this module imports torch.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from xr2mri_jax.models.generator import GeneratorSpec


def _activate(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.leaky_relu(x, 0.2)


class _VolumeBlock(nn.Module):
    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(columns, width, 1)
        self.plane = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.Conv2d(width, columns, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        column = x.flatten(1, 2)
        y = _activate(self.down(_activate(column)))
        y = _activate(self.plane(y))
        return (column + self.up(y)).view(x.shape)


class _Lift(nn.Module):
    def __init__(self, inputs: int, depth: int, features: int, width: int) -> None:
        super().__init__()
        self.shape = (features, depth)
        self.plane = nn.Conv2d(inputs, width, 3, padding=1)
        self.column = nn.Conv2d(width, depth * features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.column(_activate(self.plane(x))).unflatten(1, self.shape)


class TorchGenerator(nn.Module):
    """Hidden maps [b, c, h / 2**(i+1), w / 2**(i+1)], finest first -> volume [b, 1, d, h, w]."""

    def __init__(self, spec: GeneratorSpec, hidden_channels: tuple[int, ...]) -> None:
        super().__init__()
        if spec.form != "pyramid":
            raise ValueError(f"form {spec.form!r}: only the pyramid has a PyTorch twin")
        self.spec = spec
        self.offset = float(np.log(spec.mean_level / (1.0 - spec.mean_level)))
        for level, features in enumerate(spec.channels):
            depth, height, width = (size >> level + 1 for size in spec.volume_shape)
            lift = _Lift(hidden_channels[level], depth, features, spec.widths[level])
            self.add_module(f"lift{level}", lift)
            place = nn.Parameter(torch.zeros(1, features, depth, height, width))
            self.register_parameter(f"place{level}", place)
            for block in range(spec.blocks[level]):
                module = _VolumeBlock(depth * features, spec.widths[level])
                self.add_module(f"level{level}_block{block}", module)
            if level + 1 < len(spec.channels):
                up = nn.ConvTranspose3d(spec.channels[level + 1], features, 4, 2, 1)
                self.add_module(f"up{level}", up)
        depth = spec.volume_shape[0] // 2
        self.output = nn.Conv2d(depth * spec.channels[0], depth * 8, 1, bias=False)
        self.template = nn.Parameter(torch.zeros(spec.volume_shape))

    def forward(self, hidden: tuple[torch.Tensor, ...]) -> torch.Tensor:
        x = None
        for level in reversed(range(len(self.spec.channels))):
            lifted = getattr(self, f"lift{level}")(hidden[level])
            if x is not None:
                lifted = getattr(self, f"up{level}")(_activate(x)) + lifted
            x = lifted + getattr(self, f"place{level}")
            for block in range(self.spec.blocks[level]):
                x = getattr(self, f"level{level}_block{block}")(x)
        assert x is not None
        batch, _, depth, height, width = x.shape
        phases = self.output(_activate(x).flatten(1, 2))
        phases = phases.view(batch, depth, 2, 2, 2, height, width).permute(0, 1, 2, 5, 3, 6, 4)
        volume = phases.reshape(batch, 1, *self.spec.volume_shape)
        return torch.sigmoid(volume + self.template + self.offset)


def from_flax(params: Mapping[str, Any], spec: GeneratorSpec) -> dict[str, torch.Tensor]:
    """Flax parameters (or their gradients) in the twin's names, axes and channel order."""
    named = {}
    for path, value in _leaves(params, ()):
        name, tensor = _converted(path, np.asarray(value, np.float32), spec)
        named[name] = torch.tensor(np.ascontiguousarray(tensor))
    return named


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _converted(
    path: tuple[str, ...], value: np.ndarray, spec: GeneratorSpec
) -> tuple[str, np.ndarray]:
    module = path[0]
    if module == "template":
        return module, value
    if module.startswith("place"):  # [h, w, d, c] -> [1, c, d, h, w]
        return module, value.transpose(3, 2, 0, 1)[None]
    parts = [part for part in path if part != "conv"]
    name = ".".join([*parts[:-1], "weight" if parts[-1] == "kernel" else "bias"])
    if module.startswith("up"):
        if value.ndim == 1:
            return name, value
        # lax's orientation and axes (h, w, d, in, out) -> (in, out, d, h, w) of a scatter
        return name, np.flip(value, (0, 1, 2)).transpose(3, 4, 2, 0, 1)
    level = int(module.removeprefix("level").removeprefix("lift")[0]) if module != "output" else 0
    depth, features = spec.volume_shape[0] >> level + 1, spec.channels[level]
    if parts[1] in ("up", "column"):  # the outputs are a column: (d, c) -> (c, d)
        value = value.reshape(*value.shape[:-1], depth, features).swapaxes(-1, -2)
        value = value.reshape(*value.shape[:-2], -1)
    if parts[1] == "down" or module == "output":
        value = value.reshape(depth, features, -1).swapaxes(0, 1) if value.ndim == 2 else value
        value = value.reshape(depth * features, -1) if value.ndim == 3 else value
    if value.ndim == 2:  # a matrix product becomes a 1x1 convolution
        value = value[None, None]
    return name, value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
