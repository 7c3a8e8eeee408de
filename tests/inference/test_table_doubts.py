"""Tests of the warnings of a table's knees on the screen."""

from pathlib import Path

import pytest

from xr2mri_jax.inference import table_doubts

TABLE = Path("grades.csv")


def _logged(knees, caplog):
    with caplog.at_level("WARNING"):
        table_doubts.log(knees, TABLE, "warning")
    return [record.getMessage() for record in caplog.records]


def test_the_warnings_of_one_radiograph_are_shown_with_its_knees(caplog):
    knees = [("a.png, right knee", "inverted", 0.3), ("a.png, left knee", "", 0.2)]
    assert _logged(knees, caplog) == ["a.png, right knee: inverted"]


@pytest.mark.parametrize(
    ("scores", "unlike"),
    [((0.2, None, 0.9), "0 are"), ((0.2, 1.5, 0.9), "1 is"), ((1.2, 1.5, 0.9), "2 are")],
)
def test_the_warnings_of_many_knees_are_counted(scores, unlike, caplog):
    knees = list(zip("abc", ("", "x", "y"), scores, strict=True))
    assert _logged(knees, caplog) == [
        "2 of 3 knees have warnings (column warning of grades.csv); "
        f"{unlike} unlike the training radiographs"
    ]


def test_knees_without_warnings_are_not_mentioned(caplog):
    assert not _logged([("a", "", 0.1)] * 5, caplog)
    assert not _logged([], caplog)
