"""Tests of the reader of delimited tables."""

import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.tables import read_table


def table(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_names_are_lower_case_and_cells_lose_outer_blanks(tmp_path):
    path = table(tmp_path, "\ufeffID , Folder\n 007 ,a b \n\n8,c\n")
    rows = read_table(path, required=("id", "folder"))
    assert [(row.number, dict(row.cells)) for row in rows] == [
        (2, {"id": "007", "folder": "a b"}),
        (4, {"id": "8", "folder": "c"}),
    ]
    assert rows[0].get("other") == ""


def test_quoted_newlines_commas_and_crlf(tmp_path):
    path = table(tmp_path, 'id,note\r\n1,"a,\r\nb"\r\n2,"say ""x"""\r\n')
    assert [row["note"] for row in read_table(path, required=("id",))] == ["a,\r\nb", 'say "x"']


def test_latin_1_where_it_is_no_utf_8(tmp_path):
    path = table(tmp_path, b"id,note\n1,Genou c\xf4t\xe9 gauche\n")
    assert read_table(path, required=("id",))[0]["note"] == "Genou côté gauche"
    path = table(tmp_path, "id,note\n1,côté\n")
    assert read_table(path, required=("id",))[0]["note"] == "côté"


def test_delimiter_is_the_one_of_the_header(tmp_path):
    path = table(tmp_path, "id;a\n1;x,y\n")
    assert read_table(path, required=("id",), delimiters=",;\t")[0]["a"] == "x,y"


def test_two_header_rows(tmp_path):
    path = table(tmp_path, '"id"\t"a"\n"The ID"\t"An a"\n"1"\t"x"\n')
    rows = read_table(path, required=("id",), delimiters="\t", header_rows=2)
    assert [row["id"] for row in rows] == ["1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty file"),
        ("id,b\n1,2\n", "column 'a' is missing, found the columns id, b"),
        ("a,A\n1,2\n", "column 'a' occurs twice"),
        ("a,b\n1,2\n3\n", "row 3: found 1 cells, expected 2"),
        ("a,b\n1,2,3\n", "row 2: found 3 cells, expected 2"),
        ('a,b\n1,"2\n', "line 2: not a valid table row"),
        (b"a,b\n1,\0\n", "NUL bytes"),
        ("a,b\n1," + "x" * 200_000 + "\n", "field larger than field limit"),
    ],
)
def test_broken_tables_are_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_table(table(tmp_path, content), required=("a",))
    assert "table.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trailing_empty_cells_are_no_error(tmp_path):
    assert len(read_table(table(tmp_path, "a,b,\n1,2,\n3,4\n"), required=("a",))) == 2


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_table(path, required=("a",))
