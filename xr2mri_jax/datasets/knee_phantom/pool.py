"""Simulating many phantom cases on several processes, in order."""

import functools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from typing import Any

from xr2mri_jax.phantom.case import simulate_case


def simulate_cases(
    seed: int, indices: Sequence[int], shape: tuple[int, int, int], num_workers: int = 1
) -> Iterator[dict[str, Any]]:
    """Yields `simulate_case(seed, index, shape)` for every index, in their order.

    Args:
      seed, shape: see `phantom.case.simulate_case`.
      indices: numbers of the knees.
      num_workers: processes; 1 simulates in this one. Each of several keeps to its share of the
        cores and compiles once; they end with the iterator.
    """
    simulate = functools.partial(_simulate_index, seed=seed, shape=shape)
    if num_workers <= 1:
        yield from map(simulate, indices)
        return
    context = multiprocessing.get_context("spawn")
    ranks = context.SimpleQueue()
    for rank in range(num_workers):
        ranks.put(rank)
    with context.Pool(num_workers, _start_worker, (ranks, num_workers)) as pool:
        yield from pool.imap(simulate, indices, chunksize=1)


def _simulate_index(index: int, seed: int, shape: tuple[int, int, int]) -> dict[str, Any]:
    return simulate_case(seed, index, shape)


def _start_worker(ranks: Any, num_workers: int) -> None:
    """Keeps this process on the CPU and on its share of the cores.

    JAX sizes its thread pools by the cores that a process may use, so the affinity has to be set
    before the first computation.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        rank = ranks.get() % len(cores)
        os.sched_setaffinity(0, set(cores[rank::num_workers]))
