"""Tables from label codes to tissues: shipped ones, and custom ones as CSV."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.io.tables import read_table
from xr2mri_jax.phantom.tissues import CODES

# Names beside those of `tissues.TISSUES`, for maps that do not distinguish parts: simulated alike.
ALIASES = {
    "tibial_cartilage": "medial_tibial_cartilage",
    "meniscus": "medial_meniscus",
    "ignore": "background",
}
AUTO = "auto"

# Sources:
#   oai_zib: Ambellan et al., Med Image Anal 52:109-118, 2019 (507 knees of the Osteoarthritis
#     Initiative, pubdata.zib.de); codes as in CartiMorph's notes on the data.
#   oai_zib_cm: the same maps with the tibia's cartilage parted, Yao et al., Med Image Anal
#     91:103035, 2024.
#   oai_woo: Woo et al., arXiv 2211.16696, 2022 (bone marrow lesions apart from their bone; a
#     lesion is part of the bone here).
#   ski10: Heimann et al., "Segmentation of knee images: a grand challenge", MICCAI workshop 2010.
#   totalseg_appendicular: TotalSegmentator's task appendicular_bones (map_to_binary.py), MR alike.
#   iwoai: Desai et al., Radiol Artif Intell 3(3):e200078, 2021, the challenge's six tissues.
#   dosma: the order of DOSMA's model of that challenge, fc, tc, pc, men (dosma.models.oaiunet2d).
#   pymskt: the codes of A. Gatti's pyMSKT, whose example is in the Initiative's DESS geometry.
TABLES: dict[str, dict[int, str]] = {
    "oai_zib": {1: "femur", 2: "femoral_cartilage", 3: "tibia", 4: "tibial_cartilage"},
    "oai_zib_cm": {
        1: "femur",
        2: "femoral_cartilage",
        3: "tibia",
        4: "medial_tibial_cartilage",
        5: "lateral_tibial_cartilage",
    },
    "pymskt": {
        1: "femoral_cartilage",
        2: "medial_tibial_cartilage",
        3: "lateral_tibial_cartilage",
        4: "patellar_cartilage",
        5: "femur",
        6: "tibia",
        7: "patella",
        8: "fibula",
        9: "lateral_meniscus",
        10: "medial_meniscus",
    },
    "oai_woo": {
        1: "femur",
        2: "femoral_cartilage",
        3: "tibia",
        4: "tibial_cartilage",
        5: "patella",
        6: "patellar_cartilage",
        7: "femur",
        8: "tibia",
        9: "patella",
    },
    "phantom": {code: name for name, code in CODES.items() if code},
    "ski10": {1: "femur", 2: "femoral_cartilage", 3: "tibia", 4: "tibial_cartilage"},
    # Without a femur, or without bones: known, so that they are not mistaken for something else.
    "totalseg_appendicular": {
        1: "patella",
        2: "tibia",
        3: "fibula",
        **dict.fromkeys(range(4, 12), "ignore"),
    },
    "iwoai": {
        1: "femoral_cartilage",
        2: "medial_tibial_cartilage",
        3: "lateral_tibial_cartilage",
        4: "patellar_cartilage",
        5: "lateral_meniscus",
        6: "medial_meniscus",
    },
    "dosma": {
        1: "femoral_cartilage",
        2: "tibial_cartilage",
        3: "patellar_cartilage",
        4: "meniscus",
    },
}


def find_table(text: str) -> dict[int, str] | None:
    """The table for a flag: a name of TABLES, a CSV file with columns code and name, or None for
    "auto".

    Raises:
      InputError: none of these; in a file, a code that is not a whole number above 0 or occurs
        twice, or a name that is not a tissue.
    """
    if text == AUTO:
        return None
    if text in TABLES:
        return TABLES[text]
    path = Path(text)
    if not path.is_file():
        raise InputError(
            f"--table: found {text!r}, expected {AUTO}, {', '.join(TABLES)} or a CSV file with the "
            "columns code and name"
        )
    table: dict[int, str] = {}
    for row in read_table(path, required=("code", "name"), delimiters=",;\t"):
        code, name = row["code"], row["name"].lower().replace(" ", "_")
        if not (code.isascii() and code.isdigit()) or int(code) in table:
            raise row.error("code", code, "an integer that occurs once")
        if name not in CODES and name not in ALIASES:
            raise row.error("name", row["name"], f"one of {', '.join((*CODES, *ALIASES))}")
        table[int(code)] = name
    return {code: name for code, name in table.items() if code}


def apply_table(labels: Volume, table: Mapping[int, str] | None) -> tuple[Volume, dict[int, str]]:
    """Converts labels to the phantom's codes.

    Args:
      labels: integers, of any dtype.
      table: tissue by code; 0 is always the background. None uses the first of `candidates` among
        the tables that know every code of the map.

    Returns:
      u8 labels on the same grid, and the part of the table that the map uses.

    Raises:
      InputError: values that are not whole numbers, a code unknown to the table, no such table.
    """
    array = labels.array
    if array.dtype.kind == "f":
        if not np.array_equal(array, np.rint(array)):
            raise InputError("found values that are not integers, expected a map of labels")
        array = array.astype(np.int64)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise InputError(f"found labels from {low} to {high}, expected 0 to 65535")
    counts = np.bincount(array.ravel(), minlength=1)
    codes = [int(code) for code in np.flatnonzero(counts) if code]
    table = _guess(Volume(array, labels.affine), codes) if table is None else table
    unknown = [code for code in codes if code not in table]
    if unknown:
        raise InputError(
            f"found the label {unknown[0]}, expected those of the table: {sorted(table)}"
        )
    lookup = np.zeros(high + 1, np.uint8)
    for code in codes:
        lookup[code] = CODES[ALIASES.get(table[code], table[code])]
    return Volume(lookup[array], labels.affine), {code: table[code] for code in codes}


def candidates(labels: Volume) -> list[str]:
    """The tables of TABLES that know every code of a map, including a femur and a tibia.

    The first one is that whose femur and tibia fill most voxels: they are the largest parts.
    """
    counts = np.bincount(labels.array.ravel().astype(np.int64), minlength=1)
    codes = [int(code) for code in np.flatnonzero(counts) if code]
    known = []
    for name, table in TABLES.items():
        names = {table.get(code) for code in codes}
        if None not in names and {"femur", "tibia"} <= names:
            bones = [code for code in codes if table[code] in ("femur", "tibia")]
            known.append((-int(counts[bones].sum()), name))
    return [name for _, name in sorted(known, key=lambda found: found[0])]


def without_bones(labels: Volume) -> list[str]:
    """The tables that know every code of a map and have no femur or no tibia."""
    codes = set(np.flatnonzero(np.bincount(labels.array.ravel()))) - {0}
    return [
        name
        for name, table in TABLES.items()
        if codes and codes <= set(table) and not {"femur", "tibia"} <= set(table.values())
    ]


def _guess(labels: Volume, codes: list[int]) -> dict[int, str]:
    known = candidates(labels)
    if known:
        return TABLES[known[0]]
    without = without_bones(labels)
    also = f" ({', '.join(without)} knows them, without femur or tibia)" if without else ""
    raise InputError(
        f"found the labels {codes[:20]}, which no table with femur and tibia knows"
        f"{also}: say --table={'|'.join(TABLES)} or name a CSV file"
    )
