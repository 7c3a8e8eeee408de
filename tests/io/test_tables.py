"""Tables: cells that are no formula and control no terminal, paths as other systems write them."""

import csv
from pathlib import Path

import pytest

from xr2mri_jax.errors import printable
from xr2mri_jax.inference.grade_table import GradedKnee, Table
from xr2mri_jax.io.tables import cell, read_table, write_table
from xr2mri_jax.simulation.folder import COLUMNS, write_manifest

FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", '=HYPERLINK("http://x")')


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_get_an_apostrophe(text):
    assert cell(text) == f"'{text}"
    assert cell(f" {text}") == f"' {text}"


@pytest.mark.parametrize("value", ["-1", "+0.5", "-1.5e-07", "-inf", "nan", -3, -0.25, ".5", ""])
def test_numbers_stay_numbers(value):
    assert cell(value) == str(value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
        (
            "a\nb\tc\rd",
            "a\\nb\\tc\\rd".replace("\\n", "\\x0a").replace("\\t", "\\x09").replace("\\r", "\\x0d"),
        ),
        ("exe\u202egnp", "exe\\u202egnp"),
        ("\x9b31m", "\\x9b31m"),
        ("bytes\udcff", "bytes\\udcff"),
        ("Müller 膝", "Müller 膝"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown
    assert cell(text) == shown


def test_a_table_reads_back_what_was_written(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, ("subject", "n"), [(text, k) for k, text in enumerate(FORMULAS)])
    assert [row["subject"] for row in read_table(path, required=("subject",))] == list(FORMULAS)
    with path.open(newline="") as stream:
        assert all(row[0].startswith("'") for row in list(csv.reader(stream))[1:])


def test_the_grade_table_is_safe(tmp_path):
    with Table(tmp_path / "t.csv") as table:
        table.add(GradedKnee("=cmd.png", warning="@x \x1b[0m"))
        table.add(GradedKnee("a\udc80.png", "left", 0.25, picture=tmp_path / "-p.png"))
    _, first, second = (tmp_path / "t.csv").read_text().splitlines()
    assert first.startswith("'=cmd.png,,,'@x \\x1b[0m,")
    assert second.startswith("a\\udc80.png,left,0.250000,")
    assert second.rstrip(",").endswith(",'-p.png")


def test_a_manifest_of_simulated_pairs_is_safe(tmp_path):
    row = dict.fromkeys(COLUMNS, "") | {"subject": "=1", "side": "left", "xray": "x", "mri": "m"}
    write_manifest(tmp_path / "m.csv", [row])
    assert (tmp_path / "m.csv").read_text().splitlines()[1].startswith("'=1,left,")


def test_no_table_is_written_by_other_means():
    """The csv module writes in io/tables.py alone."""
    package = Path(__file__).parents[2] / "xr2mri_jax"
    writers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "csv.writer(" in path.read_text() or "csv.DictWriter(" in path.read_text()
    }
    assert writers == {"io/tables.py"}


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("sub/knee.png", "sub/knee.png"),
        ("sub\\knee.png", "sub/knee.png"),
        ("K\u00f6nig.png", "Ko\u0308nig.png"),
        ("sub\\Ko\u0308nig.png", "sub/K\u00f6nig.png"),
        ("a\\b.png", "a\\b.png"),
    ],
)
def test_paths_are_found_as_other_systems_write_them(tmp_path, written, there):
    (tmp_path / "sub").mkdir()
    (tmp_path / there).write_bytes(b"")
    table = tmp_path / "table.csv"
    table.write_text(f"file\n{written}\nnothing\\there.png\n")
    found, missing = read_table(table, required=("file",))
    assert found.path("file").samefile(tmp_path / there)
    assert missing.path("file") == tmp_path / "nothing\\there.png"
