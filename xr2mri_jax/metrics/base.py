"""The mergeable mean: a (sum, count) pair that is added over batches, devices and hosts."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean that is stored as sum and count until it is computed.

    Attributes:
      sum: f32 scalar or f32[n], the sum of the included values.
      count: f32 scalar, the number of included values.
    """

    sum: Any
    count: Any

    @classmethod
    def empty(cls) -> "Mean":
        """The neutral element of `merge`."""
        return cls(0.0, 0.0)

    @classmethod
    def from_values(cls, values: Any, example_mask: Any = None) -> "Mean":
        """Sums per-example values; works inside jit.

        Args:
          values: f32[b], one value per example, or f32[b, n], which gives n sums.
          example_mask: f32[b] or bool[b], 0 for an excluded example (the padding of an incomplete
            batch), whose value may be anything, including NaN. None: all are included.

        Raises:
          ValueError: if the shapes differ or `values` does not have one or two axes.
        """
        values = jnp.asarray(values, jnp.float32)
        if values.ndim not in (1, 2):
            raise ValueError(f"values have shape {values.shape}, expected one value per example")
        if example_mask is None:
            return cls(jnp.sum(values, axis=0), jnp.asarray(len(values), jnp.float32))
        if jnp.shape(example_mask) != values.shape[:1]:
            raise ValueError(
                f"example_mask has shape {jnp.shape(example_mask)}, expected {values.shape[:1]}"
            )
        weight = jnp.asarray(example_mask, jnp.float32)
        wide = weight.reshape(-1, *[1] * (values.ndim - 1))
        return cls(jnp.sum(jnp.where(wide > 0, values * wide, 0.0), axis=0), jnp.sum(weight))

    def merge(self, other: "Mean") -> "Mean":
        """The mean over the values of both means."""
        return Mean(self.sum + other.sum, self.count + other.count)

    def compute(self) -> float:
        """The mean as a Python number (on the host, not inside jit).

        Raises:
          ValueError: if nothing was counted.
        """
        if float(self.count) == 0.0:
            raise ValueError("cannot compute the mean of no values")
        return float(self.sum) / float(self.count)


def from_batch(values: Mapping[str, Any], example_mask: Any = None) -> dict[str, Mean]:
    """Applies `Mean.from_values` to every entry of a dict of f32[b]."""
    return {name: Mean.from_values(value, example_mask) for name, value in values.items()}


def merge(first: Mapping[str, Mean], second: Mapping[str, Mean]) -> dict[str, Mean]:
    """Merges two dicts of means by name.

    Raises:
      ValueError: if the names differ.
    """
    if set(first) != set(second):
        raise ValueError(f"cannot merge metrics {sorted(first)} with {sorted(second)}")
    return {name: first[name].merge(second[name]) for name in first}


def compute(means: Mapping[str, Mean]) -> dict[str, float]:
    """Computes every mean of the dict as a Python number."""
    return {name: mean.compute() for name, mean in means.items()}
