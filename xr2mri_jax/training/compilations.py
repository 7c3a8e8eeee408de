"""Counts the programs that JAX compiles, to detect a step that is compiled again."""

import functools
from typing import Any

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


class _Counter:
    def __init__(self) -> None:
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **_: Any) -> None:
        del duration_secs
        self.count += event == _EVENT


@functools.cache
def _counter() -> _Counter:
    return _Counter()


def count() -> int:
    """Programs compiled, or read from the cache on disk, by this process since the first call."""
    return _counter().count
