"""The device's measured peak, and the share of it that each layer of a network reaches."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xr2mri_jax.runtime import processor
from xr2mri_jax.tools.benchmarks import gpu_cases
from xr2mri_jax.tools.benchmarks.gpu_budget import Budget, seconds_each


def peak(dtype: str, size: int) -> dict[str, Any]:
    """FLOP/s of the product of two `size` x `size` matrices: the upper bound for a layer.

    Args:
      dtype: of `gpu_cases.DTYPES`.
      size: rows and columns, 8192 on a GPU.
    """
    # A product between numbers near 1 / sqrt(size) keeps its scale.
    a = jnp.full((size, size), size**-0.5, gpu_cases.DTYPES[dtype])
    product = jax.jit(jnp.matmul)
    each = seconds_each(lambda: product(a, a), jax.block_until_ready, 0.3)
    return {"dtype": dtype, "size": size, "flops_per_s": 2.0 * size**3 / each}


def rows(
    case: gpu_cases.Case, dtype: str, sizes: gpu_cases.Sizes, peak_flops: float, budget: Budget
) -> list[dict[str, Any]]:
    """Forward and backward pass of each distinct layer alone, at its shapes in the network.

    Returns:
      For each layer {"network", "layer", "kind", "input", "dtype", "ms", "flops", "share_of_peak"},
      slowest first. FLOPs are those of forward and backward pass, from the operations' shapes.
    """
    if not budget.allows(f"layers of {case.name}, {dtype}"):
        return []
    found = list(_layers(case, sizes.layer_batch))
    measured = []
    with ThreadPoolExecutor(max(1, min(8, processor.cores() // 2))) as pool:
        programs = [(layer, pool.submit(_compiled, *layer[1:], sizes.options)) for layer in found]
        for place, ((name, module, shapes), program) in enumerate(programs):
            row = f"layer {case.name}/{name}, {dtype}, and {len(found) - place - 1} more"
            if not budget.allows(row):
                for _, waiting in programs[place:]:
                    waiting.cancel()
                break
            compiled, arguments, flops = program.result()
            made = jax.tree.map(lambda s: jnp.full(s.shape, 0.01, s.dtype), arguments)

            def call(compiled: Any = compiled, made: Any = made) -> Any:
                return compiled(*made)

            each = seconds_each(call, jax.block_until_ready, min(0.1, max(budget.left(), 0.0) / 50))
            measured.append(
                {
                    "network": case.name,
                    "layer": name,
                    "kind": type(module).__name__,
                    "input": list(shapes[0].shape),
                    "dtype": dtype,
                    "ms": 1e3 * each,
                    "flops": flops,
                    "share_of_peak": flops / each / peak_flops,
                }
            )
    return sorted(measured, key=lambda row: -row["ms"])


def _layers(case: gpu_cases.Case, batch_size: int) -> Iterator[tuple[str, nn.Module, Any]]:
    """Modules without submodules, each with the abstract inputs of its first call."""
    calls: list[tuple[str, nn.Module, Any]] = []
    inner: list[int] = []

    def watch(following: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name != "__call__":
            return following(*args, **kwargs)
        for level in range(len(inner)):
            inner[level] += 1
        inner.append(0)
        result = following(*args, **kwargs)
        if inner.pop() == 0:
            module, path = context.module, "/".join(context.module.path)
            shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args[:1]]
            calls.append((path, module.clone(parent=None, name=None), shapes))
        return result

    def apply() -> Any:
        with nn.intercept_methods(watch):
            return case.module.init(jax.random.key(0), *case.inputs(case.batch(batch_size)))

    jax.eval_shape(apply)
    seen = set()
    for name, module, shapes in calls:
        key = (repr(module), shapes[0].shape)
        if key not in seen:
            seen.add(key)
            yield name, module, shapes


def _compiled(module: nn.Module, shapes: Any, options: Any) -> tuple[Any, Any, float]:
    extra = (True,) if type(module).__name__ == "NormalisedConvolution" else ()
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, *extra), *shapes)

    def total(variables: Any, x: Any) -> Any:
        mutable: Any = ["batch_stats"] if extra else False
        found: Any = module.apply(variables, x, *extra, mutable=mutable)
        found = found[0] if extra else found
        return jnp.sum(jnp.square(found.astype(jnp.float32)))

    gradient = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    arguments = (variables, *shapes)
    lowered = gradient.lower(*arguments)
    compiled = lowered.compile(compiler_options=options)
    return compiled, arguments, float((lowered.cost_analysis() or {}).get("flops", 0.0))
