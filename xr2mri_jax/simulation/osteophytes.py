"""Adds osteophytes to the corners of a projected joint, and sharpens the tibial spines.

A corner is found in the bone's silhouette, where its side meets its joint surface, because readers
of radiographs look for osteophytes there.
"""

import numpy as np

# Maximum distance from the joint surface at which the side of a bone is searched, mm.
_SIDE_MM = 14.0
# A corner (medial, lateral) is where the silhouette first reaches this share of its half width.
_CORNER = {"tibia": (0.99, 0.93), "femur": (0.93, 0.93)}
# Height (mm) over which a lip thins, its depth along the beam, and the deviation of its middle.
_THIN_MM, _DEEP_MM, _ASIDE_MM = (1.0, 2.2), (7.0, 16.0), 6.0
# The tubercles of the spines: distance from the tibia's middle, deviation across the leg, share of
# the height; where their tip is searched, and where the gain is greatest: below it, with its
# deviation along the leg. Mm.
_TUBERCLE_MM, _WIDE_MM, _TUBERCLE_SHARE = (3.5, 6.5), (1.5, 2.5), (0.5, 1.2)
_NEAR_TIP_MM, _BELOW_TIP_MM, _TALL_MM = 3.0, 2.0, 3.0


def grow(
    distance: np.ndarray,
    bone: str,
    lengths: np.ndarray,
    size_mm: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Grows a lip of bone at the medial and at the lateral margin, in place.

    Args:
      distance: f32[d, h, w] in mm, negative inside, in the beam's direction along d.
      bone: "femur" or "tibia".
      lengths: f64[2], of the medial and the lateral lip, mm; a lip of 0 changes nothing.
      size_mm: of a voxel along d, and along h and w.
      rng: of the lips' shapes.
    """
    slab, pixel = size_mm
    outline = distance.min(axis=0) < 0
    depth = (np.arange(distance.shape[0]) - (distance.shape[0] - 1) / 2) * slab
    for side, length in zip((1, -1), lengths, strict=True):
        thin, deep = rng.uniform(*_THIN_MM), rng.uniform(*_DEEP_MM)
        rise, down = rng.normal(0.25, 0.25), rng.normal(0.8, 0.8)
        envelope = np.exp(-0.5 * ((depth - rng.normal(0, _ASIDE_MM)) / deep) ** 2)
        place = corner(outline, bone, side, pixel)
        if place is None or length <= 0:
            continue
        away = 1.0 if bone == "tibia" else -1.0  # from the joint surface into the bone
        rows, columns = (np.arange(n) for n in outline.shape)
        height = away * (rows[:, None] - place[0]) * pixel - down
        beyond = side * (columns[None, :] - place[1]) * pixel
        rim = 1 / (1 + np.exp(-np.clip((beyond + 3.5) / 1.0, -30, 30)))
        lip = length * rim * np.exp(-0.5 * ((height + rise * beyond) / thin) ** 2)
        near = np.flatnonzero((lip > 0.02).any(axis=1)), np.flatnonzero((lip > 0.02).any(axis=0))
        if not len(near[0]):
            continue
        box = tuple(slice(n[0], n[-1] + 1) for n in near)
        distance[:, *box] -= (envelope[:, None, None] * lip[box]).astype(np.float32)


def raise_spines(distance: np.ndarray, gain: float, pixel: float, rng: np.random.Generator) -> None:
    """Sharpens the two tubercles of the tibial spines, in place.

    Args:
      distance: f32[d, h, w] in mm, negative inside.
      gain: height, mm; 0 changes nothing.
      pixel: size of a voxel along h and w, mm.
      rng: of the tubercles' places, widths and shares of the height.
    """
    outline = distance.min(axis=0) < 0
    columns = np.flatnonzero(outline.any(axis=0))
    places = rng.uniform(*_TUBERCLE_MM, 2) * (1, -1)
    widths, shares = rng.uniform(*_WIDE_MM, 2), rng.uniform(*_TUBERCLE_SHARE, 2)
    if gain <= 0 or not len(columns):
        return
    reach = max(round(_NEAR_TIP_MM / pixel), 1)
    for place, wide, share in zip(places, widths, shares, strict=True):
        middle = round(float(columns.mean()) + place / pixel)
        rows = np.flatnonzero(outline[:, max(middle - reach, 0) : middle + reach].any(axis=1))
        if not len(rows):
            continue
        below = (np.arange(outline.shape[0])[:, None] - rows[0]) * pixel - _BELOW_TIP_MM
        aside = (np.arange(outline.shape[1])[None, :] - middle) * pixel
        shape = np.exp(-0.5 * (np.square(below / _TALL_MM) + np.square(aside / wide)))
        distance -= (share * gain * shape).astype(np.float32)


def corner(outline: np.ndarray, bone: str, side: int, pixel: float) -> tuple[int, int] | None:
    """(row, column) where the joint surface meets the bone's side; None if it is not in the frame.

    Args:
      outline: bool[h, w], the bone's silhouette.
      bone: "femur" or "tibia".
      side: 1 for the medial (large w), -1 for the lateral one.
      pixel: size of a pixel, mm.
    """
    rows = np.flatnonzero(outline.any(axis=1))
    if not len(rows):
        return None
    upwards = bone == "femur"
    ordered = outline[::-1] if upwards else outline
    ordered = ordered if side > 0 else ordered[:, ::-1]
    middle = outline.shape[1] // 2
    start = int(np.argmax(ordered[:, middle + round(15 / pixel) :].any(axis=1)))
    part = ordered[start : start + round(_SIDE_MM / pixel)]
    if not part.any():
        return None
    last = np.where(part.any(axis=1), part.shape[1] - 1 - np.argmax(part[:, ::-1], axis=1), 0)
    reach = middle + _CORNER[bone][int(side < 0)] * (last.max() - middle)
    row = int(np.argmax(last >= reach))
    column = int(last[row])
    return (
        len(outline) - 1 - (start + row) if upwards else start + row,
        column if side > 0 else outline.shape[1] - 1 - column,
    )
