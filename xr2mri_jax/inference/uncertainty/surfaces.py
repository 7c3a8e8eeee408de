"""Uncertainty of predicted surfaces, and the probability that a predicted label is right."""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.metrics.intervals import LEVEL
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import CARTILAGES, NAMES
from xr2mri_jax.phantom.tissues import CODES

# Blocks of the box along (d, h, w).
BLOCKS = (8, 16, 16)
# A logistic distribution has LEVEL of its mass within this many scales: ln((1 + p) / (1 - p)).
_SCALES = np.float32(np.log((1 + LEVEL) / (1 - LEVEL)))
_NAMED = {
    "femoral_cartilage": ("femoral_outer", "femur"),
    "patellar_cartilage": ("patellar_outer", "patella"),
}
# Surfaces that are neither a cartilage's nor enclosed by one.
_ALONE = ("fibula", "medial_meniscus", "lateral_meniscus")
BACKGROUND = 0  # the label without a structure


@dataclasses.dataclass(frozen=True, eq=False)
class SurfaceSpread:
    """Half-widths of the intervals of signed distances.

    Attributes:
      half_width: f32[k, *BLOCKS] in mm of the box, as `phantom.surfaces.NAMES`.
    """

    half_width: np.ndarray

    def on(self, shape: tuple[int, ...]) -> np.ndarray:
        """The half-widths on a grid over the box, interpolated linearly: f32[k, *shape]."""
        return surfaces.resized(self.half_width, shape)

    def confidence(self, distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Probability that the predicted label of every voxel is right.

        Surface errors are modelled as logistic and constant along a normal, and as independent
        except between a bone and the outer surface of its cartilage, which encloses the bone.

        Args:
          distances: f32[k, d, h, w] in mm, as `phantom.surfaces.NAMES`.
          labels: u8[d, h, w], the result of `surfaces.labels` for them.

        Returns:
          f32[d, h, w] in [0, 1]; for the background, the probability that no structure is there.

        Raises:
          InputError: another number of surfaces or another grid.
        """
        if len(distances) != len(NAMES) or distances.shape[1:] != labels.shape:
            raise InputError(f"found distances {distances.shape} for labels {labels.shape}")
        share = self._shares(distances)
        found = np.zeros(labels.shape, np.float32)
        for code, inside in _probabilities(distances, share).items():
            np.copyto(found, inside, where=labels == code)
        return found

    def probabilities(self, distances: np.ndarray) -> dict[int, np.ndarray]:
        """Probability of each label by its code, f32[d, h, w] each; 0 is the background."""
        return _probabilities(distances, self._shares(distances))

    def _shares(self, distances: np.ndarray) -> dict[str, np.ndarray]:
        """Probability that each voxel is inside a surface, by its name: f32[d, h, w]."""
        widths = surfaces.resized(self.half_width, distances.shape[1:])
        found = {}
        for name, distance, width in zip(NAMES, distances, widths, strict=True):
            scaled = np.clip(_SCALES * distance / width, -30, 30)
            np.exp(scaled, out=scaled)
            scaled += 1
            found[name] = np.reciprocal(scaled, out=scaled)
        return found


def _probabilities(distances: np.ndarray, share: dict[str, np.ndarray]) -> dict[int, np.ndarray]:
    found = {CODES[name]: share[name] for name in ("femur", "tibia", "patella", "fibula")}
    for name, (outer, bone) in _NAMED.items():
        found[CODES[name]] = np.maximum(share[outer] - share[bone], 0)
    tibial = np.maximum(share["tibial_outer"] - share["tibia"], 0)
    middle = surfaces.tibial_middle(distances[NAMES.index("tibia")])
    for name, lateral in (
        ("medial_tibial_cartilage", False),
        ("lateral_tibial_cartilage", True),
    ):
        own = tibial.copy()
        own[..., slice(middle, None) if lateral else slice(0, middle)] = 0
        found[CODES[name]] = own
    covered = np.maximum.reduce(
        [share[name] for name in ("femoral_outer", "tibial_outer", "patellar_outer")]
    )
    for name in ("medial_meniscus", "lateral_meniscus"):
        found[CODES[name]] = share[name] * (1 - covered)
    found[BACKGROUND] = np.ones_like(covered)
    for name in _ALONE:
        found[BACKGROUND] *= 1 - share[name]
    for pair in CARTILAGES:
        outer_share, bone_share = (share[NAMES[i]] for i in pair)
        found[BACKGROUND] *= 1 - np.maximum(outer_share, bone_share)
    return found
