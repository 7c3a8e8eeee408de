"""View, body part, side, orientation and spacing of a radiograph from its DICOM header."""

import dataclasses
import re
from collections.abc import Iterable

import numpy as np
import pydicom

from xr2mri_jax.errors import InputError
from xr2mri_jax.io import formats
from xr2mri_jax.io.dicom_tags import get, named, shown, term, unneeded_numbers

# ViewPosition: the terms of PS3.3 C.8.7.1.1.2 and C.8.11.5, and others in use.
FRONTAL = ("AP", "PA", "FRONTAL", "AP/PA", "PA/AP", "ROSENBERG", "TUNNEL", "NOTCH")
NOT_FRONTAL = {
    *("LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "LAT", "LATERAL"),
    *("OBL", "OBLIQUE", "AXIAL", "SKYLINE", "SUNRISE", "MERCHANT", "TANGENTIAL", "ML", "LM"),
    *("MLO", "CC", "XTL", "DECUB", "LLAT", "RLAT", "HORIZONTAL", "MEDIOLATERAL", "LATEROMEDIAL"),
}
# BodyPartExamined: PS3.16 table L-1, shortened; the terms possible for a knee radiograph are apart.
_KNEE = re.compile(r".*KNEE.*|.*LEG.*|.*EXTREMIT.*|.*EXTREM.*|.*LOWER ?LIMB.*|PATELLA|JOINT")
_OTHER_PARTS = {
    *("ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CERVIX", "CHEST"),
    *("CHESTABDOMEN", "CLAVICLE", "COCCYX", "CSPINE", "ELBOW", "FEMUR", "FINGER", "FOOT"),
    *("FOREARM", "HAND", "HEAD", "HEADNECK", "HEART", "HIP", "HUMERUS", "JAW", "LSPINE", "LUNG"),
    *("MANDIBLE", "MAXILLA", "NECK", "ORBIT", "PELVIS", "RADIUS", "RIB", "SACRUM", "SCAPULA"),
    *("SHOULDER", "SINUS", "SKULL", "SPINE", "SSPINE", "STERNUM", "THIGH", "THORAX", "THUMB"),
    *("TIBIA", "FIBULA", "TIBIAFIBULA", "TLSPINE", "TOE", "TSPINE", "ULNA", "WHOLEBODY", "WRIST"),
}
_SIDES = {"L": "left", "R": "right", "LEFT": "left", "RIGHT": "right"}
_NO_SIDE = ("B", "U", "BOTH", "BILATERAL", "UNPAIRED")
# Words of a description that name a side.
_SIDE_WORDS = {**_SIDES, "LT": "left", "RT": "right"}
_OPPOSITE = dict(zip("LRAPHF", "RLPAFH", strict=True))
# Plausible range of SID over SOD.
MAGNIFICATION = (1.0, 2.5)
_OF_FILM = "NominalScannedPixelSpacing"
# Two spacings are equal if their ratio is at least this: files round them.
_ROUNDED = 0.98


@dataclasses.dataclass(frozen=True)
class Turn:
    """The turn that brings an image into the orientation in which radiographs are displayed.

    Attributes:
      transpose: whether to swap rows and columns first.
      flip_rows, flip_columns: whether to reverse them after that.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def __call__(self, array: np.ndarray) -> np.ndarray:
        array = array.T if self.transpose else array
        array = array[::-1] if self.flip_rows else array
        return np.ascontiguousarray(array[:, ::-1] if self.flip_columns else array)

    def spacing(self, spacing: tuple[float, float] | None) -> tuple[float, float] | None:
        """(row_mm, column_mm) after the turn."""
        return spacing[::-1] if self.transpose and spacing is not None else spacing


def turn(dataset: pydicom.Dataset, doubts: list[str]) -> Turn:
    r"""The turn that PatientOrientation (PS3.3 C.7.6.1.1.1) requires.

    Its first value is the direction of the rows, from the image's left to its right, the second
    that of the columns, downwards. A frontal radiograph is displayed as L\F: the patient's right at
    the image's left, the head at the top. A lateral view is only set upright.

    Args:
      doubts: gets a clause if the tag is broken or describes another view.
    """
    value = get(dataset, "PatientOrientation")
    if value is None:
        return Turn()
    words = [value] if isinstance(value, str) else list(value)
    letters = [str(word).strip().upper() for word in words]
    tag = named("PatientOrientation")
    legal = len(letters) == 2 and all(re.fullmatch(r"[LRAPHF]{1,3}", text) for text in letters)
    if not legal or letters[0][0] in (letters[1][0], _OPPOSITE[letters[1][0]]):
        if any(letters):
            doubts.append(rf"{tag} is not a pair of directions, expected such as L\F: ignored")
        return Turn()
    rows, columns = letters[0][0], letters[1][0]
    transpose = rows in "HF"
    across, down = (columns, rows) if transpose else (rows, columns)
    if down not in "HF" or across in "AP":
        doubts.append(rf"{tag} is {letters[0]}\{letters[1]}, expected a frontal view such as L\F")
    if down not in "HF":
        return Turn()
    return Turn(transpose, down == "H", across == "R")


def check_view(dataset: pydicom.Dataset, doubts: list[str]) -> None:
    """Adds to `doubts` what in the header contradicts a frontal radiograph of a knee."""
    _check_position(dataset, doubts)
    _check_part(dataset, doubts)
    for keyword, wanted, expected in (
        ("ViewCodeSequence", ("antero", "postero", "frontal", "ap", "pa"), "a frontal view"),
        ("AnatomicRegionSequence", ("knee", "leg", "extremity", "limb"), "the knee"),
    ):
        meaning = _code_meaning(dataset, keyword)
        if meaning and not any(re.search(rf"\b{word}", meaning) for word in wanted):
            doubts.append(f"{named(keyword)} describes something else, expected {expected}")


def _check_position(dataset: pydicom.Dataset, doubts: list[str]) -> None:
    value = get(dataset, "ViewPosition")
    if value is None:
        return
    words = set(re.split(r"[\s_\-.,]+", str(value).strip().upper()))
    tag, other = named("ViewPosition"), sorted(words & NOT_FRONTAL)
    if other:
        doubts.append(f"{tag} is {other[0]}, expected AP or PA")
    elif not words & set(FRONTAL):
        doubts.append(f"{tag} is not a known view, expected AP or PA")


def _check_part(dataset: pydicom.Dataset, doubts: list[str]) -> None:
    value = get(dataset, "BodyPartExamined")
    text = "" if value is None else str(value).strip().upper()
    if not text or _KNEE.fullmatch(text):
        return
    known = text if text.replace(" ", "") in _OTHER_PARTS else "not a known body part"
    doubts.append(f"{named('BodyPartExamined')} is {known}, expected KNEE")


def _code_meaning(dataset: pydicom.Dataset, keyword: str) -> str:
    items = get(dataset, keyword)
    if not isinstance(items, pydicom.Sequence) or not items:
        return ""
    return str(get(items[0], "CodeMeaning") or "").lower()


def side(dataset: pydicom.Dataset, doubts: list[str]) -> str | None:
    """The side by ImageLaterality, else Laterality: L or R, or the words; B gives no side.

    U, "unpaired", is wrong for a knee and ignored. A series description with the other side is a
    doubt: it is free text, which often stays when an image is corrected.
    """
    found = {}
    for keyword in ("ImageLaterality", "Laterality"):
        code = term(dataset, keyword, (*_SIDES, *_NO_SIDE))
        if code is None:
            doubts.append(f"{named(keyword)} is not a known term, expected L or R: ignored")
        elif code and code[0] != "U":
            found[keyword] = code[0]
    codes = list(found.values())
    if len(codes) == 2 and set(codes) == {"L", "R"}:
        doubts.append(
            f"{named('ImageLaterality')} is {codes[0]} and {named('Laterality')} is {codes[1]}: "
            "the first is taken"
        )
    stated = _SIDES.get(codes[0]) if codes else None
    described = described_side(dataset)
    if stated is not None and described not in (None, stated):
        doubts.append(
            f"{named('SeriesDescription')} says {described}, but {named(next(iter(found)))} is "
            f"{codes[0]}: the latter is taken"
        )
    return stated


def described_side(dataset: pydicom.Dataset, shortest: int = 1) -> str | None:
    """The only side that words of SeriesDescription (left, LT, R) of `shortest` letters name."""
    text = str(get(dataset, "SeriesDescription") or "").upper()
    words = [word for word in _SIDE_WORDS if len(word) >= shortest]
    sides = {_SIDE_WORDS[word] for word in re.findall(r"[^\W\d_]+", text) if word in words}
    return sides.pop() if len(sides) == 1 else None


def spacing(dataset: pydicom.Dataset, doubts: list[str]) -> tuple[float, float] | None:
    """(row_mm, column_mm) at the patient, None if no tag gives it.

    PixelSpacing where it was corrected, by PixelSpacingCalibrationType or because it differs from
    ImagerPixelSpacing by a plausible magnification (PS3.3 10.7.1.1), else ImagerPixelSpacing over
    EstimatedRadiographicMagnificationFactor (C.8.7.10), else PixelSpacing, else for scanned films
    NominalScannedPixelSpacing; 0 counts as absent.
    """
    calibrated = bool(term(dataset, "PixelSpacingCalibrationType", ("GEOMETRY", "FIDUCIAL")))
    corrected = _check_agreement(dataset, calibrated, doubts) or calibrated
    if corrected and (found := _pixel(dataset, "PixelSpacing", doubts)):
        return found
    found = _pixel(dataset, "ImagerPixelSpacing", doubts)
    if found is None:
        plain = None if corrected else _pixel(dataset, "PixelSpacing", doubts)
        return plain or _pixel(dataset, _OF_FILM, doubts)
    factor = _magnification(dataset, doubts)
    return found[0] / factor, found[1] / factor


def _check_agreement(dataset: pydicom.Dataset, calibrated: bool, doubts: list[str]) -> bool:
    """Compares PixelSpacing with the spacing at the detector, or in a scanned film.

    A doubt is added if the ratio is no plausible magnification, or if it is one that the header
    does not explain.

    Returns:
      Whether PixelSpacing is ImagerPixelSpacing corrected by an unexplained magnification.
    """
    pixel = _pixel(dataset, "PixelSpacing", [])
    others = ((k, _pixel(dataset, k, [])) for k in ("ImagerPixelSpacing", _OF_FILM))
    keyword, other = next(((k, found) for k, found in others if found), ("", None))
    if other is None or pixel is None:
        return False
    detector = keyword != _OF_FILM
    ratios = [one / corrected for one, corrected in zip(other, pixel, strict=True)]
    factor = _magnification(dataset, []) if detector else 1.0
    low, high = MAGNIFICATION
    plausible = all(_ROUNDED * low <= ratio <= high / _ROUNDED for ratio in ratios)
    explained = calibrated or _rounded(ratios, 1.0) or _rounded(ratios, factor)
    if plausible and explained:
        return False
    said = f"{named(keyword)} is {shown(other)} and {named('PixelSpacing')} is {shown(pixel)}"
    if plausible:
        tag = named("PixelSpacingCalibrationType")
        doubts.append(f"{said}, without {tag}: the latter is taken")
        return detector
    taken = "former" if detector and not calibrated else "latter"
    doubts.append(
        f"{said}, expected a magnification from {low:g} to {high:g} between them: the {taken} is "
        "taken"
    )
    return False


def _rounded(ratios: Iterable[float], expected: float) -> bool:
    """Whether all ratios are as expected, up to the rounding of the spacings."""
    return all(_ROUNDED <= ratio / expected <= 1 / _ROUNDED for ratio in ratios)


def check_aspect(dataset: pydicom.Dataset, doubts: list[str]) -> None:
    """Adds a doubt if the pixels of an image without spacing are not square."""
    aspect = unneeded_numbers(dataset, "PixelAspectRatio", doubts)
    if len(aspect) == 2 and aspect[0] != aspect[1]:
        doubts.append(
            f"{named('PixelAspectRatio')} is {shown(aspect)} and no spacing is stated: the pixels "
            "are taken as square"
        )


def _pixel(dataset: pydicom.Dataset, keyword: str, doubts: list[str]) -> tuple[float, float] | None:
    found = unneeded_numbers(dataset, keyword, doubts)
    if not found or (len(found) == 2 and 0 in found):
        return None
    try:
        if len(found) != 2:
            raise InputError(f"has {len(found)} numbers, expected 2")
        return formats.plausible_spacing((found[0], found[1]))
    except InputError:
        low, high = formats.PIXEL_MM
        doubts.append(
            f"{named(keyword)} is {shown(found)}, expected two numbers from {low:g} to {high:g} "
            "mm: ignored"
        )
        return None


def _magnification(dataset: pydicom.Dataset, doubts: list[str]) -> float:
    keyword = "EstimatedRadiographicMagnificationFactor"
    found = unneeded_numbers(dataset, keyword, doubts)
    if not found or found[0] == 0:
        return 1.0
    low, high = MAGNIFICATION
    if len(found) == 1 and low <= found[0] <= high:
        return found[0]
    doubts.append(f"{named(keyword)} is {shown(found)}, expected {low:g} to {high:g}: ignored")
    return 1.0
