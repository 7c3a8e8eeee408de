"""Throughput of training and inference at batch sizes that double until memory is full."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

from xr2mri_jax.tools.benchmarks import gpu_cases
from xr2mri_jax.tools.benchmarks.gpu_budget import (
    OUT_OF_MEMORY,
    Budget,
    out_of_memory,
    seconds_each,
)

MODES = ("training", "inference")


def rows(case: gpu_cases.Case, mode: str, dtype: str, sizes: Any, budget: Budget) -> dict[str, Any]:
    """Examples a second by batch size.

    Programs of the next batch size are compiled while one is measured.

    Args:
      case: the network.
      mode: "training": step of a run, without its input; "inference": forward pass.
      dtype: for the names of rows.
      sizes: `gpu_cases.Sizes`.
      budget: of this row.

    Returns:
      {"network", "mode", "dtype", "by_batch": {size: {"examples_per_s", "ms", "flops"}}, "stopped":
      why no larger batch was measured}.
    """
    name = f"{case.name}, {mode}, {dtype}"
    row: dict[str, Any] = {"network": case.name, "mode": mode, "dtype": dtype, "by_batch": {}}
    batches, spent = sizes.batches[case.name], 0.0
    with ThreadPoolExecutor(1) as pool:
        following: Future[Any] = pool.submit(_compiled, case, mode, batches[0])
        for place, size in enumerate(batches):
            if not budget.allows(f"{name}, batch {size} and more", 1.5 * spent):
                row["stopped"] = "time"
                break
            before = budget.left()
            try:
                compiled, flops = following.result()
                if place + 1 < len(batches):
                    following = pool.submit(_compiled, case, mode, batches[place + 1])
                each = _measured(case, mode, size, compiled, min(1.0, budget.left() / 20))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                row["stopped"] = f"{OUT_OF_MEMORY} at batch {size}"
                break
            spent = before - budget.left()
            row["by_batch"][size] = {
                "examples_per_s": size / each,
                "ms": 1e3 * each,
                "flops": flops,
            }
        following.cancel()
    row.setdefault("stopped", f"batch {batches[-1]} is the largest tried")
    return row


def _compiled(case: gpu_cases.Case, mode: str, size: int) -> tuple[Any, float | None]:
    """The compiled program, and its FLOPs from the shapes of its operations."""
    batch = jax.eval_shape(lambda: case.batch(size))
    state = jax.eval_shape(case.fresh)
    if mode == "training":
        key = jax.eval_shape(lambda: jax.random.key(1))
        program = jax.jit(case.steps.train_step, donate_argnums=(0,))
        lowered = program.lower(state, batch, key)
    else:
        lowered = jax.jit(case.forward).lower(state.params, state.model_state, batch)
    return lowered.compile(), (lowered.cost_analysis() or {}).get("flops")


def _measured(case: Any, mode: str, size: int, compiled: Any, least: float) -> float:
    batch = jax.block_until_ready(jax.jit(lambda: case.batch(size))())
    state = jax.block_until_ready(jax.jit(case.fresh)())
    call: Callable[[], Any]
    if mode == "training":
        key = jax.random.key(1)

        def call() -> Any:
            nonlocal state
            state, outcome = compiled(state, batch, key)
            return outcome
    else:

        def call() -> Any:
            return compiled(state.params, state.model_state, batch)

    return seconds_each(call, jax.block_until_ready, least)
