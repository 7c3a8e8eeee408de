"""Losses: one value per example, masked; the training step reduces them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from xr2mri_jax.metrics import image
from xr2mri_jax.metrics.masked import checked, masked_mean


def l1(prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Mean absolute difference inside the mask.

    Args:
      prediction: [b, ...], any float dtype; computed in f32.
      target: [b, ...], the same shape.
      mask: [b, ...], the same shape, the weight of each element; None: all count alike.

    Returns:
      f32[b]; 0 for an example whose mask is empty.

    Raises:
      ValueError: if shapes differ.
    """
    prediction, target, mask = checked(prediction, target, mask)
    return masked_mean(jnp.abs(prediction - target), mask)


def mse(prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Mean squared difference inside the mask: f32[b]; arguments as for `l1`."""
    prediction, target, mask = checked(prediction, target, mask)
    return masked_mean(jnp.square(prediction - target), mask)


def gradient_difference(
    prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Mean absolute difference of finite differences, averaged over the spatial axes.

    It penalises blurred edges more than `l1`. A variant of the gradient difference loss of
    Mathieu et al. 2016 (arXiv 1511.05440, equation 6, alpha 1) that keeps the sign of the edge.

    Args:
      prediction: [b, *spatial, c]; one spatial axis or more, each of size 2 or more.
      target: the same shape.
      mask: the same shape or None; a difference counts with the product of its two ends' weights.

    Returns:
      f32[b]; 0 for an example whose mask is empty.

    Raises:
      ValueError: if shapes differ or there is no spatial axis of size 2.
    """
    prediction, target, mask = checked(prediction, target, mask)
    axes = range(1, prediction.ndim - 1)
    if not axes or min(prediction.shape[axis] for axis in axes) < 2:
        raise ValueError(
            f"prediction has shape {prediction.shape}, expected batch, spatial axes of size 2 or "
            "more, channel"
        )
    error = prediction - target
    total = jnp.zeros(prediction.shape[0], jnp.float32)
    for axis in axes:
        size = error.shape[axis]
        pair = None
        if mask is not None:
            pair = _part(mask, axis, 1, size) * _part(mask, axis, 0, size - 1)
        total += masked_mean(jnp.abs(jnp.diff(error, axis=axis)), pair)
    return total / len(axes)


def ssim_loss(prediction: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """One minus the structural similarity, in 2D for four axes and in 3D for five.

    Args:
      prediction: [b, h, w, c] or [b, d, h, w, c] in [0, 1].
      target: the same shape.
      mask: the same shape or None.

    Returns:
      f32[b] in [0, 2].

    Raises:
      ValueError: if shapes differ or there are neither four nor five axes.
    """
    prediction, target, mask = checked(prediction, target, mask)
    similarity = image.ssim3d if prediction.ndim == 5 else image.ssim2d
    return 1.0 - similarity(prediction, target, mask)


TERMS = {
    "l1": l1,
    "mse": mse,
    "gradient_difference": gradient_difference,
    "ssim": ssim_loss,
}
# The weights of `weighted` that a stage starts from.
DEFAULT_WEIGHTS = {**dict.fromkeys(TERMS, 0.0), "l1": 1.0}


def weighted(
    weights: dict[str, float],
    prediction: jax.Array,
    target: jax.Array,
    mask: jax.Array | None = None,
) -> jax.Array:
    """The sum of the terms named in `weights`, each times its weight; weight 0 costs nothing.

    Args:
      weights: from a name in `TERMS` to its weight.
      prediction: as the terms take it.
      target: the same shape.
      mask: the same shape or None.

    Returns:
      f32[b].

    Raises:
      ValueError: if shapes differ.
      KeyError: if a name is not a term.
    """
    total = jnp.zeros(jnp.shape(prediction)[0], jnp.float32)
    for name, weight in sorted(weights.items()):
        if weight:
            total += weight * TERMS[name](prediction, target, mask)
    return total


def surface_distance(
    prediction: jax.Array,
    target: jax.Array,
    limit: float,
    pairs: Sequence[tuple[int, int]] = (),
    near: float = 2.0,
) -> jax.Array:
    """Mean error of signed distances near their surfaces; each surface has the same weight.

    A voxel weighs exp(-|target| / near), so that a small or thin structure counts as much as a
    large one and voxels far from every surface hardly count. For each of the pairs, the difference,
    which is a cartilage's thickness, is compared too.

    Args:
      prediction: f32[b, k, d, h, w] in mm; clipped to the limit.
      target: the same shape, within the limit.
      limit: where distances are cut off, mm.
      pairs: (outer, inner) surfaces, indices into k.
      near: mm.

    Returns:
      f32[b] in mm.

    Raises:
      ValueError: if shapes differ.
    """
    if jnp.shape(prediction) != jnp.shape(target) or jnp.ndim(target) != 5:
        raise ValueError(f"distances {jnp.shape(prediction)} and {jnp.shape(target)}")
    error = _clipped(prediction, limit) - target
    weight = jnp.exp(-jnp.abs(target) / near) * (jnp.abs(target) < limit) + 0.01
    axes = (2, 3, 4)
    total = jnp.mean(
        jnp.sum(weight * jnp.abs(error), axis=axes) / jnp.sum(weight, axis=axes), axis=1
    )
    for outer, inner in pairs:
        gap = weight[:, outer] * jnp.abs(error[:, outer] - error[:, inner])
        own = jnp.sum(gap, axis=(1, 2, 3)) / jnp.sum(weight[:, outer], axis=(1, 2, 3))
        total = total + own / len(pairs)
    return total


def gap_distance(
    prediction: jax.Array,
    target: jax.Array,
    limit: float,
    pair: tuple[int, int],
    near: float = 4.0,
) -> jax.Array:
    """Mean error of the space between two surfaces: of the sum of their signed distances.

    Args:
      prediction: f32[b, k, d, h, w] in mm; clipped to the limit.
      target: the same shape, within the limit.
      limit: where distances are cut off, mm.
      pair: the two surfaces, indices into k.
      near: mm; a voxel weighs exp(-(sum of both distances' sizes) / near).

    Returns:
      f32[b] in mm.
    """
    one, other = pair
    error = _clipped(prediction, limit) - target
    error = error[:, one] + error[:, other]
    apart = jnp.abs(target[:, one]) + jnp.abs(target[:, other])
    weight = jnp.exp(-apart / near) * (apart < 3 * near)
    axes = (1, 2, 3)
    total = jnp.sum(weight, axis=axes)
    return jnp.sum(weight * jnp.abs(error), axis=axes) / jnp.maximum(total, 1e-6)


def _clipped(prediction: jax.Array, limit: float) -> jax.Array:
    """The prediction within +-limit; beyond it with a hundredth of the gradient.

    Values beyond the limit carry no information, except on the wrong side of it.
    """
    leak = 0.01 * (prediction - jax.lax.stop_gradient(prediction))
    return jnp.clip(prediction, -limit, limit) + leak


def _part(values: jax.Array, axis: int, start: int, stop: int) -> jax.Array:
    return jax.lax.slice_in_dim(values, start, stop, axis=axis)


def cross_entropy(
    logits: jax.Array,
    label: jax.Array,
    smoothing: float = 0.0,
    spread: np.ndarray | None = None,
) -> jax.Array:
    """Cross entropy of softmax(logits) with smoothed labels.

    Szegedy et al. 2016, arXiv 1512.00567, section 7: the target is 1 - s + s / k for the label and
    s / k for the k - 1 other classes. With `spread`, the share s follows the label's row instead.

    Args:
      logits: f32[b, k].
      label: i32[b] in 0..k-1.
      smoothing: s in [0, 1).
      spread: f32[k, k], a distribution for each label, such as `beta_labels`; None: uniform.

    Returns:
      f32[b].

    Raises:
      ValueError: if shapes do not match.
    """
    if jnp.ndim(logits) != 2 or jnp.shape(label) != jnp.shape(logits)[:1]:
        raise ValueError(f"logits {jnp.shape(logits)} for labels {jnp.shape(label)}")
    log = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))
    own = jnp.take_along_axis(log, label[:, None], axis=1)[:, 0]
    if spread is None:
        others = jnp.mean(log, axis=1)
    else:
        others = jnp.sum(jnp.asarray(spread, jnp.float32)[label] * log, axis=1)
    return -(1 - smoothing) * own - smoothing * others


# Parameters of the beta distribution of each class, by the number of ordered classes.
BETA = {
    3: ((1, 4), (4, 4), (4, 1)),
    4: ((1, 6), (6, 10), (10, 6), (6, 1)),
    5: ((1, 8), (6, 14), (12, 12), (14, 6), (8, 1)),
}


def beta_labels(classes: int) -> np.ndarray:
    """Soft labels of ordered classes: f32[k, k], a row for each label, sum 1, one maximum.

    Vargas et al. 2022, "Unimodal regularisation based on beta distribution for deep ordinal
    regression", doi 10.1016/j.patcog.2021.108310: the classes are equal parts of [0, 1], and a
    label is the probability of each part under the beta distribution of its class.

    Args:
      classes: k of 3, 4, 5.

    Raises:
      ValueError: another number.
    """
    if classes not in BETA:
        raise ValueError(f"{classes} classes, expected one of {sorted(BETA)}")
    edges = np.linspace(0, 1, classes + 1)
    rows = [np.diff(special.betainc(a, b, edges)) for a, b in BETA[classes]]
    return np.asarray(rows, np.float32)


def continuation_ratio(outputs: jax.Array) -> jax.Array:
    """Log-probabilities of k ordered classes from k - 1 binary outputs.

    CORN: Shi, Cao and Raschka 2023, arXiv 2111.08851, section 3.3. Output j is the logit of
    P(class > j | class >= j). The cross entropy of the result is their loss (equation 6) of one
    example: the binary cross entropies of the tasks 0..min(label, k - 2), summed. So these
    log-probabilities serve as logits wherever those of a softmax do.

    Args:
      outputs: f32[b, k - 1].

    Returns:
      f32[b, k], whose exponentials sum to 1.
    """
    outputs = jnp.asarray(outputs, jnp.float32)
    zero = jnp.zeros_like(outputs[:, :1])
    passed = jnp.cumsum(jax.nn.log_sigmoid(outputs), axis=1)
    stopped = jnp.concatenate([jax.nn.log_sigmoid(-outputs), zero], axis=1)
    return jnp.concatenate([zero, passed], axis=1) + stopped
