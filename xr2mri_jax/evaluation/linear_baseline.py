"""Baseline: linear regression from radiograph to volume, on principal components of both."""

import dataclasses

import numpy as np

# Candidate numbers of components, for radiographs and volumes.
COMPONENTS = (4, 8, 16, 32, 64, 128, 256)


@dataclasses.dataclass(frozen=True)
class LinearModel:
    """A regression of volumes' components on radiographs' components.

    Attributes:
      mean_xray: f32[p], the mean training radiograph.
      weights: f32[p, n], from a centred radiograph to weights of the training volumes.
      volumes: f32[n, v], training volumes minus their mean.
      mean_volume: f32[v], the mean training volume.
      shape: (d, h, w).
      components: numbers of components of radiographs and volumes.
    """

    mean_xray: np.ndarray
    weights: np.ndarray
    volumes: np.ndarray
    mean_volume: np.ndarray
    shape: tuple[int, ...]
    components: tuple[int, int]

    def predict(self, xray: np.ndarray) -> np.ndarray:
        """Predicts f32[b, d, h, w, 1], clipped to [0, 1], from f32[b, h, w, 1] in [0, 1]."""
        centred = xray.reshape(len(xray), -1) - self.mean_xray
        flat = self.mean_volume + (centred @ self.weights) @ self.volumes
        return np.clip(flat, 0, 1).reshape(len(xray), *self.shape, 1)


class LinearFits:
    """Fits on n training cases: one decomposition gives models of any number of components."""

    def __init__(self, xrays: np.ndarray, volumes: np.ndarray) -> None:
        """Decomposes radiographs and volumes.

        Args:
          xrays: f32[n, h, w, 1], n of 2 or more.
          volumes: f32[n, d, h, w, 1], with the mean outside a case's acquired field.
        """
        self.shape = volumes.shape[1:-1]
        x, y = xrays.reshape(len(xrays), -1), volumes.reshape(len(volumes), -1)
        self.mean_xray, self.mean_volume = x.mean(axis=0), y.mean(axis=0)
        self._x, self._y = x - self.mean_xray, y - self.mean_volume
        self._of_xrays, self._of_volumes = _decomposed(self._x), _decomposed(self._y)

    def largest(self) -> int:
        """The largest number of components with nonzero variance in both."""
        return min(len(self._of_xrays[1]), len(self._of_volumes[1]))

    def model(self, of_xrays: int, of_volumes: int) -> LinearModel:
        """Fits least squares from the first components of radiographs to those of volumes."""
        left, size = (part[..., :of_xrays] for part in self._of_xrays)
        basis = self._of_volumes[0][:, :of_volumes]
        # The scores of radiographs are left * size. The regression of the volumes' scores on them
        # is the projection of the training cases onto both bases.
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
        """Selects the model with the smallest squared error on other cases.

        Tries equal numbers of components first, then varies the number for volumes.

        Args:
          xrays: f32[m, h, w, 1].
          volumes: f32[m, d, h, w, 1].
          mask: bool of the same shape, the voxels to include.
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
