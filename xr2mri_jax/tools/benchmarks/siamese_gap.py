"""Suite `siamese_gap`: the classifier's training step and epoch, JAX beside PyTorch."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xr2mri_jax.losses import cross_entropy
from xr2mri_jax.models import siamese_gap
from xr2mri_jax.runtime import host_memory, local_processes, processor
from xr2mri_jax.stages.base import AXIS
from xr2mri_jax.tools.benchmarks import timing
from xr2mri_jax.tools.benchmarks.generator import MISSING
from xr2mri_jax.training import parallel

LEARNING_RATE = 1e-3
EPOCH = 2400


def run(
    image_size: int = 224,
    repeats: int = 5,
    batch_size: int = 32,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures one training step (loss, gradients, Adam), with its PyTorch twin if installed.

    JAX runs as in training: in one process with one device per core (`parallel.divide_cores`), and
    in one process per core (`train.py --local_processes=0`). The twin runs in PyTorch's default
    memory format and in channels_last. None shares a process with another, and they take turns.
    Both frameworks have the same weights and inputs; without dropout, their gradients are compared
    first; float32.

    Args:
      image_size: pixels of the radiograph each way.
      repeats: timed calls of each function, taking turns.
      batch_size: radiographs in a step; each has two patches.
      overrides: sizes of the network that differ from the default.

    Returns:
      JSON-able: "machine", "spec", "torch" (its version, or that it is missing), "agreement",
      "seconds" by function, "epoch_s" (of EPOCH radiographs, from the medians), "ratios" of each
      form of JAX to each form of PyTorch, as "JAX's / PyTorch's".
    """
    spec = {"image_shape": (image_size, image_size), "dropout": 0.0, **(overrides or {})}
    model, xray, label, variables = _made(spec, batch_size)
    count = local_processes.largest_divisor(processor.cores(), batch_size)
    report: dict[str, Any] = {
        "suite": "siamese_gap",
        "machine": timing.machine(),
        "device": jax.devices()[0].device_kind,
        "processes": count,
        "spec": {"image_size": image_size, "patch": siamese_gap.patch_places(xray.shape[1:3])[1]},
        "parameters": sum(p.size for p in jax.tree.leaves(variables["params"])),
        "batch_size": batch_size,
    }
    makers: dict[str, timing.Maker | list[timing.Maker]] = {
        "jax": partial(training_step, "jax", spec, batch_size)
    }
    if count > 1:
        makers["jax a process a core"] = [
            partial(_training_step_of, environment, spec, batch_size)
            for environment in local_processes.environments(count)
        ]
    report["torch"] = MISSING
    if importlib.util.find_spec("torch") is not None:
        report["torch"] = report["machine"]["versions"]["torch"]
        report["agreement"] = _agreement(model, variables, xray[:4], label[:4])
        for form in ("torch default", "torch channels_last"):
            makers[form] = partial(training_step, form, spec, batch_size)
    report["seconds"] = timing.in_processes(makers, repeats)
    medians = {name: times["median_s"] for name, times in report["seconds"].items()}
    report["epoch_s"] = {name: EPOCH / batch_size * median for name, median in medians.items()}
    report["ratios"] = {
        f"{ours} / {theirs}": medians[ours] / medians[theirs]
        for ours in medians
        for theirs in medians
        if ours.startswith("jax") and theirs.startswith("torch")
    }
    return report


def table(report: Mapping[str, Any]) -> str:
    """The report as lines for the screen."""
    machine = report["machine"]
    lines = [
        f"siamese_gap, {report['parameters']:,} parameters, patches of {report['spec']['patch']}, "
        f"batch {report['batch_size']}, {machine['cores']} cores, "
        f"load {machine['load_average'][0]:.1f}; torch: {report['torch']}",
    ]
    head, *rows = timing.rows("training step", report["seconds"])
    lines.append(f"{head} {'epoch':>8}")
    epochs = report["epoch_s"].values()
    lines += [f"{row} {epoch:>6.0f} s" for row, epoch in zip(rows, epochs, strict=True)]
    for name, ratio in report["ratios"].items():
        lines.append(f"{name}: {ratio:.2f}")
    for name, value in report.get("agreement", {}).items():
        lines.append(f"{name}: {value:.1e}")
    return "\n".join(lines)


def training_step(form: str, spec: Mapping[str, Any], batch_size: int) -> Callable[[], None]:
    """One of the measured functions, in a process of its own.

    Args:
      form: "jax", or "torch" with the memory format.
      spec: of the network.
      batch_size: radiographs in a step.
    """
    host_memory.keep_freed_memory()
    if form == "jax":
        parallel.divide_cores(0, batch_size)
        return _jax_step(*_made(spec, batch_size))
    return _torch_step(*_made(spec, batch_size), form.removeprefix("torch "))


def _training_step_of(
    environment: Mapping[str, str], spec: Mapping[str, Any], batch_size: int
) -> Callable[[], None]:
    """One process's part of the training step with one process per core."""
    os.environ.update(environment)
    host_memory.keep_freed_memory()
    parallel.divide_cores(1, batch_size)
    parallel.start_distributed()
    return _jax_step(*_made(spec, batch_size))


def _made(
    spec: Mapping[str, Any], batch_size: int
) -> tuple[siamese_gap.SiameseGap, np.ndarray, np.ndarray, Any]:
    """The network, radiographs, their classes and the network's variables."""
    model = siamese_gap.make(spec, axis_name=AXIS)
    random = np.random.default_rng(0)
    xray = random.random((batch_size, *spec["image_shape"], 1), np.float32)
    label = np.arange(batch_size, dtype=np.int32) % 2
    return model, xray, label, _noise(model, xray)


def _devices(batch_size: int) -> list[jax.Device]:
    """As many devices as divide the batch equally; one per process if there are several."""
    devices = jax.devices()
    if jax.process_count() > 1:
        return [
            next(d for d in devices if d.process_index == i) for i in range(jax.process_count())
        ]
    return devices[: local_processes.largest_divisor(len(devices), batch_size)]


def _noise(model: siamese_gap.SiameseGap, xray: np.ndarray) -> Any:
    """Noise as kernels at an initialisation's scale; scales 1, shifts small."""
    random = np.random.default_rng(2)

    def values(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) == 1:
            return 1 + 0.1 * random.standard_normal(leaf.shape).astype(np.float32)
        fan_in = int(np.prod(leaf.shape[:-1]))
        return random.standard_normal(leaf.shape, np.float32) * np.float32((2 / fan_in) ** 0.5)

    shapes = jax.eval_shape(model.init, jax.random.key(0), xray)
    return jax.tree.map(values, shapes)


def _loss(
    model: siamese_gap.SiameseGap, params: Any, stats: Any, xray: Any, label: Any
) -> tuple[jax.Array, Any]:
    variables = {"params": params, "batch_stats": stats}
    logits, changed = model.apply(variables, xray, True, None, mutable=["batch_stats"])
    return jnp.mean(cross_entropy(logits, label)), changed["batch_stats"]


def _jax_step(
    model: siamese_gap.SiameseGap, xray: np.ndarray, label: np.ndarray, variables: Any
) -> Callable[[], None]:
    optimizer = optax.adam(LEARNING_RATE)

    def step(state: Any, xray: Any, label: Any) -> Any:
        params, stats, moments = state
        gradient, stats = jax.grad(_loss, argnums=1, has_aux=True)(
            model, params, stats, xray, label
        )
        flat, restore = jax.flatten_util.ravel_pytree(gradient)
        gradient = restore(jax.lax.pmean(flat, AXIS))
        updates, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, updates), stats, moments

    params, stats = variables["params"], variables["batch_stats"]
    mesh = Mesh(np.array(_devices(len(xray))), (AXIS,))
    everywhere, shared = (NamedSharding(mesh, PartitionSpec(*name)) for name in ((), (AXIS,)))
    moments = jax.tree.map(np.asarray, optimizer.init(params))
    state = jax.tree.map(partial(_placed, everywhere), (params, stats, moments))
    batch = _placed(shared, xray), _placed(shared, label)
    compiled = jax.jit(
        jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(AXIS)),
            out_specs=PartitionSpec(),
            check_vma=False,
        ),
        donate_argnums=0,
    )

    def training_step() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, *batch))

    return training_step


def _placed(sharding: NamedSharding, value: np.ndarray) -> jax.Array:
    """An array that every process holds, placed on the devices of all."""
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _torch_step(
    model: siamese_gap.SiameseGap, xray: np.ndarray, label: np.ndarray, variables: Any, form: str
) -> Callable[[], None]:
    import torch

    twin = _twin(model, variables)
    if form == "channels_last":
        twin = twin.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(twin.parameters(), lr=LEARNING_RATE)
    image = torch.tensor(np.ascontiguousarray(xray.transpose(0, 3, 1, 2)))
    target = torch.tensor(label, dtype=torch.int64)

    def training_step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(image), target).backward()
        optimizer.step()

    return training_step


def _twin(model: siamese_gap.SiameseGap, variables: Any) -> Any:
    from xr2mri_jax.tools.benchmarks import torch_siamese_gap

    twin = torch_siamese_gap.TorchSiameseGap(model.spec)
    weights = torch_siamese_gap.from_flax(variables["params"], model.spec)
    twin.load_state_dict(weights, strict=False)
    return twin


def _agreement(
    model: siamese_gap.SiameseGap, variables: Any, xray: np.ndarray, label: np.ndarray
) -> dict[str, float]:
    """Largest relative difference of a parameter's gradient, in the Euclidean norm.

    If rounding moves one value across a ReLU's 0, the difference is some thousandths (in PyTorch's
    float32 against its own float64 too), otherwise a millionth.
    """
    import torch

    from xr2mri_jax.tools.benchmarks import torch_siamese_gap

    gradient = jax.jit(jax.grad(_loss, argnums=1, has_aux=True), static_argnums=0)
    found, _ = gradient(model, variables["params"], variables["batch_stats"], xray, label)
    ours = torch_siamese_gap.from_flax(found, model.spec)
    twin = _twin(model, variables)
    image = torch.tensor(np.ascontiguousarray(xray.transpose(0, 3, 1, 2)))
    torch.nn.functional.cross_entropy(twin(image), torch.tensor(label).long()).backward()
    worst = 0.0
    for name, parameter in twin.named_parameters():
        expected = parameter.grad.numpy()
        scale = max(float(np.linalg.norm(expected)), 1e-12)
        error = float(np.linalg.norm(ours[name].numpy() - expected)) / scale
        worst = max(worst, error)
    return {"largest relative gradient difference": worst}
