"""Throughput of training and inference at batch sizes that double until memory is full."""

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from xr2mri_jax.runtime import processor
from xr2mri_jax.tools.benchmarks import gpu_cases
from xr2mri_jax.tools.benchmarks.gpu_budget import (
    OUT_OF_MEMORY,
    Budget,
    out_of_memory,
    seconds_each,
)

MODES = ("training", "inference")


def rows(
    case: gpu_cases.Case, mode: str, dtype: str, sizes: gpu_cases.Sizes, budget: Budget
) -> dict[str, Any]:
    """Examples per second by batch size.

    The programs of all batch sizes are compiled at once, one per core, before measuring.

    Args:
      case: the network.
      mode: "training": step of a run, without its input; "inference": forward pass.
      dtype: for the names of rows.
      sizes: of the inputs.
      budget: of this row.

    Returns:
      {"network", "mode", "dtype", "by_batch": {size: {"examples_per_s", "ms", "flops"}}, "stopped":
      the reason why no larger batch was measured}. FLOPs are from the operations' shapes.
    """
    name = f"{case.name}, {mode}, {dtype}"
    row: dict[str, Any] = {"network": case.name, "mode": mode, "dtype": dtype, "by_batch": {}}
    batches, spent = sizes.batches[case.name], 0.0
    row["stopped"] = f"batch {batches[-1]} is the largest tried"
    if not budget.allows(f"{name}, batch {batches[0]} and more"):
        return {**row, "stopped": "time"}
    with ThreadPoolExecutor(max(1, processor.cores() // 2)) as pool:
        programs = [pool.submit(_compiled, case, mode, size, sizes) for size in batches]
        concurrent.futures.wait(programs)
    for size, program in zip(batches, programs, strict=True):
        # The smallest is always measured: its program already exists.
        if size > batches[0] and not budget.allows(f"{name}, batch {size} and more", 2 * spent):
            row["stopped"] = "time"
            break
        before = budget.left()
        try:
            compiled, flops = program.result()
            each = _measured(case, mode, size, compiled, min(1.0, max(budget.left(), 0.0) / 20))
        except Exception as error:
            if not out_of_memory(error):
                raise
            row["stopped"] = f"{OUT_OF_MEMORY} at batch {size}"
            break
        spent = before - budget.left()
        row["by_batch"][size] = {"examples_per_s": size / each, "ms": 1e3 * each, "flops": flops}
    return row


def _compiled(
    case: gpu_cases.Case, mode: str, size: int, sizes: gpu_cases.Sizes
) -> tuple[Any, float]:
    batch = jax.eval_shape(lambda: case.batch(size))
    state = jax.eval_shape(case.fresh)
    if mode == "training":
        key = jax.eval_shape(lambda: jax.random.key(1))
        program = jax.jit(case.steps.train_step, donate_argnums=(0,))
        lowered = program.lower(state, batch, key)
    else:
        lowered = jax.jit(case.forward).lower(state.params, state.model_state, batch)
    compiled = lowered.compile(compiler_options=sizes.options)
    return compiled, float((lowered.cost_analysis() or {}).get("flops", 0.0))


def _measured(case: Any, mode: str, size: int, compiled: Any, least: float) -> float:
    batch = jax.block_until_ready(jax.jit(lambda: case.batch(size))())
    state = jax.block_until_ready(case.new_state())
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
