"""The notes of pairs name what was not chosen, and the radiograph of the grade."""

from pathlib import Path

import pytest

from xr2mri_jax.datasets.pairing import pair_source
from xr2mri_jax.io.records import Grade, MriSeries, RadiographFile, Source


def note(films, kl=None, barcode=""):
    """The note of a right knee's pair; films as (path, barcode)."""
    radiographs = tuple(RadiographFile("1", "V00", Path(p), barcode=code) for p, code in films)
    grades = (Grade("1", "right", "V00", kl, barcode=barcode),)
    series = (MriSeries("1", "V00", "right", Path("m"), "dess"),)
    (pair,) = pair_source(Source(radiographs, series, grades)).pairs
    return pair.note


def test_two_radiographs_of_one_exam_are_named_by_path():
    one = note([("exam/001", "00341204"), ("exam/002", "00341204")])
    assert one == "RadiographFile exam/001 is another, not chosen"
    two = note([("a/001", "00000001"), ("b/001", "00000002")])
    assert two == "RadiographFile 00000001 is another, not chosen"


@pytest.mark.parametrize(
    ("kl", "barcode", "said"),
    [
        (3, "016600000009", "KL 3 was read in radiograph 016600000009, not in 00000001"),
        (None, "016600000009", ""),
        (3, "016600000001", ""),
        (3, "1", ""),
        (3, "", ""),
    ],
)
def test_a_grade_of_another_radiograph_is_noted(kl, barcode, said):
    assert note([("a", "00000001")], kl, barcode) == said
    assert note([("a", "")], kl, barcode) == ""
