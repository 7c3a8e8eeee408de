"""Simulates many phantom cases in several processes, in order."""

import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

from xr2mri_jax.datasets.workers import ordered_map
from xr2mri_jax.phantom.case import simulate_case


def simulate_cases(
    seed: int,
    indices: Iterable[int],
    shape: tuple[int, int, int],
    num_workers: int = 1,
    distances: bool = False,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (index, `simulate_case(seed, index, shape, distances)`) for every index, in order.

    Args:
      seed, shape, distances: see `phantom.case.simulate_case`.
      indices: numbers of the knees.
      num_workers: processes; 1 simulates in this one. Each of several uses only its share of the
        cores and compiles once; they end with the iterator, or with this process.
    """
    simulate = functools.partial(_simulate, seed, shape, distances)
    yield from ordered_map(simulate, indices, num_workers, keep_to_cores)


def keep_to_cores(rank: int, num_workers: int) -> None:
    """Restricts this process to the CPU and to its share of the cores.

    JAX sizes its thread pools by the cores that a process may use, so the affinity must be set
    before the first computation.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[rank % len(cores) :: num_workers]))


def _simulate(
    seed: int, shape: tuple[int, int, int], distances: bool, index: int
) -> tuple[int, dict[str, Any]]:
    return index, simulate_case(seed, index, shape, distances)
