"""A perfect frontal view of one bone: its outline and its thickness along the beam."""

import dataclasses

import numpy as np
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from xr2mri_jax.errors import InputError
from xr2mri_jax.tools.frontal.registration import Distances, Similarity, register

STEP_MM = 2.0
# Half the extent of the view along (h, w) and along the beam, mm. Only the inner extent of the
# reference counts: rotated bones show the ends of their maps further out.
HALF_MM, DEPTH_MM, INNER_MM = (56.0, 60.0), 64.0, (44.0, 52.0)
BAND_MM = 4.0  # pixels this near to the reference's outline represent it
LIMIT_MM = 8.0
_BETWEEN = 16  # points added to each edge of a traced outline


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One bone seen along d.

    Attributes:
      outline: signed distance in the image to the silhouette, negative inside.
      thickness: f32[h, w], mm of bone along the beam.
    """

    outline: Distances
    thickness: np.ndarray


def view(bone: Distances, turn: Similarity | None = None) -> View:
    """Projects a bone along d.

    Args:
      bone: of three axes (d, h, w).
      turn: mm of the view -> mm of the bone; None: as it lies.

    Raises:
      InputError: the bone has no outline in the view.
    """
    axes = [(np.arange(round(2 * h / STEP_MM)) + 0.5) * STEP_MM - h for h in (DEPTH_MM, *HALF_MM)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = bone.at(points if turn is None else turn(points))
    values = values.reshape([len(axis) for axis in axes])
    if turn is not None:
        values = values / np.float32(turn.scale)
    cover = np.clip(0.5 - values / STEP_MM, 0, 1)
    return View(_silhouette(values.min(axis=0)), cover.sum(axis=0) * np.float32(STEP_MM))


def _silhouette(least: np.ndarray) -> Distances:
    """Distances in the image from the zero level of the least distance along the beam."""
    lines = find_contours(least, 0.0)
    if not lines:
        raise InputError("found a bone without an outline in the frontal view, expected one")
    share = np.arange(_BETWEEN)[:, None, None] / _BETWEEN
    dense = [((1 - share) * line[:-1] + share * line[1:]).reshape(-1, 2) for line in lines]
    pixels = np.indices(least.shape).reshape(2, -1).T
    away = cKDTree(np.concatenate(dense)).query(pixels)[0].reshape(least.shape) * STEP_MM
    signed = np.where(least < 0, -away, away).astype(np.float32)
    ends = np.array(HALF_MM) - STEP_MM / 2
    return Distances(np.clip(signed, -LIMIT_MM, LIMIT_MM), STEP_MM, -ends, ends)


class Frame:
    """The frame for comparing views, after a similarity in the image to a reference's view.

    Attributes:
      pixels: f64[n, 2], (h, w) in mm.
      band: bool[n], those near the outline.
    """

    def __init__(self, reference: View) -> None:
        """The reference's outline and the pixels around it."""
        axes = [(np.arange(round(2 * h / STEP_MM)) + 0.5) * STEP_MM - h for h in INNER_MM]
        self.pixels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        values = reference.outline.at(self.pixels)
        self.band = np.abs(values) < BAND_MM
        (line,) = sorted(find_contours(reference.outline.array, 0.0), key=len)[-1:]
        points = (line - (np.array(reference.outline.array.shape) - 1) / 2) * STEP_MM
        self._points = points[(np.abs(points) < INNER_MM).all(axis=1)]

    def features(self, seen: View) -> tuple[np.ndarray, np.ndarray]:
        """Outline f32[n] at the band's pixels and thickness f32[m] at all, mm, both normalised."""
        return self.looked_at(seen, self.place(seen))

    def place(self, seen: View) -> Similarity:
        """The position of the reference's view in another view."""
        return register(seen.outline, self._points)

    def looked_at(self, seen: View, place: Similarity) -> tuple[np.ndarray, np.ndarray]:
        """`features` at a known position."""
        outline = seen.outline.at(place(self.pixels[self.band])) / place.scale
        thickness = dataclasses.replace(seen.outline, array=seen.thickness)
        return outline, thickness.at(place(self.pixels)) / place.scale
