"""Baseline: linear regression from radiograph to volume, on principal components of both."""

import dataclasses

import numpy as np

# Numbers of components that are tried, of radiographs and of volumes.
COMPONENTS = (4, 8, 16, 32, 64, 128, 256)


@dataclasses.dataclass(frozen=True)
class LinearModel:
    """A regression of volumes' components on radiographs' components.

    Attributes:
      mean_xray: f32[p], the mean training radiograph.
      weights: f32[p, n], from a centred radiograph to shares of the training volumes.
      volumes: f32[n, v], training volumes less their mean.
      mean_volume: f32[v].
      shape: (d, h, w).
      components: of radiographs and volumes.
    """

    mean_xray: np.ndarray
    weights: np.ndarray
    volumes: np.ndarray
    mean_volume: np.ndarray
    shape: tuple[int, ...]
    components: tuple[int, int]

    def predict(self, xray: np.ndarray) -> np.ndarray:
        """f32[b, h, w, 1] in [0, 1] to f32[b, d, h, w, 1], cut to [0, 1]."""
        centred = xray.reshape(len(xray), -1) - self.mean_xray
        flat = self.mean_volume + (centred @ self.weights) @ self.volumes
        return np.clip(flat, 0, 1).reshape(len(xray), *self.shape, 1)


class LinearFits:
    """All fits on n training cases: decomposed once, then cut to any number of components."""

    def __init__(self, xrays: np.ndarray, volumes: np.ndarray) -> None:
        """Decomposes radiographs and volumes.

        Args:
          xrays: f32[n, h, w, 1], n of 2 or more.
          volumes: f32[n, d, h, w, 1], the mean where a case was not acquired.
        """
        self.shape = volumes.shape[1:-1]
        x, y = xrays.reshape(len(xrays), -1), volumes.reshape(len(volumes), -1)
        self.mean_xray, self.mean_volume = x.mean(axis=0), y.mean(axis=0)
        self._x, self._y = x - self.mean_xray, y - self.mean_volume
        self._of_xrays, self._of_volumes = _decomposed(self._x), _decomposed(self._y)

    def largest(self) -> int:
        """The largest number of components with variance in both."""
        return min(len(self._of_xrays[1]), len(self._of_volumes[1]))

    def model(self, of_xrays: int, of_volumes: int) -> LinearModel:
        """Least squares from the first components of radiographs to those of volumes."""
        left, size = (part[..., :of_xrays] for part in self._of_xrays)
        basis = self._of_volumes[0][:, :of_volumes]
        # Scores of radiographs: left * size; their regression on the volumes' scores is the
        # projection of the training cases on both bases.
        shares = (left.T @ basis) @ basis.T
        components = (self._x.T @ left) / size
        weights = (components / size) @ shares
        return LinearModel(
            self.mean_xray,
            weights.astype(np.float32),
            self._y,
            self.mean_volume,
            self.shape,
            (of_xrays, of_volumes),
        )

    def best(self, xrays: np.ndarray, volumes: np.ndarray, mask: np.ndarray) -> LinearModel:
        """The model with the least squared error on other cases.

        Equal numbers of components are tried first, then other numbers of the volumes'.

        Args:
          xrays: f32[m, h, w, 1].
          volumes: f32[m, d, h, w, 1].
          mask: bool of the same shape, where it counts.
        """

        def error(model: LinearModel) -> float:
            return float(np.square(model.predict(xrays) - volumes)[mask].mean())

        sizes = [k for k in COMPONENTS if k < self.largest()] + [self.largest()]
        equal = min((self.model(k, k) for k in sizes), key=error)
        return min((self.model(equal.components[0], k) for k in sizes), key=error)


def _decomposed(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors f64[n, k] and singular values f64[k], the largest first."""
    variances, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    order = np.argsort(variances)[::-1]
    order = order[variances[order] > 1e-6 * max(float(variances[-1]), 1e-12)]
    return vectors[:, order], np.sqrt(variances[order])
