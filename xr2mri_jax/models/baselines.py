"""Classical baselines: principal components of radiographs, beside the auto-encoder."""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class PCA:
    """Principal components of images: a linear auto-encoder with `k` hidden variables.

    Attributes:
      mean: f32[h * w * c], the mean training image.
      components: f32[k, h * w * c], orthonormal rows, largest variance first.
      image_shape: (h, w, c).
    """

    mean: np.ndarray
    components: np.ndarray
    image_shape: tuple[int, ...]

    def encode(self, images: np.ndarray) -> np.ndarray:
        """f32[b, h, w, c] -> hidden variables f32[b, k]; InputError for another image shape."""
        if tuple(images.shape[1:]) != self.image_shape:
            raise InputError(
                f"PCA: found images of the shape {images.shape[1:]}, expected {self.image_shape}"
            )
        flat = images.reshape(len(images), -1).astype(np.float32)
        return (flat - self.mean) @ self.components.T

    def decode(self, hidden: np.ndarray) -> np.ndarray:
        """Hidden variables f32[b, k] -> reconstructions f32[b, h, w, c], not clipped."""
        flat = hidden @ self.components + self.mean
        return flat.reshape(len(hidden), *self.image_shape)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """f32[b, h, w, c] -> the nearest images in the components' span, f32[b, h, w, c]."""
        return self.decode(self.encode(images))


def fit_pca(images: np.ndarray, k: int) -> PCA:
    """Fits the first `k` principal components to `images`.

    The smaller of the two Gram matrices (images or pixels) is decomposed in float64, so that a few
    thousand radiographs take seconds; directions without variance are left out.

    Args:
      images: f32[n, h, w, c], n of 2 or more, finite.
      k: number of components, 1 or more. At most n - 1 directions have variance: for a larger k the
        model has only these, which reconstruct the training images exactly.

    Raises:
      InputError: fewer than 2 images, k below 1, or images that are not [n, h, w, c].
    """
    if images.ndim != 4 or len(images) < 2:
        raise InputError(f"PCA: found images of the shape {images.shape}, expected n >= 2, h, w, c")
    if k < 1:
        raise InputError(f"PCA: found k = {k}, expected 1 component or more")
    flat = images.reshape(len(images), -1).astype(np.float32)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = flat - mean
    few_images = centred.shape[0] <= centred.shape[1]
    gram = centred @ centred.T if few_images else centred.T @ centred
    variances, vectors = np.linalg.eigh(gram.astype(np.float64))
    order = np.argsort(variances)[::-1][:k]
    order = order[variances[order] > 1e-6 * max(float(variances[-1]), 1e-12)]
    components = vectors[:, order].T.astype(np.float32)
    if few_images:
        components = components @ centred
        components /= np.linalg.norm(components, axis=1, keepdims=True)
    return PCA(mean, components, tuple(images.shape[1:]))
