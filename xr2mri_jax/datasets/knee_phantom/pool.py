"""Simulating many phantom cases on several processes, in order."""

import collections
import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from xr2mri_jax.phantom.case import simulate_case

# Cases a process may be ahead of the reader: enough to keep it busy, few enough for the memory.
AHEAD = 3


def simulate_cases(
    seed: int, indices: Iterable[int], shape: tuple[int, int, int], num_workers: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (index, `simulate_case(seed, index, shape)`) for every index, in their order.

    Args:
      seed, shape: see `phantom.case.simulate_case`.
      indices: numbers of the knees.
      num_workers: processes; 1 simulates in this one. Each of several keeps to its share of the
        cores and compiles once; they end with the iterator, or with this process.
    """
    if num_workers <= 1:
        for index in indices:
            yield index, simulate_case(seed, index, shape)
        return
    context = multiprocessing.get_context("spawn")
    ranks = context.SimpleQueue()
    for rank in range(num_workers):
        ranks.put(rank)
    pool = concurrent.futures.ProcessPoolExecutor(
        num_workers, context, _start_worker, (ranks, num_workers)
    )
    pending: collections.deque = collections.deque()
    try:
        for index in indices:
            pending.append((index, pool.submit(simulate_case, seed, index, shape)))
            if len(pending) > AHEAD * num_workers:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


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
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot stop its workers: they watch it and go by themselves."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
