"""Arranges the devices as a mesh of examples x depth, and places a batch's entries on it."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import sharding


def make(devices: Sequence[jax.Device], depth: int) -> Mesh:
    """A mesh of (devices / depth) x depth: each volume is split over `depth` devices of one host.

    Args:
      devices: the devices of all hosts, grouped by host.
      depth: number of parts of a volume.

    Raises:
      InputError: if `depth` does not divide the number of devices of every host.
    """
    hosts = [device.process_index for device in devices]
    for count in {hosts.count(host) for host in hosts}:
        if count % depth:
            raise InputError(
                f"config.mesh_depth is {depth}, expected a divisor of {count}, the number of "
                "devices of each host"
            )
    return Mesh(np.array(devices).reshape(-1, depth), (sharding.BATCH, sharding.DEPTH))


def depth_of(config: Mapping[str, Any]) -> int:
    """`mesh_depth` of a resolved config.

    Raises:
      InputError: if it is above 1 and the strategy is not "jit", the stage has no volume, or it
        does not divide the depth of the finest features, which is half of the volume's depth.
    """
    depth = config["mesh_depth"]
    if depth == 1:
        return 1
    if config["parallel"] != "jit":
        raise InputError(
            f"config.mesh_depth is {depth}, expected 1 with config.parallel={config['parallel']}: "
            "choose config.parallel=jit"
        )
    if "generator" not in config["model"]:
        raise InputError(
            f"config.mesh_depth is {depth}, expected 1: the stage {config['stage']} has no volumes"
        )
    half = config["model"]["generator"]["volume_shape"][0] // 2
    if half % depth:
        raise InputError(
            f"config.mesh_depth is {depth}, expected a divisor of {half}, half of the depth of "
            "config.model.generator.volume_shape"
        )
    return depth


def batch_sharding(mesh: Mesh, name: str, value: np.ndarray) -> NamedSharding:
    """Examples over the first mesh axis; the depth of volumes over the second, if divisible.

    Args:
      mesh: from `make`.
      name: name of the entry in a batch, see `data.batches`.
      value: the entry of this host.
    """
    axis, depth = sharding.DEPTH_AXIS.get(name), mesh.shape[sharding.DEPTH]
    if axis is None or depth == 1 or value.ndim <= axis or value.shape[axis] % depth:
        return NamedSharding(mesh, PartitionSpec(sharding.BATCH))
    return NamedSharding(mesh, PartitionSpec(sharding.BATCH, *[None] * (axis - 1), sharding.DEPTH))


@contextlib.contextmanager
def of_this_host(devices: Sequence[jax.Device], depth: int) -> Iterator[None]:
    """A context in which a stage's jitted functions split volumes over `depth` local devices.

    Args:
      devices: the devices of all hosts.
      depth: number of parts of a volume; 1: no change.
    """
    if depth == 1:
        yield
        return
    own = [device for device in devices if device.process_index == jax.process_index()]
    with jax.set_mesh(make(own[:depth], depth)):
        yield
