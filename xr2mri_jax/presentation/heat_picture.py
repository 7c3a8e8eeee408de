"""Heat maps drawn over radiographs."""

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
    # Imported here: grading without pictures does not need Matplotlib.
    from matplotlib import colormaps

    colour = colormaps[COLOURS](np.clip(heat, 0, 1))[..., :3]
    share = STRONGEST * np.clip(heat, 0, 1)[..., None]
    mixed = (1 - share) * np.clip(grey, 0, 1)[..., None] + share * colour
    return np.rint(255 * mixed).astype(np.uint8)


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
