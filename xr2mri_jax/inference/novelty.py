"""Novelty score of a radiograph: Mahalanobis distance of network features to the training set."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_triangular

from xr2mri_jax.stages.base import Encodes

# Distance 1 is this quantile of the held-out radiographs' distances.
QUANTILE = 0.99
# Lower limit of a feature's deviation, as a fraction of the median one: otherwise a channel that
# was constant in training would dominate the distance.
NARROWEST = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class NoveltyDetector:
    """Scores novelty by statistics of the training radiographs' features.

    Attributes:
      mean: f32[n].
      deviation: f32[n], > 0.
      factor: f16[n, n], lower triangular: factor @ factor.T is the shrunken correlation matrix.
      scale: the Mahalanobis distance that is reported as 1, > 0.
    """

    mean: np.ndarray
    deviation: np.ndarray
    factor: np.ndarray
    scale: float

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Distances f64[b] of features f[b, n]; 1 % of similar unseen radiographs exceed 1."""
        return _mahalanobis(self.mean, self.deviation, self.factor, features) / self.scale


def is_unlike(score: float | None) -> bool:
    """Whether a radiograph is unlike those of the training: a known score above 1."""
    return score is not None and score > 1


def doubts(score: float | None) -> list[str]:
    """A doubt about a radiograph that is unlike those of the training, else []."""
    if not is_unlike(score):
        return []
    return [
        f"unlike the training radiographs (novelty score {score:.2f}, 1 % of similar radiographs "
        "exceed 1)"
    ]


def deepest_features(stage: Encodes, params: Any, xray: Any) -> Any:
    """Mean and deviation over the positions of the deepest hidden variables, f32[b, n].

    Args:
      stage: computes the hidden variables f32[b, h, w, c].
      params: the stage's parameters.
      xray: f32[b, h, w, 1] in [0, 1].
    """
    hidden = stage.hidden(params, xray)
    return jnp.concatenate([hidden.mean(axis=(1, 2)), hidden.std(axis=(1, 2))], axis=-1)


def fit(features: np.ndarray, held_out: np.ndarray) -> NoveltyDetector:
    """Fits mean and shrunken covariance to training features, and the scale to held-out features.

    Lee et al. 2018 (arXiv 1807.03888) detect unusual images by the Mahalanobis distance of network
    features. Here both classes share one mean, and the covariance of the standardised features is
    shrunken so that it can be inverted.

    Args:
      features: f[m, n] of training radiographs.
      held_out: f[k, n] of similar radiographs that were not used in training.

    Raises:
      ValueError: fewer than 2 training radiographs, none held out, wrong shapes, or all equal.
    """
    features, held_out = np.asarray(features, np.float64), np.asarray(held_out, np.float64)
    if features.ndim != 2 or len(features) < 2 or held_out.shape[1:] != features.shape[1:]:
        raise ValueError(f"features {features.shape} and {held_out.shape}, expected [m, n], [k, n]")
    if not len(held_out) or not features.std(axis=0).any():
        raise ValueError("features: none held out, or all the same")
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    narrowest = NARROWEST * float(np.median(deviation[deviation > 0]))
    deviation = np.maximum(deviation, narrowest)
    covariance, _ = shrunken_covariance((features - mean) / deviation)
    # Rounded before the scale is computed, so that the stored statistics give the same distances.
    rounded = mean.astype(np.float32), deviation.astype(np.float32)
    factor = np.linalg.cholesky(covariance).astype(np.float16)
    scale = float(np.quantile(_mahalanobis(*rounded, factor, held_out), QUANTILE))
    return NoveltyDetector(*rounded, factor, scale)


def shrunken_covariance(centred: np.ndarray) -> tuple[np.ndarray, float]:
    """The covariance shrunken towards a multiple of the identity, and the shrinkage.

    Ledoit and Wolf 2004 (doi 10.1016/S0047-259X(03)00096-4), lemma 3.2 to 3.5: the shrinkage is the
    sampling error of the covariance divided by its distance from the multiple of the identity.

    Args:
      centred: f64[m, n] with mean 0.

    Returns:
      f64[n, n] and the shrinkage in [0, 1].
    """
    count, size = centred.shape
    sample = centred.T @ centred / count
    level = np.trace(sample) / size
    apart = float(np.square(sample - level * np.eye(size)).sum())
    fourth = float(np.square(np.square(centred).sum(axis=1)).sum())
    error = (fourth / count - float(np.square(sample).sum())) / count
    share = min(error, apart) / apart if apart > 0 else 1.0
    return (1 - share) * sample + share * level * np.eye(size), share


def _mahalanobis(
    mean: np.ndarray, deviation: np.ndarray, factor: np.ndarray, features: np.ndarray
) -> np.ndarray:
    standardised = (np.asarray(features, np.float64) - mean) / deviation
    white = solve_triangular(factor.astype(np.float64), standardised.T, lower=True)
    return np.sqrt(np.square(white).sum(axis=0))
