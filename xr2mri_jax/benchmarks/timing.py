"""Timing of functions side by side, and the machine they ran on."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
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
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    processor = dict.fromkeys(functions, float("inf"))
    for _ in range(repeats):
        for name, function in functions.items():
            start, used = time.perf_counter(), time.process_time()
            function()
            seconds[name].append(time.perf_counter() - start)
            processor[name] = min(processor[name], time.process_time() - used)
    return {
        name: {
            "median_s": statistics.median(all_s),
            "minimum_s": min(all_s),
            "processor_s": processor[name],
            "seconds": all_s,
        }
        for name, all_s in seconds.items()
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
