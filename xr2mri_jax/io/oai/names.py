"""Interprets names in the OAI's tables: releases, visits, series, sides, barcodes."""

import re

# The first number of an image release's name is the visit: 0.C.2 and 0.E.1 are the baseline, 3.C.2
# the 24-month visit. 2 and 4 are the interim visits at 18 and 30 months.
RELEASE_VISITS = {
    "0": "V00",
    "1": "V01",
    "2": "V02",
    "3": "V03",
    "4": "V04",
    "5": "V05",
    "6": "V06",
    "8": "V08",
    "10": "V10",
}
_MONTH_VISITS = {
    0: "V00",
    12: "V01",
    18: "V02",
    24: "V03",
    30: "V04",
    36: "V05",
    48: "V06",
    72: "V08",
    96: "V10",
}
_RELEASE = re.compile(r"(?<![\w.])(\d{1,2})\.?([A-Z])\.?(\d)(?![\w.])", re.IGNORECASE)
_MONTHS = re.compile(r"(?<![a-z0-9])(\d{1,2})[ _]?(?:m|month|months)(?![a-z0-9])", re.IGNORECASE)
_VISIT = re.compile(r"(?<![a-z0-9])V(\d\d)(?![a-z0-9])", re.IGNORECASE)
_SCREENING = re.compile(r"(?<![a-z0-9])(?:screening|p01)(?![a-z0-9])", re.IGNORECASE)

# Name used here: the name in the OAI's MRI protocol (without the side).
SEQUENCES = {
    "dess": "SAG_3D_DESS",
    "cor_iw_tse": "COR_IW_TSE",
    "sag_iw_tse": "SAG_IW_TSE",
    "cor_flash": "COR_T1_3D_FLASH",
}
BILATERAL_KNEE = "bilateral pa fixed flexion knee"
LONGEST_PATH = 255  # bytes; a listed path has 40 to 120, and disks refuse longer names
_PROJECTIONS = {"pa", "ap", "flexion", "standing", "weightbearing", "rosenberg", "schuss"}
_OTHER_VIEWS = {"lateral", "skyline", "sunrise", "merchant", "patella", "tunnel", "axial"}
_SIDE_WORDS = {
    "right": "right",
    "rt": "right",
    "r": "right",
    "left": "left",
    "lt": "left",
    "l": "left",
}
_PLANES = {"cor": "cor", "coronal": "cor", "sag": "sag", "sagittal": "sag"}
_NOT_ACQUIRED = {"mpr", "reformat", "locator", "localizer", "localiser", "scout", "prescription"}


def visit_of(text: str) -> str | None:
    """The visit that the name of a release, folder or file states, else None.

    Understands releases ("0.C.2", "OAI Image Release 0.E.1", "4G1"), visit codes ("V03"), months
    ("24m", "OAI_00m") and the screening, whose radiographs count as the baseline's.
    """
    code = _VISIT.search(text.replace("_", " "))
    if code:
        return "V" + code[1]
    spaced = text.replace("_", " ")
    release = _RELEASE.search(spaced)
    if release and release[1] in RELEASE_VISITS:
        return RELEASE_VISITS[release[1]]
    months = _MONTHS.search(spaced)
    if months and int(months[1]) in _MONTH_VISITS:
        return _MONTH_VISITS[int(months[1])]
    return "V00" if _SCREENING.search(spaced) else None


def is_release(text: str) -> bool:
    """Whether a folder's name is that of an image release, such as 0.C.2."""
    return _RELEASE.fullmatch(text) is not None


def tokens(description: str) -> list[str]:
    """Lower-case words of a series' description, separated by blanks, _, -, ^, and the like."""
    return re.findall(r"[a-z0-9]+", description.lower())


def side_of(description: str) -> str | None:
    """ "left" or "right" if exactly one of the two is named ("..._RIGHT", "RT"), else None."""
    sides = {_SIDE_WORDS[word] for word in tokens(description) if word in _SIDE_WORDS}
    return sides.pop() if len(sides) == 1 else None


def sequence_of(description: str) -> tuple[str, bool]:
    """The sequence that a description names, and whether it is the OAI's own name.

    Returns:
      (name, exact): a name of SEQUENCES, or "other". Names from other sources, such as
      "Sagittal DESS" or "cor iw tse fs", are not exact; reformats and locators are "other".
    """
    words = tokens(description)
    bare = [word for word in words if word not in _SIDE_WORDS]
    for name, protocol in SEQUENCES.items():
        if bare == tokens(protocol):
            return name, True
    kinds = set(words)
    planes = {_PLANES[word] for word in words if word in _PLANES}
    if kinds & _NOT_ACQUIRED:
        return "other", False
    if "dess" in kinds and planes <= {"sag"}:
        return "dess", False
    if "flash" in kinds and planes == {"cor"}:
        return "cor_flash", False
    if "tse" in kinds and "iw" in kinds and len(planes) == 1:
        return f"{planes.pop()}_iw_tse", False
    return "other", False


def is_knee_radiograph(description: str) -> bool:
    """Whether a description names a frontal radiograph of one or both knees."""
    words = set(tokens(description))
    if " ".join(tokens(description)) == BILATERAL_KNEE:
        return True
    knee = bool(words & {"knee", "knees"})
    return knee and bool(words & _PROJECTIONS) and not words & _OTHER_VIEWS


def barcode_key(barcode: str) -> str:
    """A barcode for comparison within one subject: the last 8 digits, without leading zeros.

    Folders have 8 digits, accession numbers 12, of which the last 8 are the same ("016610142509"
    and "10142509"); spreadsheets drop leading zeros.
    """
    return barcode.strip()[-8:].lstrip("0")
