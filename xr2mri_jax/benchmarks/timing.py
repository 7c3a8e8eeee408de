"""Timing of functions side by side, and the machine they ran on."""

import importlib.metadata
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")


def interleaved(
    functions: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 2
) -> dict[str, dict[str, Any]]:
    """Times every function `repeats` times, taking turns.

    Turns make a ratio robust where other work shares the machine: a slow moment meets all.

    Args:
      functions: by name; each call must return only when its result is there.
      repeats: timed calls a function, 1 or more.
      warmup: calls before that, for compilation and caches.

    Returns:
      name -> {"median_s", "minimum_s", "seconds": every time in order, "processor_s": the least
      processor time of a call, summed over the process's threads, which other work on the machine
      does not lengthen (threads that wait actively count too)}.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()
    return _in_turns({name: _timed(function) for name, function in functions.items()}, repeats)


def apart(
    makers: Mapping[str, Callable[[], Callable[[], Any]]], repeats: int, warmup: int = 2
) -> dict[str, dict[str, Any]]:
    """As `interleaved`, each function in a process of its own, as it has in real work.

    In one process the frameworks share the C library's memory and the processor with each other's
    waiting threads, which costs JAX a sixth of its time.

    Args:
      makers: by name; each makes its function in that process, and can be pickled.
      repeats: timed calls a function, 1 or more.
      warmup: calls before that.

    Returns:
      As `interleaved`.

    Raises:
      RuntimeError: where a process ended.
    """
    context = multiprocessing.get_context("spawn")
    links: dict[str, Connection] = {}
    processes = []
    try:
        for name, make in makers.items():
            links[name], theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make, warmup), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
            _answer(name, links[name])
        calls = {name: _asked(name, link) for name, link in links.items()}
        return _in_turns(calls, repeats)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _serve(link: Connection, make: Callable[[], Callable[[], Any]], warmup: int) -> None:
    """What a process of `apart` does: calls its function whenever it is asked."""
    function = make()
    for _ in range(warmup):
        function()
    call = _timed(function)
    link.send((0.0, 0.0))
    while link.recv():
        link.send(call())


def _asked(name: str, link: Connection) -> Callable[[], tuple[float, float]]:
    def call() -> tuple[float, float]:
        link.send(True)
        return _answer(name, link)

    return call


def _answer(name: str, link: Connection) -> tuple[float, float]:
    try:
        seconds, processor = link.recv()
    except EOFError:
        raise RuntimeError(f"the process of {name!r} ended") from None
    return seconds, processor


def _timed(function: Callable[[], Any]) -> Callable[[], tuple[float, float]]:
    """Calls a function: its seconds, and processor time."""

    def call() -> tuple[float, float]:
        start, used = time.perf_counter(), time.process_time()
        function()
        return time.perf_counter() - start, time.process_time() - used

    return call


def _in_turns(
    calls: Mapping[str, Callable[[], tuple[float, float]]], repeats: int
) -> dict[str, dict[str, Any]]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            found[name].append(call())
    return {
        name: {
            "median_s": statistics.median(seconds for seconds, _ in times),
            "minimum_s": min(seconds for seconds, _ in times),
            "processor_s": min(processor for _, processor in times),
            "seconds": [seconds for seconds, _ in times],
        }
        for name, times in found.items()
    }


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions; a package that is not installed is None."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load_average": list(os.getloadavg()),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
