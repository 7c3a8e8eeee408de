"""Grad-CAM of Siamese-GAP: which image regions are evidence for a grade, per block.

Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
localization", arXiv 1610.02391, equations 1 and 2.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.models import siamese_gap


class GradCam:
    """The maps of a network, compiled once per batch size.

    Attributes:
      levels: numbers of the blocks, from 1; block i has 1 / 2**(i - 1) of the resolution.
    """

    def __init__(self, network: Mapping[str, Any]):
        """Takes the network's spec; InputError if it is not Siamese-GAP."""
        spec = dict(network)
        kind = spec.pop("kind", "siamese_gap")
        if kind != "siamese_gap":
            raise InputError(
                f"Grad-CAM: found the network {kind!r}, expected siamese_gap, whose two branches "
                "are drawn"
            )
        self._model = siamese_gap.make(spec)
        self.levels = tuple(range(1, len(self._model.spec.channels) + 1))
        self._maps = jax.jit(self._grad_cam)
        self._boundaries = jax.jit(self._grad_cam_of_boundaries)

    def __call__(
        self, params: Any, model_state: Any, xray: np.ndarray, classes: Any = None
    ) -> np.ndarray:
        """Maps f32[levels, b, h, w] >= 0 in the canonical frame, 0 outside the patches.

        The score is the logit of a class, or the difference of the mean logits of the upper and the
        lower half of the grades. Each branch's map is placed at its patch, the second one mirrored
        back. Values of different blocks are not comparable; those of both branches in one block
        are.

        Args:
          params: of the network.
          model_state: its running moments.
          xray: f32[b, h, w, 1] in [0, 1].
          classes: i[b], whose logits are explained; None: the upper half of the grades.
        """
        count = self._model.spec.classes
        half = count // 2
        if classes is None:
            signs = np.where(np.arange(count) < half, -1 / half, 1 / (count - half))
            share = np.broadcast_to(signs, (len(xray), count))
        else:
            share = np.eye(count)[np.asarray(classes)]
        variables = {"params": params, "batch_stats": model_state}
        found = self._maps(variables, xray, np.asarray(share, np.float32))
        shape = xray.shape[1:3]
        return np.stack([in_frame(np.asarray(level), shape) for level in found])

    def of_boundaries(self, params: Any, model_state: Any, xray: np.ndarray) -> np.ndarray:
        """Maps f32[k - 1, b, h, w] >= 0: evidence for more than grade 0, 1, ..., k - 2.

        The score of a boundary is the log-odds that the grade lies above it; its maps are those of
        the last classified block, so that only the forward pass runs the convolutions. The maps of
        one radiograph are comparable. Arguments and frame as for `__call__`.
        """
        variables = {"params": params, "batch_stats": model_state}
        found = np.asarray(self._boundaries(variables, xray))
        shape = xray.shape[1:3]
        return np.stack([in_frame(boundary, shape) for boundary in found])

    def _grad_cam_of_boundaries(self, variables: Any, xray: jax.Array) -> jax.Array:
        """Maps f32[k - 1, 2 b, h', w'] of the last classified block."""
        model: Any = self._model
        maps = model.apply(variables, xray, method="maps")
        place = max(model.spec.levels) - 1

        def log_odds(last: jax.Array) -> jax.Array:
            pooled = model.apply(
                variables, (*maps[:place], last, *maps[place + 1 :]), method="pooled"
            )
            logits = model.apply(variables, pooled, method="classify")
            return jnp.stack([
                jnp.sum(logsumexp(logits[:, k:], axis=1) - logsumexp(logits[:, :k], axis=1))
                for k in range(1, logits.shape[1])
            ])  # fmt: skip

        weights = jnp.mean(jax.jacrev(log_odds)(maps[place]), axis=(2, 3))
        return jax.nn.relu(jnp.einsum("kbc,bhwc->kbhw", weights, maps[place]))

    def _grad_cam(self, variables: Any, xray: jax.Array, share: jax.Array) -> tuple[jax.Array, ...]:
        """Maps f32[2 b, h', w'] of each block; f32[b, k] weights the logits."""
        model: Any = self._model

        def score(added: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            maps = model.apply(variables, xray, False, added, method="maps")
            pooled = model.apply(variables, maps, method="pooled")
            logits = model.apply(variables, pooled, method="classify")
            return jnp.sum(share * logits), maps

        shapes = jax.eval_shape(lambda: model.apply(variables, xray, method="maps"))
        nothing = tuple(jnp.zeros(s.shape, s.dtype) for s in shapes)
        gradients, maps = jax.grad(score, has_aux=True)(nothing)
        weights = [jnp.mean(g, axis=(1, 2), keepdims=True) for g in gradients]
        return tuple(
            jax.nn.relu(jnp.sum(weight * x, axis=-1))
            for weight, x in zip(weights, maps, strict=True)
        )


def in_frame(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Places the maps of both branches, f32[2 b, h', w'], in the full frame: f32[b, h, w].

    Args:
      maps: first patches, then second ones.
      shape: (h, w) of the frame.
    """
    row, size = siamese_gap.patch_places(shape)
    first, second = np.split(_enlarged(maps, size), 2)
    frame = np.zeros((len(first), *shape), np.float32)
    rows = slice(row, row + size)
    frame[:, rows, :size] = first
    frame[:, rows, -size:] = second[:, :, ::-1]
    return frame


def _enlarged(maps: np.ndarray, size: int) -> np.ndarray:
    """Resamples maps linearly, treating pixels as areas, to [n, size, size]."""
    count = maps.shape[1]
    if count == size:
        return maps
    places = np.clip((np.arange(size) + 0.5) * (count / size) - 0.5, 0, count - 1)
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(count)), 0).astype(maps.dtype)
    return weights @ maps @ weights.T


def to_source(record: Mapping[str, Any], heat: np.ndarray) -> np.ndarray:
    """Resamples a canonical map to the pixels of the radiograph's source image.

    Args:
      record: of the `StandardRadiograph`: source_shape and canonical_to_source.
      heat: f32[h, w] in the canonical frame.

    Returns:
      f32[H, W], 0 outside the canonical frame; a left knee's is mirrored back.
    """
    to_frame = np.asarray(record["canonical_to_source"], np.float64)
    to_canonical = np.linalg.inv(to_frame)
    whole = np.zeros(tuple(record["source_shape"]), np.float32)
    # Only the frame's part is computed: films have many times its pixels.
    last = np.array(heat.shape) - 1
    corners = np.array([(i, j) for i in (-1, last[0] + 1) for j in (-1, last[1] + 1)])
    corners = corners @ to_frame[:2, :2].T + to_frame[:2, 2]
    low = np.clip(np.floor(corners.min(0)), 0, whole.shape).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 0, whole.shape).astype(int)
    part = whole[low[0] : high[0], low[1] : high[1]]
    ndimage.affine_transform(
        np.asarray(heat, np.float32),
        to_canonical[:2, :2],
        to_canonical[:2, :2] @ low + to_canonical[:2, 2],
        output=part,
        order=1,
        mode="constant",
    )
    return whole
