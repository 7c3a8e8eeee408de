"""Heat maps drawn over radiographs."""

import functools
from collections.abc import Sequence

import numpy as np

# Opacity of the colour at the maximum of the map.
STRONGEST = 0.6
COLOURS = "inferno"


def overlaid(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A radiograph overlaid with a map; the opacity is proportional to the map.

    Args:
      grey: f32[h, w] in [0, 1].
      heat: f32[h, w] in [0, 1].

    Returns:
      u8[h, w, 3].
    """
    # Only the rows with heat are mixed, because most rows of a film have none.
    picture = np.repeat(np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    hot = np.flatnonzero(heat.any(axis=1))
    if hot.size:
        rows = slice(hot[0], hot[-1] + 1)
        step = np.rint(255 * np.clip(heat[rows], 0, 1)).astype(np.uint8)
        added, kept = _colours()
        mixed = kept[step][..., None] * np.clip(grey[rows], 0, 1)[..., None]
        picture[rows] = np.rint(mixed + added[step]).astype(np.uint8)
    return picture


@functools.cache
def _colours() -> tuple[np.ndarray, np.ndarray]:
    """Added colour f32[256, 3] and grey factor f32[256], indexed by heat in steps of 1/255."""
    # Imported here: grading without pictures does not need Matplotlib.
    from matplotlib import colormaps

    share = STRONGEST * np.linspace(0, 1, 256)
    colour = colormaps[COLOURS](np.arange(256))[:, :3]
    added = 255 * share[:, None] * colour
    return added.astype(np.float32), (255 * (1 - share)).astype(np.float32)


def scaled(heat: np.ndarray) -> np.ndarray:
    """A map divided by its maximum: f32 in [0, 1]; a map of zeros is unchanged."""
    return heat / max(float(np.max(heat)), 1e-12)


def combined(levels: np.ndarray) -> np.ndarray:
    """The mean of the blocks' maps f32[levels, h, w], each scaled: f32[h, w] in [0, 1]."""
    return scaled(np.mean([scaled(level) for level in levels], axis=0))


def strip(panels: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures u8[h, w, 3] of equal height side by side, separated by white."""
    height = panels[0].shape[0]
    white = np.full((height, gap, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (panel, white)]
    return np.concatenate(parts[:-1], axis=1)
