"""Linear probe: logistic regression of two classes on frozen hidden variables."""

import dataclasses

import numpy as np
from scipy import optimize, special


@dataclasses.dataclass(frozen=True)
class LinearProbe:
    """Logistic regression on standardised features.

    Attributes:
      mean: f64[n], of the training features.
      scale: f64[n], their standard deviation, or 1 if that is 0.
      weights: f64[n].
      bias: the logit of a mean example.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features f[b, n] to logits f64[b, 2], the first one 0."""
        logit = (features - self.mean) / self.scale @ self.weights + self.bias
        return np.stack([np.zeros_like(logit), logit], axis=1)


def fit_linear_probe(features: np.ndarray, label: np.ndarray, decay: float = 1.0) -> LinearProbe:
    """Fits a linear probe, to see how well frozen hidden variables separate two classes.

    Minimises the sum of the cross entropies plus decay / 2 times the squared weights of the
    standardised features, by L-BFGS.

    Args:
      features: f[n, k], finite; for example the bottleneck of an auto-encoder, flattened.
      label: i[n], 0 or 1.
      decay: at least 0; choose it on examples that are not in `features`.

    Raises:
      ValueError: if shapes do not match or a class is absent.
    """
    features, label = np.asarray(features, np.float64), np.asarray(label)
    if features.ndim != 2 or label.shape != features.shape[:1] or set(label) != {0, 1}:
        raise ValueError(f"features {features.shape} for labels {label.shape} of {set(label)}")
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    unit, sign = (features - mean) / scale, 2.0 * label - 1.0

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, margin = values[:-1], sign * (unit @ values[:-1] + values[-1])
        pull = -sign * special.expit(-margin)
        gradient = np.append(unit.T @ pull + decay * weights, pull.sum())
        return np.logaddexp(0, -margin).sum() + decay / 2 * weights @ weights, gradient

    start = np.zeros(features.shape[1] + 1)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return LinearProbe(mean, scale, found.x[:-1], float(found.x[-1]))
