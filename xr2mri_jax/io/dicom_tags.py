"""Reads tags of a DICOM header; errors name a broken tag and never show a patient's data.

A damaged or wrongly filled tag may hold anything, including a name or an identifier. Therefore
messages quote a value only if it has the expected form: a number of few digits, or a term of a
known list.
"""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword

from xr2mri_jax.errors import InputError

# A number in the form of a measurement, also with a decimal comma; longer ones may be identifiers.
_MEASUREMENT = re.compile(r"[+-]?\d{0,4}([.,]\d{0,9})?([eE][+-]?\d{1,2})?")
# PS3.3 C.7.3.1.1.1, shortened: image modalities first, then others.
IMAGE_MODALITIES = (
    *("CR", "DX", "RG", "RF", "OT", "MR", "CT", "NM", "PT", "US", "XA", "MG", "SC", "ES", "XC"),
    *("BI", "IO", "PX", "GM", "SM", "OP", "OCT", "IVUS", "RTIMAGE", "RTDOSE", "BMD", "DG", "TG"),
)
OTHER_MODALITIES = (
    *("PR", "SR", "KO", "SEG", "DOC", "REG", "RWV", "RTPLAN", "RTSTRUCT", "RTRECORD", "ECG", "AU"),
    *("PLAN", "FID", "M3D", "ANN", "RESP", "HD", "EPS", "ASMT"),
)
MODALITIES = (*IMAGE_MODALITIES, *OTHER_MODALITIES)


def named(keyword: str) -> str:
    """A tag for messages, e.g. "PixelSpacing (0028,0030)"."""
    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def get(dataset: pydicom.Dataset, keyword: str) -> Any:
    """A tag's value; None if it is absent, empty or cannot be decoded."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom decodes a value on access
        return None
    return None if value is None or (isinstance(value, str) and not value.strip()) else value


def numbers(dataset: pydicom.Dataset, keyword: str) -> tuple[float, ...]:
    """The numbers of a tag, () if it is absent or empty.

    Raises:
      InputError: it holds anything other than finite numbers.
    """
    try:
        value = dataset.get(keyword)
    except Exception as error:
        raise InputError(f"{named(keyword)} cannot be decoded, expected numbers") from error
    if value is None or value == "":
        return ()
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        found = (math.nan,)
    if not all(math.isfinite(v) for v in found):
        raise InputError(f"{named(keyword)} is {shown(values)}, expected finite numbers")
    return found


def unneeded_numbers(
    dataset: pydicom.Dataset, keyword: str, doubts: list[str]
) -> tuple[float, ...]:
    """`numbers`, but a broken tag counts as absent and is added to `doubts`."""
    try:
        return numbers(dataset, keyword)
    except InputError as error:
        doubts.append(f"{error}: ignored")
        return ()


def whole_number(dataset: pydicom.Dataset, keyword: str, default: int) -> int:
    """A whole number, `default` if the tag is absent; InputError if it is not a whole number."""
    found = numbers(dataset, keyword)
    if not found:
        return default
    if len(found) > 1 or found[0] != int(found[0]):
        raise InputError(f"{named(keyword)} is {shown(found)}, expected a whole number")
    return int(found[0])


def term(dataset: pydicom.Dataset, keyword: str, known: Collection[str]) -> str | None:
    """A tag's term in capitals: "" if it is absent, None if it is not one of `known`."""
    value = get(dataset, keyword)
    if value is None:
        return ""
    text = str(value).strip().upper()
    return text if text in known else None


def shown_term(dataset: pydicom.Dataset, keyword: str, known: Collection[str]) -> str:
    """A tag's term for a message: quoted if it is one of `known`."""
    found = term(dataset, keyword, known)
    return "not a known term" if found is None else found or "absent"


def shown(values: object) -> str:
    """Numbers for a message, as written; other values are not quoted."""
    several = isinstance(values, Sequence) and not isinstance(values, str)
    each = list(values) if isinstance(values, Sequence) and several else [values]
    texts = [_short(value) for value in each[:6]]
    if not texts or not all(_MEASUREMENT.fullmatch(text) for text in texts):
        return "not a number in the form of a measurement"
    more = ", ..." if len(each) > len(texts) else ""
    between = "; " if any("," in text for text in texts) else ", "
    return f"[{between.join(texts)}{more}]" if several and len(each) > 1 else texts[0] or "empty"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else "x"
    return str(value).strip()
