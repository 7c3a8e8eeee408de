"""Grad-CAM over a split: average map per grade, and whether maps depend on the weights."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from scipy import stats
from skimage.metrics import structural_similarity

from xr2mri_jax.data import passes, selection
from xr2mri_jax.models import classifiers, siamese_gap
from xr2mri_jax.models.convolution import MOMENTUM
from xr2mri_jax.models.gradcam import GradCam
from xr2mri_jax.presentation.heat_picture import scaled

# Knees kept per grade, for the pictures and the comparison under randomised weights.
EXAMPLES = 10


@dataclasses.dataclass(frozen=True, eq=False)
class GradedMaps:
    """Grad-CAM maps of a split, summarised by grade.

    Attributes:
      average: f32[levels, h, w] by grade, the mean over its knees of maps scaled to a maximum of 1.
      xray: f32[h, w] by grade, the mean radiograph.
      knees: number of knees by grade.
      lateral_share: by grade and level, the mean share of a map's sum in the lateral half; None if
        the maps of all its knees are 0 at that level.
      examples: f32[n, h, w, 1] by grade, its first radiographs.
    """

    average: dict[int, np.ndarray]
    xray: dict[int, np.ndarray]
    knees: dict[int, int]
    lateral_share: dict[int, list[float | None]]
    examples: dict[int, np.ndarray]


def average_maps(
    gradcam: GradCam,
    params: Any,
    model_state: Any,
    builder: Any,
    data: Mapping[str, Any],
    split: str,
    batch_size: int = 16,
) -> GradedMaps:
    """Averages the maps of a split's knees, in the canonical frame (right knees).

    Args:
      gradcam: the network's Grad-CAM.
      params: the network's parameters.
      model_state: its running moments.
      builder: a prepared TFDS builder, or a sequence of decoded examples.
      data: config.data, as for `classifier.evaluate`.
      split: the split to use.
      batch_size: radiographs per batch.

    Raises:
      InputError: if the split or a field is missing.
    """
    source = selection.from_config(builder, data, split, ("xray", "kl"), training=False)
    maps: dict[int, list[np.ndarray]] = {}
    xrays: dict[int, list[np.ndarray]] = {}
    shares: dict[int, list[np.ndarray]] = {}
    examples: dict[int, list[np.ndarray]] = {}
    for batch in passes.batches(source, split, ("xray",), batch_size, f"maps of {split}"):
        found = gradcam(params, model_state, batch["xray"])
        for i in np.flatnonzero(batch["example_mask"] > 0):
            grade = int(batch["kl"][i])
            levels = np.stack([scaled(level) for level in found[:, i]])
            maps.setdefault(grade, []).append(levels)
            xrays.setdefault(grade, []).append(batch["xray"][i, ..., 0])
            shares.setdefault(grade, []).append(_lateral_share(levels))
            if len(examples.setdefault(grade, [])) < EXAMPLES:
                examples[grade].append(batch["xray"][i])
    return GradedMaps(
        {grade: np.mean(found, axis=0) for grade, found in sorted(maps.items())},
        {grade: np.mean(found, axis=0) for grade, found in sorted(xrays.items())},
        {grade: len(found) for grade, found in sorted(maps.items())},
        {grade: _mean_shares(found) for grade, found in sorted(shares.items())},
        {grade: np.stack(found) for grade, found in sorted(examples.items())},
    )


def _lateral_share(levels: np.ndarray) -> np.ndarray:
    """Share of each map's sum in the left half of the frame; NaN if a map is 0 everywhere."""
    total = levels.sum(axis=(1, 2))
    left = levels[:, :, : levels.shape[2] // 2].sum(axis=(1, 2))
    return np.divide(left, total, out=np.full(len(levels), np.nan), where=total > 0)


def _mean_shares(shares: Sequence[np.ndarray]) -> list[float | None]:
    """The mean over knees by level of f64[levels]; None for a level that is NaN in all knees."""
    levels = [level[np.isfinite(level)] for level in np.stack(shares, axis=1)]
    return [float(level.mean()) if level.size else None for level in levels]


def randomised(
    network: Mapping[str, Any], params: Any, model_state: Any, xray: np.ndarray, seed: int = 0
) -> list[dict[str, Any]]:
    """Compares maps with those of a network whose weights are randomised from the top down.

    Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv 1810.03292: a map that explains
    the network must change with its weights. First the last layer is randomised, then also the last
    block, and so on to the first block. The running moments of randomised blocks are recomputed so
    that activations keep their usual scale.

    Args:
      network: the spec of Siamese-GAP.
      params: the network's parameters.
      model_state: its running moments.
      xray: f32[b, h, w, 1] in [0, 1].
      seed: seed of the random weights.

    Returns:
      One row per step, the first with unchanged weights: "randomised" (names), and for each level
      "rank_correlation" and "ssim" with the unchanged maps within the patches, averaged over knees
      and branches; None if all maps of a level are 0.
    """
    gradcam = GradCam(network)
    fresh = classifiers.make(network).init(jax.random.key(seed), xray[:1])["params"]
    unchanged = gradcam(params, model_state, xray)
    blocks = [f"block{level}" for level in gradcam.levels]
    rows = []
    for count in range(len(blocks) + 2):
        named = ["head", *reversed(blocks)][:count]
        mixed = _replaced(params, fresh, named)
        state = _moments(network, mixed, model_state, xray, named)
        found = gradcam(mixed, state, xray)
        alike = [_map_similarity(*pair) for pair in zip(unchanged, found, strict=True)]
        rows.append(
            {
                "randomised": named,
                "rank_correlation": [rank for rank, _ in alike],
                "ssim": [ssim for _, ssim in alike],
            }
        )
    return rows


def _replaced(params: Any, fresh: Any, named: Sequence[str]) -> Any:
    """The parameters, with the named parts replaced by random ones."""
    branch = {
        name: fresh["branch"][name] if name.split("_")[0] in named else values
        for name, values in params["branch"].items()
    }
    return {"branch": branch, "head": fresh["head"] if "head" in named else params["head"]}


def _moments(
    network: Mapping[str, Any], params: Any, state: Any, xray: np.ndarray, named: Sequence[str]
) -> Any:
    """The running moments, recomputed from these radiographs if a block is randomised."""
    if not any(name.startswith("block") for name in named):
        return state
    model = classifiers.make(network)
    variables = {"params": params, "batch_stats": state}
    _, changed = model.apply(variables, xray, True, mutable=["batch_stats"])
    # The layers mix in MOMENTUM of the old moments; undo this to get only the new ones.
    return jax.tree.map(
        lambda old, new: old + (new - old) / (1 - MOMENTUM), state, changed["batch_stats"]
    )


def _map_similarity(first: np.ndarray, second: np.ndarray) -> tuple[float | None, float | None]:
    """Mean Spearman rank correlation and SSIM of maps f32[b, h, w] within both patches.

    A constant first map is skipped, because its correlation is undefined.
    """
    row, size = siamese_gap.patch_places(first.shape[1:])
    ranks, ssims = [], []
    for columns in (slice(0, size), slice(-size, None)):
        for one, other in zip(first, second, strict=True):
            a, b = (scaled(m[row : row + size, columns]) for m in (one, other))
            if np.ptp(a) == 0:
                continue
            alike = np.ptp(b) and stats.spearmanr(a, b, axis=None).statistic
            ranks.append(float(alike))
            ssims.append(float(structural_similarity(a, b, data_range=1.0)))
    return (float(np.mean(ranks)), float(np.mean(ssims))) if ranks else (None, None)
