"""Parallel work in processes: ordered results, and workers that exit with the parent."""

import collections
import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import threadpoolctl

from xr2mri_jax.errors import WorkError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items a process may be ahead of the reader: enough to keep it busy, few enough for the memory.
AHEAD = 3


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    num_workers: int = 1,
    start: Callable[[int, int], Any] | None = None,
) -> Iterator[Result]:
    """Yields `function(item)` for every item, in their order.

    Args:
      function: can be pickled, like its items and results.
      items: consumed as the work proceeds.
      num_workers: processes; 1 works in this one. Several end with the iterator, or with this
        process, even if that is killed.
      start: called in each worker with (number of the worker, number of workers) before its first
        item.

    Raises:
      Exception: an exception of `function`, at the position of its item.
      WorkError: a worker was killed.
    """
    if num_workers <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    ranks = context.SimpleQueue()
    for rank in range(num_workers):
        ranks.put(rank)
    pool = concurrent.futures.ProcessPoolExecutor(
        num_workers, context, _start_worker, (ranks, num_workers, start)
    )
    pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > AHEAD * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise WorkError(
            f"one of {num_workers} worker processes was killed, most likely for lack of memory: "
            "use fewer (--num_workers)"
        ) from error
    except KeyboardInterrupt:
        end_workers()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def end_workers() -> None:
    """Stops the processes of `ordered_map` immediately."""
    for process in multiprocessing.active_children():
        process.terminate()


def on_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    """`function(item)` with one thread in the linear algebra libraries.

    The last bits of sums depend on the number of threads. With one thread, results are the same on
    any machine and for any number of workers, and workers do not compete for cores.
    """
    with threadpoolctl.threadpool_limits(1):
        return function(item)


def _start_worker(ranks: Any, num_workers: int, start: Callable[[int, int], Any] | None) -> None:
    """Runs before the worker's first item, and before its modules are imported.

    If they use JAX, it occupies no accelerator, and no more than this worker's core.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(ranks.get(), num_workers)


def _end_with_parent() -> None:
    """Makes workers watch their parent and exit if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
