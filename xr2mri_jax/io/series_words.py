"""Descriptions of series that are safe to show: made of protocol words only, never a name."""

import re

_WORDS = frozenset(
    {
        *("2D", "3D", "4D", "ADC", "AX", "AXIAL", "B0", "BILATERAL", "COR", "CORONAL", "DERIVED"),
        *("DESS", "DIFF", "DIXON", "DP", "DWI", "ECHO", "FAT", "FFE", "FISP", "FL3D", "FLASH"),
        *("FS", "FSE", "FSPGR", "GRE", "HR", "ISO", "IW", "KNEE", "L", "LEFT", "LOC", "LOCALIZER"),
        *("LT", "MAP", "MAPS", "MEDIC", "MEGRE", "MPR", "MPRAGE", "MULTI", "OBL", "PD", "PDW"),
        *("PLANE", "PROTON", "QDESS", "R", "RIGHT", "RT", "SAG", "SAGITTAL", "SAT", "SCOUT", "SE"),
        *("SPACE", "SPAIR", "SPC", "SPGR", "SPIN", "SPIR", "STIR", "SURVEY", "SWI", "T1", "T1RHO"),
        *("T1W", "T2", "T2MAP", "T2STAR", "T2W", "TE", "TIRM", "TRA", "TRANS", "TRUFI", "TSE"),
        *("TURBO", "UTE", "VIBE", "VISTA", "W", "WATER", "WATS", "WE", "WEIGHTED", "CUBE", "THIGH"),
    }
)


def known_description(text: str) -> str:
    """A SeriesDescription in quotes if all of its words are protocol words; else "unnamed"."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text.upper()) if word]
    known = all(word in _WORDS or re.fullmatch(r"\d{1,3}", word) for word in words)
    return repr(text[:64]) if words and known else "unnamed"
