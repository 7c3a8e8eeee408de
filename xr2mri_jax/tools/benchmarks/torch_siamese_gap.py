"""Siamese-GAP in idiomatic PyTorch, for the side-by-side runs; imports torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from xr2mri_jax.models.convolution import MOMENTUM
from xr2mri_jax.models.normalisation import EPSILON
from xr2mri_jax.models.siamese_gap import SiameseGapSpec, patch_places
from xr2mri_jax.tools.benchmarks import numpy_augment


class TorchSiameseGap(nn.Module):
    """Radiograph [b, 1, h, w] in [0, 1] -> logits [b, classes]; averages, added branches."""

    def __init__(self, spec: SiameseGapSpec) -> None:
        super().__init__()
        if (spec.pooling, spec.branches) != ("average", "added"):
            raise ValueError("only average pooling with added branches has a PyTorch twin")
        self.spec = spec
        self.blocks = nn.ModuleList()
        inputs = 1
        pairs = zip(spec.channels, spec.convolutions, strict=True)
        for block, (channels, count) in enumerate(pairs):
            layers: list[nn.Module] = []
            for number in range(count):
                stride = 2 if block and not number else 1
                layers += [
                    nn.Conv2d(inputs, channels, 3, stride, 1, bias=False),
                    nn.BatchNorm2d(channels, EPSILON, 1 - MOMENTUM),
                    nn.ReLU(inplace=True),
                ]
                inputs = channels
            self.blocks.append(nn.Sequential(*layers))
        self.dropout = nn.Dropout(spec.dropout)
        size = sum(spec.channels[level - 1] for level in spec.levels)
        self.head = nn.Linear(size, spec.classes)

    def forward(self, xray: torch.Tensor) -> torch.Tensor:
        row, size = patch_places((xray.shape[2], xray.shape[3]))
        rows = xray[:, :, row : row + size]
        x = torch.cat([rows[..., :size], rows[..., -size:].flip(-1)]) - 0.5
        pooled = []
        for block in self.blocks:
            x = block(x)
            pooled.append(x.mean((2, 3)))
        features = torch.cat([pooled[level - 1] for level in self.spec.levels], 1)
        first, second = features.chunk(2)
        return self.head(self.dropout(first + second))


def from_flax(params: Mapping[str, Any], spec: SiameseGapSpec) -> dict[str, torch.Tensor]:
    """Flax parameters (or their gradients) in the twin's names, axes and channel order."""
    named: dict[str, Any] = {
        "head.weight": np.asarray(params["head"]["kernel"]).T,
        "head.bias": np.asarray(params["head"]["bias"]),
    }
    for block, count in enumerate(spec.convolutions):
        for number in range(count):
            layer = params["branch"][f"block{block + 1}_conv{number + 1}"]
            place = f"blocks.{block}.{{}}"
            kernel = np.asarray(layer["kernel"]).transpose(3, 2, 0, 1)
            named[f"{place.format(3 * number)}.weight"] = kernel
            named[f"{place.format(3 * number + 1)}.weight"] = np.asarray(layer["scale"])
            named[f"{place.format(3 * number + 1)}.bias"] = np.asarray(layer["bias"])
    return {
        name: torch.tensor(np.ascontiguousarray(value, np.float32)) for name, value in named.items()
    }


class AugmentedRadiographs(torch.utils.data.Dataset[Any]):
    """Stored radiographs, augmented anew at every access."""

    def __init__(self, stored: Sequence[Mapping[str, Any]], strength: Mapping[str, float]) -> None:
        self._stored = stored
        self._strength = strength

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        stored = self._stored[index]
        xray = numpy_augment.apply(stored["xray"], np.random.default_rng(), self._strength)
        return torch.from_numpy(xray).permute(2, 0, 1), int(stored["kl"]) // 2


def training(
    spec: SiameseGapSpec,
    strength: Mapping[str, float],
    *,
    batch_size: int,
    workers: int,
    channels_last: bool,
    label_smoothing: float,
    learning_rate: float,
    weight_decay: float,
    clip_norm: float,
    ema_decay: float,
) -> Callable[[Sequence[Mapping[str, Any]]], None]:
    """A function that trains one epoch of stored radiographs: xray uint16[h, w, 1], kl 0 or 2.

    Args:
      spec: of the network.
      strength: of the augmentation, from `augment.strengths`.
      batch_size: examples per step.
      workers: processes that augment; 0: the training process.
      channels_last: PyTorch's memory format.
      label_smoothing: of the cross entropy.
      learning_rate: of AdamW.
      weight_decay: of AdamW.
      clip_norm: maximum norm of the gradient.
      ema_decay: of the weights' moving average.
    """
    network: Any = TorchSiameseGap(spec)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
    moving = torch.optim.swa_utils.get_ema_multi_avg_fn(ema_decay)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=moving)

    def train(stored: Sequence[Mapping[str, Any]]) -> None:
        augmented = AugmentedRadiographs(stored, strength)
        batches = torch.utils.data.DataLoader(
            augmented, batch_size, shuffle=True, num_workers=workers
        )
        for image, label in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                network(image), label, label_smoothing=label_smoothing
            )
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
            average.update_parameters(network)

    return train
