"""Smooth deformations of the reference: views of shapes beyond the measured ones.

A scalar field moves the surface along its normals. Everything is linear: the outline moves like the
surface at the points where the beam is tangent, and the thickness changes where the beam enters and
leaves.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from xr2mri_jax.simulation.mean_knee import MeanGenerator
from xr2mri_jax.tools.frontal.registration import Distances, Similarity
from xr2mri_jax.tools.frontal.samples import FILM, VIEWS, Reference, Sample, film_pose, millimetres
from xr2mri_jax.tools.frontal.views import DEPTH_MM, STEP_MM, view

DEVIATION_MM = 0.7
WIDTHS_MM = (7.0, 14.0)  # of the kernel, in alternation
SEED = 11
_SIZE = 64
_FINE_MM = 0.5  # spacing of points along a beam
# Steps of the derivatives for shifts in mm, a rotation in radians and the logarithm of size.
_STEPS = np.diag([0.02, 1.0, 1.0, 0.02])


class _Sensitivity:
    """Linear changes of one bone's features in one view with its surface."""

    def __init__(self, reference: Reference, bone: str, which: str) -> None:
        frame = reference.frames[bone]
        turn = film_pose(bone, MeanGenerator()) if which == FILM else None
        knee, seen = reference.knee[bone], view(reference.knee[bone], turn)
        place = frame.place(seen)
        image = place(frame.pixels)
        edge = _on_outline(seen.outline, image[frame.band])
        touching, depths = _along(knee, turn, edge)
        self._touched = touching[np.argmin(depths, axis=0), np.arange(len(edge))]
        beam, values = _along(knee, turn, image)
        crossed = np.abs(values) < STEP_MM / 2
        self._crossed, self._pixel = beam[crossed], np.nonzero(crossed)[1]
        self._pixels = len(image)
        changes = [
            [np.concatenate(frame.looked_at(seen, _moved(place, sign * step))) for sign in (1, -1)]
            for step in _STEPS
        ]
        slopes = np.stack([one - other for one, other in changes], axis=1)
        self._outline, self._thickness = slopes[: len(edge)], slopes[len(edge) :]
        self._back = np.linalg.pinv(self._outline)

    def features(self, field: Distances) -> tuple[np.ndarray, np.ndarray]:
        """Changes of outline and thickness, with the view registered to the reference's again."""
        outline = -field.at(self._touched)
        counted = np.bincount(self._pixel, field.at(self._crossed), self._pixels)
        thickness = counted * (_FINE_MM / STEP_MM)
        moved = self._back @ outline
        return outline - self._outline @ moved, thickness - self._thickness @ moved


def _on_outline(outline: Distances, pixels: np.ndarray) -> np.ndarray:
    """The nearest points of an outline, f64[n, 2] mm."""
    steps = STEP_MM / 2 * np.eye(2)
    slope = np.stack([outline.at(pixels + e) - outline.at(pixels - e) for e in steps], axis=1)
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
    return pixels - outline.at(pixels)[:, None] * slope


def _along(
    knee: Distances, turn: Similarity | None, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points f64[depth, n, 3] in mm of the bone along the beams of pixels, and distances there."""
    depth = (np.arange(round(2 * DEPTH_MM / _FINE_MM)) + 0.5) * _FINE_MM - DEPTH_MM
    beam = np.empty((len(depth), len(pixels), 3))
    beam[..., 0], beam[..., 1:] = depth[:, None], pixels
    beam = beam if turn is None else turn(beam.reshape(-1, 3)).reshape(beam.shape)
    return beam, knee.at(beam.reshape(-1, 3)).reshape(beam.shape[:2])


def _moved(place: Similarity, step: np.ndarray) -> Similarity:
    """`place` after a small similarity of the pixels."""
    small = Similarity.of(step, 2)
    return Similarity(
        place.turn @ small.turn,
        place.scale * place.turn @ small.shift + place.shift,
        place.scale * small.scale,
    )


def deformed_samples(
    reference: Reference, count: int, views: Sequence[str] = VIEWS, seed: int = SEED
) -> list[Sample]:
    """Deformed knees; the features are changes, the size is the reference's."""
    sensitive = {
        (bone, which): _Sensitivity(reference, bone, which)
        for bone in reference.knee
        for which in views
    }
    found = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        shapes, outlines, thicknesses = {}, {}, {}
        fields = {bone: _field(rng, WIDTHS_MM[number % len(WIDTHS_MM)]) for bone in reference.knee}
        for bone, field in fields.items():
            near = reference.near[bone]
            usual = reference.knee[bone].array[near]
            moved = usual - field.at(millimetres(np.argwhere(near)))
            shapes[bone] = moved.astype(np.float16)
        for which in views:
            pairs = [sensitive[bone, which].features(field) for bone, field in fields.items()]
            outlines[which], thicknesses[which] = (
                np.concatenate(part) for part in zip(*pairs, strict=True)
            )
        found.append(Sample(shapes, outlines, thicknesses, 0.0))
    return found


def _field(rng: np.random.Generator, width_mm: float) -> Distances:
    """A random scalar field in mm with a Gaussian kernel of that width."""
    noise = rng.standard_normal((_SIZE,) * 3).astype(np.float32)
    smooth = ndimage.gaussian_filter(
        noise, width_mm / np.sqrt(2) / STEP_MM, mode="wrap", truncate=3
    )
    end = np.full(3, (_SIZE - 1) * STEP_MM / 2)
    return Distances(smooth * np.float32(DEVIATION_MM / smooth.std()), STEP_MM, -end, end)
