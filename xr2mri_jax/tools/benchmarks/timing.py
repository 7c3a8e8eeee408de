"""Times functions side by side, and describes the machine."""

import contextlib
import importlib.metadata
import itertools
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from xr2mri_jax.runtime import processor

# Seconds that processes have to end by themselves.
GRACE = 10.0
_IN = {"s": 1.0, "ms": 1e3}
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")


def interleaved(
    functions: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 2
) -> dict[str, dict[str, Any]]:
    """Times every function `repeats` times, taking turns.

    Turns make a ratio robust to other work on the machine: a slow period affects all functions.

    Args:
      functions: by name; each call must return only when its result is ready.
      repeats: timed calls per function, 1 or more.
      warmup: calls before that, for compilation and caches.

    Returns:
      name -> {"median_s", "minimum_s", "seconds": every time in order, "processor_s": the least
      processor time of a call, summed over the process's threads, which other work on the machine
      does not lengthen (actively waiting threads count too)}.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()
    return _in_turns({name: _timed(function) for name, function in functions.items()}, repeats)


def ratios(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Ratios of one function's times to another's, from `interleaved` or `in_processes`.

    Returns:
      "medians": the ratio of the medians; "paired": the median of the ratios of calls in the same
      turn, which is less affected by a machine that becomes slower meanwhile.
    """
    turns = zip(ours["seconds"], theirs["seconds"], strict=True)
    return {
        "medians": ours["median_s"] / theirs["median_s"],
        "paired": statistics.median(first / second for first, second in turns),
    }


def rows(
    title: str, seconds: Mapping[str, Mapping[str, Any]], unit: str = "s", digits: int = 2
) -> list[str]:
    """Results of `interleaved` or `in_processes` as lines of text: a header, then each function.

    Args:
      title: header of the names.
      seconds: the result of one of them.
      unit: "s" or "ms".
      digits: after the decimal point.
    """
    width = max(map(len, (title, *seconds))) + 1
    lines = [f"{title:<{width}} {'median':>10} {'minimum':>10} {'processor':>10}"]
    for name, entry in seconds.items():
        cells = [entry[key] * _IN[unit] for key in ("median_s", "minimum_s", "processor_s")]
        texts = [f"{cell:.{digits}f} {unit}" for cell in cells]
        lines.append(f"{name:<{width}} " + " ".join(f"{text:>10}" for text in texts))
    return lines


Maker = Callable[[], Callable[[], Any]]


def in_processes(
    makers: Mapping[str, Maker | Sequence[Maker]], repeats: int, warmup: int = 2
) -> dict[str, dict[str, Any]]:
    """`interleaved` with each function in its own process, as in real use.

    In one process the frameworks share the C library's memory, and the processor with each other's
    waiting threads, which costs JAX a sixth of its time.

    Args:
      makers: by name; each creates its function in its process, and can be pickled. Of several
        makers each has a process, and their functions run at once: a call lasts as long as the
        longest of them, and its processor time is their sum.
      repeats: timed calls per function, 1 or more.
      warmup: calls before that.

    Returns:
      As `interleaved`.

    Raises:
      RuntimeError: a process ended.
    """
    context = multiprocessing.get_context("spawn")
    links: dict[str, list[Connection]] = {}
    processes = []
    try:
        for name, team in makers.items():
            links[name] = []
            for make in team if isinstance(team, Sequence) else [team]:
                ours, theirs = context.Pipe()
                # Not a daemon, because a daemon cannot have processes of its own to read its input.
                process = context.Process(target=_serve, args=(theirs, make, warmup))
                process.start()
                processes.append(process)
                theirs.close()
                links[name].append(ours)
            _answers(name, links[name])
        return _in_turns({name: _asked(name, team) for name, team in links.items()}, repeats)
    finally:
        # Processes joined by JAX end together: one that is killed would take the others with it.
        for link in itertools.chain.from_iterable(links.values()):
            with contextlib.suppress(BrokenPipeError):
                link.send(False)
        for process in processes:
            process.join(GRACE)
            process.kill()
            process.join()


def _serve(link: Connection, make: Maker, warmup: int) -> None:
    """The loop of a process of `in_processes`: calls its function on every request."""
    function = make()
    for _ in range(warmup):
        function()
    call = _timed(function)
    link.send((0.0, 0.0))
    # The requesting process may be gone.
    with contextlib.suppress(EOFError, BrokenPipeError):
        while link.recv():
            link.send(call())


def _asked(name: str, links: Sequence[Connection]) -> Callable[[], tuple[float, float]]:
    def call() -> tuple[float, float]:
        for link in links:
            link.send(True)
        return _answers(name, links)

    return call


def _answers(name: str, links: Sequence[Connection]) -> tuple[float, float]:
    try:
        answers = [link.recv() for link in links]
    except EOFError:
        raise RuntimeError(f"a process of {name!r} ended") from None
    return max(seconds for seconds, _ in answers), sum(processor for _, processor in answers)


def _timed(function: Callable[[], Any]) -> Callable[[], tuple[float, float]]:
    """Wraps a function to return its seconds and processor time."""

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
        "cores": processor.cores(),
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
