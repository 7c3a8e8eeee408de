"""Checks whether labels, as a table interprets them, can be a knee: size, thickness and order."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from xr2mri_jax.geometry import Volume
from xr2mri_jax.phantom.tissues import CODES, TISSUES

# Possible ranges of half the largest thickness in mm, and of the volume in cm3, by part. 18 maps in
# the field of the Osteoarthritis Initiative have: femur 125 to 267 cm3 and 17 to 24 mm, tibia 89 to
# 176 cm3 and 18 to 24 mm, patella 12 to 32 cm3 and 8 to 13 mm, cartilage up to 20 cm3 and 3.4 mm,
# menisci up to 2.4 cm3 and 3.3 mm. The limits allow for other fields, children and coarse grids.
_BONE = ((7.0, 60.0), (8.0, 900.0))
_CARTILAGE = ((0.0, 6.0), (0.0, 60.0))
_MENISCUS = ((0.0, 9.0), (0.0, 25.0))
LIMITS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "femur": _BONE,
    "tibia": _BONE,
    "patella": ((3.0, 20.0), (1.0, 70.0)),
    "fibula": ((0.0, 18.0), (0.0, 150.0)),
    "femoral_cartilage": _CARTILAGE,
    "medial_tibial_cartilage": _CARTILAGE,
    "lateral_tibial_cartilage": _CARTILAGE,
    "patellar_cartilage": _CARTILAGE,
    "medial_meniscus": _MENISCUS,
    "lateral_meniscus": _MENISCUS,
}
_ON = {
    "femoral_cartilage": "femur",
    "medial_tibial_cartilage": "tibia",
    "lateral_tibial_cartilage": "tibia",
    "patellar_cartilage": "patella",
}
_BONES = ("femur", "tibia", "patella")
_NEAR_MM = 6.0  # median distance of a cartilage from its bone
_APART_MM = 8.0
_STEP_MM = 1.2
_FEWEST = 30  # least number of voxels of a checked part
# Least share of the bone in a lesion's surroundings; in 33 real lesions it is 0.89 to 1.
_WITHIN = 0.5


def objection(labels: Volume) -> str:
    """The reason why the labels cannot be a knee, a clause; "" if there is none.

    Args:
      labels: u8, codes of `tissues.TISSUES`.
    """
    steps = [max(1, int(_STEP_MM / size)) for size in labels.spacing]
    array = labels.array[:: steps[0], :: steps[1], :: steps[2]]
    sizes = np.multiply(labels.spacing, steps)
    places = _places(labels, array, steps)
    for bone in ("femur", "tibia"):
        if len(places.get(bone, ())) < _FEWEST:
            return f"there is no {bone}"
    middle = {name: points.mean(axis=0) for name, points in places.items()}
    return _order(middle) or _sizes(array, sizes, places) or _neighbours(array, sizes, places)


def stray_code(labels: Volume, table: Mapping[int, str]) -> str:
    """A clause that names a code which cannot belong to its bone; "" if there is none.

    Args:
      labels: the map's own codes.
      table: tissue by code. Several codes of one bone are the bone and its lesions, which lie in
        it; menisci or a fibula with these codes do not lie in the bone.
    """
    counts = np.bincount(labels.array.ravel())
    codes = [
        int(code) for code in np.flatnonzero(counts) if code and table.get(int(code)) in _BONES
    ]
    main = {table[code]: code for code in sorted(codes, key=lambda code: counts[code])}
    for code in codes:
        bone = main[table[code]]
        if code == bone or counts[code] < _FEWEST:
            continue
        (box,) = ndimage.find_objects((labels.array == code).astype(np.uint8))
        part = labels.array[_widened(box, np.ones(3, int))]
        around = ndimage.binary_dilation(part == code) & (part != code)
        if (part[around] == bone).mean() < _WITHIN:
            return f"the label {code} would be {table[code]}, but does not lie in the label {bone}"
    return ""


def _places(labels: Volume, array: np.ndarray, steps: list[int]) -> dict[str, np.ndarray]:
    """RAS mm f64[n, 3] of every tissue's subsampled voxels."""
    names = {tissue.code: name for name, tissue in TISSUES.items()}
    index = np.argwhere(array > 0)
    codes = array[tuple(index.T)]
    world = labels.world(index * steps)
    return {names[int(code)]: world[codes == code] for code in np.unique(codes)}


def _order(middle: dict[str, np.ndarray]) -> str:
    femur, tibia = middle["femur"], middle["tibia"]
    if femur[2] < tibia[2] + _APART_MM:
        return "the femur does not lie above the tibia"
    for name in ("medial_tibial_cartilage", "lateral_tibial_cartilage"):
        if name in middle and not tibia[2] - _APART_MM < middle[name][2] < femur[2]:
            return f"the {name} does not lie between tibia and femur"
    if "patella" in middle:
        if middle["patella"][1] < femur[1]:
            return "the patella lies behind the femur"
        if middle["patella"][2] < tibia[2]:
            return "the patella lies below the tibia's middle"
    if "fibula" in middle and middle["fibula"][2] > femur[2] - _APART_MM:
        return "the fibula lies as high as the femur"
    return ""


def _sizes(array: np.ndarray, sizes: np.ndarray, places: dict[str, np.ndarray]) -> str:
    voxel = float(np.prod(sizes)) / 1000
    half = {}
    for name, (thick, volume) in LIMITS.items():
        count = len(places.get(name, ()))
        if count < _FEWEST:
            continue
        if not volume[0] <= count * voxel <= volume[1]:
            return (
                f"the {name} would have {count * voxel:.3g} cm3, expected {volume[0]:g} to "
                f"{volume[1]:g}"
            )
        half[name] = _half_thickness(array == CODES[name], sizes)
        # The distance to the next voxel outside is too long by at most a voxel.
        if not thick[0] <= half[name] <= thick[1] + sizes.max():
            return (
                f"the {name} would be {2 * half[name]:.0f} mm thick, expected {2 * thick[0]:g} to "
                f"{2 * thick[1]:g}"
            )
    for cartilage, bone in _ON.items():
        if cartilage in half and bone in half and half[cartilage] > 0.6 * half[bone] + sizes.max():
            return f"the {cartilage} would be as thick as the {bone}"
    return ""


def _half_thickness(mask: np.ndarray, sizes: np.ndarray) -> float:
    """Radius in mm of the largest ball within a mask, which is continued beyond the field."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    part = np.pad(mask[box], 1, mode="edge")
    for axis in range(3):  # only the part's own edge, not the field's, is outside
        for end, at in ((0, box[axis].start > 0), (-1, box[axis].stop < mask.shape[axis])):
            if at:
                np.moveaxis(part, axis, 0)[end] = False
    if part.all():
        return float("inf")
    return float(ndimage.distance_transform_edt(part, sampling=sizes).max())


def _widened(box: tuple[slice, ...], by: np.ndarray) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, one.start - more), one.stop + more) for one, more in zip(box, by, strict=True)
    )


def _neighbours(array: np.ndarray, sizes: np.ndarray, places: dict[str, np.ndarray]) -> str:
    for cartilage, bone in _ON.items():
        if len(places.get(cartilage, ())) < _FEWEST or len(places.get(bone, ())) < _FEWEST:
            continue
        (box,) = ndimage.find_objects((array == CODES[cartilage]).astype(np.uint8))
        part = array[_widened(box, np.ceil(2 * _NEAR_MM / sizes).astype(int))]
        if not (part == CODES[bone]).any():
            return f"the {cartilage} would lie away from the {bone}"
        away = ndimage.distance_transform_edt(part != CODES[bone], sampling=sizes)
        distance = float(np.median(away[part == CODES[cartilage]]))
        if distance > _NEAR_MM + sizes.max():
            return f"the {cartilage} would lie {distance:.0f} mm away from the {bone}"
    return ""
