"""Parses label names into tissue and, if stated, side."""

import re
import unicodedata
from typing import NamedTuple

from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.simulation.label_tables import ALIASES

# Parts of a knee that are named after its bones but are not bones.
_OTHER = re.compile(
    r"arter|vein|vena|vessel|nerv|muscle|muscul|ligament|tendon|tibialis|poplite|screw|"
    r"(biceps|rectus|quadriceps) femoris|"
    r"implant|prosthe|osteophyt|\bfat\b|hoffa|effusion|defect|femorotibial|tibiofemoral|retinac"
)
_CARTILAGE = re.compile(r"cart|knorpel")
_MENISCUS = re.compile(r"menis|\bmen\b")
_BONES = {
    "femur": re.compile(r"\bfem|\boberschenkel|\bthigh ?bone"),
    "tibia": re.compile(r"\btib|\bschienbein|\bshin ?bone"),
    "patella": re.compile(r"\bpat(ella\w*)?\b|\bpatell|knee ?cap|\bkniescheibe|\brotul"),
    "fibula": re.compile(r"\bfib|\bwadenbein|\bperone\b"),
}
_SHORT = {
    "fc": "femoral_cartilage",
    "tc": "tibial_cartilage",
    "mtc": "medial_tibial_cartilage",
    "ltc": "lateral_tibial_cartilage",
    "pc": "patellar_cartilage",
    "mm": "medial_meniscus",
    "lm": "lateral_meniscus",
}
_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}


class Meaning(NamedTuple):
    """A tissue of `tissues.CODES` or an alias of one, and "left", "right" or None."""

    tissue: str
    side: str | None


def meaning(name: str) -> Meaning | None:
    """Parses a name such as "Femoral Cartilage", "femur_left" or "medial tibial cart.".

    Returns:
      None if it is not a part of a knee that is simulated.
    """
    letters = unicodedata.normalize("NFKD", name)
    plainly = "".join(letter for letter in letters if not unicodedata.combining(letter))
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plainly)
    words = [word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word]
    sides = {_SIDES[word] for word in words if word in _SIDES}
    side = sides.pop() if len(sides) == 1 else None
    plain = [word for word in words if word not in _SIDES]
    text = " ".join(plain)
    exact = "_".join(plain)
    if exact in CODES or exact in ALIASES:
        return Meaning(exact, side)
    if len(plain) == 1 and plain[0] in _SHORT:
        return Meaning(_SHORT[plain[0]], side)
    if not text or _OTHER.search(text):
        return None
    tissue = _tissue(text)
    return None if tissue is None else Meaning(tissue, side)


def _tissue(text: str) -> str | None:
    parts = {r"\bmed": "medial_", r"lat(?!e\b|eau)": "lateral_"}  # no plate, no plateau
    part = next((word for form, word in parts.items() if re.search(form, text)), "")
    if _MENISCUS.search(text):
        return f"{part}meniscus"
    bone = next((bone for bone, form in _BONES.items() if form.search(text)), None)
    if not _CARTILAGE.search(text):
        return bone
    return {
        "femur": "femoral_cartilage",
        "tibia": f"{part}tibial_cartilage",
        "patella": "patellar_cartilage",
    }.get(bone or "")
