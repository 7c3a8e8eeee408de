"""Runs a step on all devices of one or many hosts; only this module and `mesh` handle devices."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics.base import Mean
from xr2mri_jax.runtime import local_processes, processor
from xr2mri_jax.stages.base import AXIS
from xr2mri_jax.training import mesh as meshes
from xr2mri_jax.training.state import TrainState
from xr2mri_jax.training.step import Steps

Batch = Mapping[str, Any]

# Seconds without a heartbeat after which JAX's runtime ends a run that has lost a host.
LOST_AFTER = 15


@dataclasses.dataclass(frozen=True)
class Parallel:
    """The two steps over all devices, and the transfer of arrays to the devices.

    Attributes:
      train_step: (state, batch, rng) -> (state, metrics); the state's buffers are donated.
      eval_step: (params, model_state, batch) -> {name: Mean}.
      prepare_batch: transfers this host's numpy batch, padded to a multiple of the devices.
      replicate: transfers a host's pytree to every device.
      on_this_host: a context in which a stage's own functions, such as `Stage.pictures`, split
        volumes as the steps do, over devices of this host.
      device_count: number of devices of all hosts.
    """

    train_step: Callable[[TrainState, Any, Any], tuple[TrainState, dict[str, Any]]]
    eval_step: Callable[[Any, Any, Any], dict[str, Mean]]
    prepare_batch: Callable[[Batch], dict[str, jax.Array]]
    replicate: Callable[[Any], Any]
    on_this_host: Callable[[], contextlib.AbstractContextManager[None]]
    device_count: int


def make_parallel(
    strategy: str, steps: Steps, devices: Sequence[jax.Device] | None = None, depth: int = 1
) -> Parallel:
    """Parallelises the steps over devices.

    Args:
      strategy: "pmap" (replicated state, one slice of the batch per device, sums over the axis) or
        "jit" (one program on a batch sharded over a mesh; the compiler inserts the sums). With one
        device, both use the program of "jit", because pmap is slower by half on a CPU.
      steps: the pure steps.
      devices: the devices; None: all devices of all hosts.
      depth: with "jit", number of devices that share a volume, each a part of its depth; for
        volumes too large for one device. The batch is shared by the other factor of the devices.

    Raises:
      InputError: if the strategy is unknown, or `depth` does not divide each host's devices.
    """
    if strategy not in ("pmap", "jit"):
        raise InputError(f"config.parallel is {strategy!r}, expected pmap or jit")
    devices = list(devices or jax.devices())
    if strategy == "pmap" and len(devices) > 1:
        return _make_pmap(steps, devices)
    return _make_jit(steps, devices, depth)


def unreplicate(tree: Any) -> Any:
    """A replicated pytree as numpy arrays on this host, by one explicit transfer."""
    return jax.device_get(jax.tree.map(lambda x: x.addressable_data(0), tree))


def _make_pmap(steps: Steps, devices: list[jax.Device]) -> Parallel:
    mesh = Mesh(np.array(devices), (AXIS,))
    local = sum(device.process_index == jax.process_index() for device in devices)

    def train_step(state: TrainState, batch: Any, rng: Any) -> Any:
        return steps.train_step(state, batch, rng, AXIS)

    def eval_step(params: Any, model_state: Any, batch: Any) -> Any:
        return steps.eval_step(params, model_state, batch, AXIS)

    def prepare_batch(batch: Batch) -> dict[str, jax.Array]:
        split = {
            name: value.reshape(local, -1, *value.shape[1:])
            for name, value in _padded(batch, local).items()
        }
        return _to_devices(split, lambda *_: NamedSharding(mesh, PartitionSpec(AXIS)))

    options: dict[str, Any] = {"axis_name": AXIS, "out_axes": None, "devices": devices}
    mapped = jax.pmap(train_step, in_axes=(None, 0, None), donate_argnums=(0,), **options)

    def of_hosts(state: TrainState, batch: Any, rng: Any) -> Any:
        # With several hosts pmap itself transfers the key, 8 bytes, through the host.
        with jax.transfer_guard("allow"):
            return mapped(state, batch, rng)

    return Parallel(
        train_step=mapped if jax.process_count() == 1 else of_hosts,
        eval_step=jax.pmap(eval_step, in_axes=(None, None, 0), **options),
        prepare_batch=prepare_batch,
        replicate=lambda tree: _replicated(tree, mesh),
        on_this_host=contextlib.nullcontext,
        device_count=len(devices),
    )


def _make_jit(steps: Steps, devices: list[jax.Device], depth: int) -> Parallel:
    mesh = meshes.make(devices, depth)
    everywhere = NamedSharding(mesh, PartitionSpec())
    local = sum(device.process_index == jax.process_index() for device in devices)

    def prepare_batch(batch: Batch) -> dict[str, jax.Array]:
        place = functools.partial(meshes.batch_sharding, mesh)
        return _to_devices(_padded(batch, local // depth), place)

    train_step = jax.jit(steps.train_step, out_shardings=everywhere, donate_argnums=(0,))
    eval_step = jax.jit(steps.eval_step, out_shardings=everywhere)
    return Parallel(
        train_step=train_step if depth == 1 else _InMesh(train_step, mesh),
        eval_step=eval_step if depth == 1 else _InMesh(eval_step, mesh),
        prepare_batch=prepare_batch,
        replicate=lambda tree: _replicated(tree, mesh),
        on_this_host=lambda: meshes.of_this_host(devices, depth),
        device_count=len(devices),
    )


class _InMesh:
    """A jitted function that is traced and called with a mesh, see `models.sharding`."""

    def __init__(self, function: Any, mesh: Mesh):
        self._function, self._mesh = function, mesh

    def __call__(self, *arguments: Any) -> Any:
        with jax.set_mesh(self._mesh):
            return self._function(*arguments)

    def lower(self, *arguments: Any) -> Any:
        """Like `lower` of a jitted function."""
        with jax.set_mesh(self._mesh):
            return self._function.lower(*arguments)


def _padded(batch: Batch, multiple: int) -> dict[str, np.ndarray]:
    """The numeric entries, padded to a multiple with copies of the last example, example_mask 0.

    Padding is not zero, because some metrics divide by the content of an image.
    """
    size = len(batch["example_mask"])
    more = -size % multiple
    arrays = {name: np.asarray(value) for name, value in batch.items()}
    arrays = {name: value for name, value in arrays.items() if value.dtype.kind in "biuf"}
    if more:
        arrays = {
            name: np.concatenate([value, np.repeat(value[-1:], more, axis=0)])
            for name, value in arrays.items()
        }
        arrays["example_mask"][size:] = 0
    return arrays


def _to_devices(
    arrays: Batch, place: Callable[[str, np.ndarray], NamedSharding]
) -> dict[str, jax.Array]:
    # With several processes JAX counts this transfer as implicit.
    with jax.transfer_guard("allow"):
        return {
            name: jax.make_array_from_process_local_data(place(name, value), value)
            for name, value in arrays.items()
        }


def _replicated(tree: Any, mesh: Mesh) -> Any:
    """Replicates through numpy, so that donated buffers never belong to the caller."""
    everywhere = NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(np.asarray(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        value = np.array(leaf)
        return jax.make_array_from_callback(value.shape, everywhere, lambda index: value[index])

    return jax.tree.map(put, tree)


def divide_cores(devices: int, batch_size: int) -> None:
    """Splits the CPU into several devices; must be called before any device is used.

    On the CPU a convolution with fewer than 128 output channels runs on one core. With one device
    per core, each core processes its own part of the batch.

    Args:
      devices: number of devices; 0: one per core, or fewer to divide the batch equally. XLA_FLAGS
        and JAX_NUM_CPU_DEVICES override it.
      batch_size: examples per step.

    Raises:
      InputError: if the number is negative.
    """
    if devices < 0:
        raise InputError(f"config.cpu_devices is {devices}, expected at least 0")
    flag = "xla_force_host_platform_device_count"
    if "JAX_NUM_CPU_DEVICES" in os.environ or flag in os.environ.get("XLA_FLAGS", ""):
        return
    if devices == 0:
        devices = local_processes.largest_divisor(processor.cores(), batch_size)
    jax.config.update("jax_num_cpu_devices", devices)


def start_distributed(asked: bool | None = None) -> None:
    """Joins the other hosts of the run; must be called before any device is used.

    JAX detects Slurm, Open MPI and Cloud TPU pods. Elsewhere, as on Kubernetes, the environment
    variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID are required.

    Args:
      asked: True: join or fail; False: do not join; None: join if a scheduler runs several tasks or
        the variables are set.
    """
    if asked is None:
        asked = _several_processes(os.environ)
    if not asked or jax.distributed.is_initialized():
        return
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address is None:
        jax.distributed.initialize(heartbeat_timeout_seconds=LOST_AFTER)
        return
    numbers = {}
    for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        if not os.environ.get(name, "").isdecimal():
            raise InputError(
                f"{name} is {os.environ.get(name)!r}, expected a number, because "
                f"JAX_COORDINATOR_ADDRESS={address}"
            )
        numbers[name] = int(os.environ[name])
    jax.distributed.initialize(
        address,
        numbers["JAX_NUM_PROCESSES"],
        numbers["JAX_PROCESS_ID"],
        heartbeat_timeout_seconds=LOST_AFTER,
    )


def _several_processes(environment: Mapping[str, str]) -> bool:
    """Whether this process is one of several: Slurm inside srun, Open MPI, a Cloud TPU pod."""
    if "JAX_COORDINATOR_ADDRESS" in environment:
        return True
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        if int(environment.get(name) or "1") > 1:
            return True
    return "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def host_index() -> int:
    """The index of this host in the run."""
    return jax.process_index()


def host_count() -> int:
    """The number of hosts of the run."""
    return jax.process_count()


def any_host(flag: bool) -> bool:
    """True if the flag is set on any host; all hosts must call it at the same point."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def wait_for_hosts(name: str) -> None:
    """Returns when every host has reached this point."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def gather_text(text: str) -> list[str]:
    """The texts of all hosts in order, on every host."""
    if jax.process_count() == 1:
        return [text]
    raw = np.frombuffer(text.encode("utf-8"), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(raw.size, np.int32))
    padded = np.zeros(int(np.max(sizes)), np.uint8)
    padded[: raw.size] = raw
    rows = multihost_utils.process_allgather(padded)
    return [
        bytes(row[:size]).decode("utf-8") for row, size in zip(rows, np.ravel(sizes), strict=True)
    ]
