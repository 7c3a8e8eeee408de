"""The rows of PyTorch in the suite `gpu`: channels last, autocast, torch.compile; imports torch."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from xr2mri_jax.models import generator, siamese_gap
from xr2mri_jax.tools.benchmarks import gpu_cases, torch_generator, torch_siamese_gap
from xr2mri_jax.tools.benchmarks.gpu_budget import (
    OUT_OF_MEMORY,
    Budget,
    out_of_memory,
    seconds_each,
)

# The networks that have a PyTorch twin.
TWINS = ("generator", "siamese_gap")


def rows(
    name: str, mode: str, dtype: str, sizes: gpu_cases.Sizes, budget: Budget
) -> dict[str, Any]:
    """`gpu_throughput.rows` for the same network with the same optimizer in PyTorch.

    Volumes are channels_last_3d, images channels_last; bfloat16 uses autocast; float32 products may
    use TF32, like JAX's on a GPU by default. The step has AdamW (fused on a GPU), clipping and a
    moving average.
    """
    label = f"PyTorch {name}, {mode}, {dtype}"
    row: dict[str, Any] = {"network": name, "mode": mode, "dtype": dtype, "by_batch": {}}
    batches, spent = sizes.batches[name], 0.0
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    for size in batches:
        if not budget.allows(f"{label}, batch {size} and more", spent):
            row["stopped"] = "time"
            break
        before = budget.left()
        try:
            call = _call(name, mode, dtype, size, sizes)
            each = seconds_each(call, _wait, min(1.0, max(budget.left(), 0.0) / 20))
            del call
        except Exception as error:
            if not out_of_memory(error):
                raise
            row["stopped"] = f"{OUT_OF_MEMORY} at batch {size}"
            break
        finally:
            _release()
        spent = before - budget.left()
        row["by_batch"][size] = {"examples_per_s": size / each, "ms": 1e3 * each}
    row.setdefault("stopped", f"batch {batches[-1]} is the largest tried")
    return row


def device() -> torch.device:
    """The GPU, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _release() -> None:
    """Releases the GPU's memory, which JAX needs afterwards, and compiled programs."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _wait(_: Any) -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _call(name: str, mode: str, dtype: str, size: int, sizes: gpu_cases.Sizes) -> Callable[[], Any]:
    network, inputs, loss_of = (_generator if name == "generator" else _siamese_gap)(size, sizes)
    # Compiling takes longer than the budget on a CPU, where the figure is not needed.
    forward = torch.compile(network, dynamic=False) if torch.cuda.is_available() else network
    half = torch.autocast(device().type, torch.bfloat16, enabled=dtype == "bfloat16")
    if mode == "inference":
        network.eval()

        def infer() -> Any:
            with torch.inference_mode(), half:
                return forward(inputs)

        return infer
    network.train()
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(
        parameters,
        gpu_cases.OPTIMIZER["learning_rate"],
        weight_decay=gpu_cases.OPTIMIZER["weight_decay"],
        fused=torch.cuda.is_available(),
    )
    average = [parameter.detach().clone() for parameter in parameters]

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with half:
            loss = loss_of(forward(inputs))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, gpu_cases.OPTIMIZER["clip_norm"])
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1.0 - gpu_cases.EMA)
        return loss

    return step


def _generator(size: int, sizes: gpu_cases.Sizes) -> tuple[nn.Module, Any, Any]:
    spec = generator.read_spec(gpu_cases.generator_spec(sizes))
    shapes = gpu_cases.hidden_shapes(sizes)
    network = torch_generator.TorchGenerator(spec, tuple(shape[-1] for shape in shapes))
    network = network.to(device())
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.to(memory_format=formats[parameter.ndim])
    hidden = tuple(
        torch.rand(size, c, h, w, device=device()).to(memory_format=torch.channels_last)
        for h, w, c in shapes
    )
    target = torch.rand(size, 1, *sizes.volume, device=device())
    return network, hidden, lambda found: (found - target).abs().mean()


def _siamese_gap(size: int, sizes: gpu_cases.Sizes) -> tuple[nn.Module, Any, Any]:
    spec = siamese_gap.read_spec({"image_shape": sizes.grading, **sizes.siamese_gap})
    network = torch_siamese_gap.TorchSiameseGap(spec)
    network = network.to(device(), memory_format=torch.channels_last)
    xray = torch.rand(size, 1, *sizes.grading, device=device())
    label = torch.tensor(np.arange(size) % 2, device=device())
    return network, xray, lambda found: nn.functional.cross_entropy(found, label)
