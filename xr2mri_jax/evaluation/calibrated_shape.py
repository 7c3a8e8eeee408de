"""Shrinkage of the outputs of a generator of the form `shape`, fitted on held-out knees.

A network that overfits its training knees deviates further from the mean knee than unseen
radiographs justify. Each component, and the contribution of the columns to each surface, is
multiplied by the least-squares factor for held-out knees, in [0, 1].
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Distance from a surface, in mm, at which a voxel's weight falls to 1 / e, as in the training loss.
_NEAR_MM = 2.0


def calibrate(
    stage: Any, params: Any, batches: Iterable[Mapping[str, np.ndarray]], trust: float = 1.0
) -> tuple[Any, dict[str, list[float]]]:
    """Shrinks the outputs to fit held-out knees; returns the parameters and the factors.

    Args:
      stage: a generator stage of the form "shape".
      params: its parameters.
      batches: held-out knees with xray and distances; padding has example_mask 0.
      trust: multiplies all factors, in [0, 1]. Held-out knees are simulated like the training
        knees; patients' radiographs resemble them less.

    Returns:
      New parameters, and {"components": one factor each, "columns": one factor per surface}.
    """
    part = params["generator"]
    silent = {**part, "column": jax.tree.map(jnp.zeros_like, part["column"])}
    answer = jax.jit(lambda p, xray: stage.outputs({**params, "generator": p}, xray)[1])
    mean, basis = np.asarray(part["mean"]), np.asarray(part["basis"])
    flat = basis.reshape(len(basis), -1)
    inverse = np.linalg.inv(flat @ flat.T + 1e-3 * np.eye(len(flat)))
    products = np.zeros((2, len(flat)))
    seen = []
    for batch in batches:
        real = np.asarray(batch["example_mask"]) > 0
        true = np.asarray(batch["distances"])[real]
        whole, plain = (np.asarray(answer(p, batch["xray"]))[real] for p in (part, silent))
        found, wanted = ((x - mean).reshape(len(x), -1) @ flat.T @ inverse for x in (plain, true))
        products += np.stack([(found * wanted).sum(axis=0), (found**2).sum(axis=0)])
        seen.append((found, whole - plain, true))
    components = np.clip(products[0] / np.maximum(products[1], 1e-9), 0.0, 1.0)
    columns = _column_shares(seen, mean, flat, components)
    components, columns = trust * components, trust * columns
    kernel = part["column"]["kernel"]
    spread = np.repeat(columns, kernel.shape[-1] // len(columns)).astype(np.float32)
    changed = {
        "coefficients": jax.tree.map(
            lambda x: x * components.astype(np.float32), part["coefficients"]
        ),
        "column": {"kernel": kernel * spread},
    }
    shares = {"components": components.tolist(), "columns": columns.tolist()}
    return {**params, "generator": {**part, **changed}}, shares


def _column_shares(
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    mean: np.ndarray,
    flat: np.ndarray,
    components: np.ndarray,
) -> np.ndarray:
    products = np.zeros((2, len(mean)))
    for found, added, true in seen:
        left = true - mean - ((found * components) @ flat).reshape(true.shape)
        weight = np.exp(-np.abs(true) / _NEAR_MM)
        axes = (0, 2, 3, 4)
        products += np.stack(
            [(weight * added * left).sum(axis=axes), (weight * added**2).sum(axis=axes)]
        )
    return np.clip(products[0] / np.maximum(products[1], 1e-9), 0.0, 1.0)
