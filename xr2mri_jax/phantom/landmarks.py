"""Finds the joint in a label map, and checks the map against side and orientation."""

import dataclasses

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.phantom.tissues import CODES, TISSUES

# The joint's middle lies half the cartilages' thickness below the femur's lowest point.
_HALF_SPACE_MM = 2.0
# The plateau is widest this far below the tip of the spines.
_PLATEAU_MM = (9.0, 20.0)
PLATEAU_WIDTH_MM = 74.0  # of the phantom of size 1
_SIZES = (0.6, 1.5)
_APART_MM = 8.0
_STEP_MM = 1.5  # landmarks are searched on voxels about this far apart
_FEWEST = 200  # voxels at that distance
# Share of a knee's width left out beside the middle when its halves are compared.
_MIDDLE = 0.12
_CONDYLES_MM = 45.0  # height of the condyles above the femur's lowest point
# Standard deviations of four differences over 33 segmented knees, mm.
_DISTAL_MM, _DEPTH_MM, _FRONT_MM, _ASIDE_MM = 1.5, 2.5, 2.9, 6.0
# Their sum in these units is 3.8 to 8.7 in these knees, and above -1.3 if they are turned by 10
# degrees about any axis.
_SURE = 2.0
_LATERAL_MEDIAL = (
    ("lateral_meniscus", "medial_meniscus"),
    ("lateral_tibial_cartilage", "medial_tibial_cartilage"),
    ("fibula", "tibia"),
)


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """The joint of one knee.

    Attributes:
      centre: f64[3], RAS mm, the middle of the tibiofemoral joint.
      size: relative to the phantom's mean knee, from the width of the tibial plateau.
      present: names of the tissues in the map.
    """

    centre: np.ndarray
    size: float
    present: tuple[str, ...]


def find_landmarks(labels: Volume, side: str) -> Landmarks:
    """Finds the joint and checks that the map looks like a knee of that side.

    Args:
      labels: codes of `tissues.TISSUES`.
      side: "left" or "right".

    Raises:
      InputError: no femur or no tibia, the femur not above the tibia, the patella behind it, or
        lateral parts at the medial side: the header or the side is wrong.
    """
    places = _places(labels)
    for bone in ("femur", "tibia"):
        if len(places.get(bone, ())) < _FEWEST:
            count = len(places.get(bone, ()))
            found = f"only {count} voxels of {bone}" if count else f"no {bone}"
            raise InputError(
                f"found {found} (labels: {', '.join(sorted(places)) or 'none'}), expected femur "
                "and tibia"
            )
    _check_directions({name: points.mean(axis=0) for name, points in places.items()}, side)
    femur, tibia = places["femur"], places["tibia"]
    top = np.percentile(tibia[:, 2], 99.9)
    below = top - tibia[:, 2]
    plateau = tibia[(below > _PLATEAU_MM[0]) & (below < _PLATEAU_MM[1])]
    if not len(plateau):
        raise InputError("the tibia's label is thinner than 9 mm, expected its upper end")
    low, high = np.percentile(plateau[:, :2], (1, 99), axis=0)
    centre = np.array([*(low + high) / 2, np.percentile(femur[:, 2], 0.2) - _HALF_SPACE_MM])
    size = float(np.clip((high[0] - low[0]) / PLATEAU_WIDTH_MM, *_SIZES))
    present = tuple(name for name in CODES if name in places)
    return Landmarks(centre, size, present)


def find_side(labels: Volume) -> str | None:
    """The side derived from the lateral labels; None if it cannot be determined.

    Args:
      labels: codes of `tissues.TISSUES`.
    """
    middle = {name: points.mean(axis=0) for name, points in _places(labels).items()}
    for lateral, medial in _LATERAL_MEDIAL:
        if lateral in middle and medial in middle:
            distance = float(middle[lateral][0] - middle[medial][0])
            if abs(distance) > _APART_MM:
                return "right" if distance > 0 else "left"
    return None


def side_of_shapes(labels: Volume) -> str | None:
    """The side that the shapes of the bones suggest; None if it is uncertain.

    The medial condyle of the femur reaches further down, the medial plateau is deeper from front to
    back, the lateral condyle reaches further to the front, and the patella lies laterally. The sum
    of the four differences is right for all of 33 segmented knees.

    Args:
      labels: codes of `tissues.TISSUES`; needs femur, tibia and patella.
    """
    places = _places(labels)
    bones = [places.get(bone, np.empty((0, 3))) for bone in ("femur", "tibia", "patella")]
    if min(map(len, bones)) < _FEWEST:
        return None
    femur, tibia, patella = bones
    below = np.percentile(tibia[:, 2], 99.9) - tibia[:, 2]
    plateau = tibia[(below > _PLATEAU_MM[0]) & (below < _PLATEAU_MM[1])]
    condyles = femur[femur[:, 2] - np.percentile(femur[:, 2], 0.2) < _CONDYLES_MM]
    if not len(plateau):
        return None
    low, high = np.percentile(plateau[:, 0], (1, 99))
    width, middle = high - low, (low + high) / 2
    right, left = (  # halves at the patient's right and left
        [bone[sign * (bone[:, 0] - middle) > _MIDDLE * width] for bone in (plateau, condyles)]
        for sign in (1, -1)
    )
    if min(map(len, (*right, *left))) < _FEWEST:
        return None

    def differs(half: int, axis: int, share: float) -> float:
        ends = [np.percentile(part[half][:, axis], share) for part in (right, left)]
        return float(ends[0] - ends[1])

    aside = patella[:, 0].mean() - np.percentile(condyles[:, 0], (1, 99)).mean()
    towards_right = (
        differs(1, 2, 0.5) / _DISTAL_MM
        + (differs(0, 1, 2) - differs(0, 1, 98)) / _DEPTH_MM
        + differs(1, 1, 99.5) / _FRONT_MM
        + aside / _ASIDE_MM
    ) * (PLATEAU_WIDTH_MM / width)
    if abs(towards_right) < _SURE:
        return None
    return "right" if towards_right > 0 else "left"


def _places(labels: Volume) -> dict[str, np.ndarray]:
    """RAS mm f64[n, 3] of every tissue's voxels, subsampled."""
    steps = [max(1, int(_STEP_MM / size)) for size in labels.spacing]
    part = labels.array[:: steps[0], :: steps[1], :: steps[2]]
    names = {tissue.code: name for name, tissue in TISSUES.items()}
    found = np.argwhere(part > 0)
    codes = part[tuple(found.T)]
    world = labels.world(found * steps)
    return {names[int(code)]: world[codes == code] for code in np.unique(codes)}


def _check_directions(middle: dict[str, np.ndarray], side: str) -> None:
    """Raises InputError if the middles of the parts contradict the header or the side."""
    if middle["femur"][2] < middle["tibia"][2] + _APART_MM:
        raise InputError(
            "the femur's label does not lie above the tibia's, expected a header that states where "
            "the head is, or another table of labels"
        )
    if "patella" in middle and middle["patella"][1] < middle["femur"][1]:
        raise InputError("the patella's label lies behind the femur's, expected it in front")
    outwards = 1.0 if side == "right" else -1.0
    for lateral, medial in _LATERAL_MEDIAL:
        if lateral in middle and medial in middle:
            distance = outwards * (middle[lateral][0] - middle[medial][0])
            if distance < -_APART_MM:
                raise InputError(
                    f"the label {lateral} lies medially of {medial} in a {side} knee, expected "
                    "the other side, header or table"
                )
