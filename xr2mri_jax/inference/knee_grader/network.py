"""The network of a grader, compiled once for a fixed batch size."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from xr2mri_jax.inference.knee_grader.form import KneeGrader
from xr2mri_jax.models import classifiers, views


class Network:
    """Maps radiographs to logits and features, in batches of a fixed size.

    Attributes:
      batch_size: radiographs per batch; smaller batches are padded.
    """

    def __init__(self, grader: KneeGrader, batch_size: int):
        """Does not compile; the first call or `compile` does."""
        self.batch_size = batch_size
        self._shape = (*grader.image_shape, 1)
        # In float32 on every device, as when temperature and thresholds were determined. By default
        # TPUs multiply float32 in bfloat16 and GPUs in TF32 (jax.lax.Precision).
        model = classifiers.make(grader.network)
        self._variables = jax.device_put(
            {"params": grader.params, "batch_stats": grader.model_state}
        )

        def judged(variables: Any, xray: Any) -> Any:
            features = model.apply(variables, xray, method="features")
            return model.apply(variables, features, method="classify"), features

        def see(variables: Any, xray: Any) -> Any:
            with jax.default_matmul_precision("float32"):
                if not grader.views:
                    return judged(variables, xray)
                logits, features = views.over_views(partial(judged, variables), xray)
                # The novelty score uses the first, unmoved view.
                return jnp.mean(logits, axis=0), features[0]

        self._see = jax.jit(see)
        self._compiled: Callable[..., Any] | None = None

    def compile(self) -> None:
        """Compiles now, without running anything."""
        if self._compiled is None:
            xray = jax.ShapeDtypeStruct((self.batch_size, *self._shape), np.float32)
            self._compiled = self._see.lower(self._variables, xray).compile()

    def __call__(self, xray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits f64[b, k] and features f64[b, n] of radiographs f32[b, h, w, 1] in [0, 1].

        Args:
          xray: at most `batch_size`, at least one.

        Raises:
          FloatingPointError: the network's output is not finite.
        """
        count = len(xray)
        padded = np.zeros((self.batch_size, *self._shape), np.float32)
        padded[:count] = xray
        self.compile()
        assert self._compiled is not None
        found = jax.device_get(self._compiled(self._variables, padded))
        logits, features = (np.asarray(value, np.float64)[:count] for value in found)
        if not (np.isfinite(logits).all() and np.isfinite(features).all()):
            raise FloatingPointError("the network gives values that are not finite")
        return logits, features


def positive_probability(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probability f64[b] of the upper half of the grades from logits f[b, k]."""
    probability = special.softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return np.clip(probability[:, logits.shape[1] // 2 :].sum(axis=1), 0.0, 1.0)
