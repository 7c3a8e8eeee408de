"""Tests of the tables that say what a label stands for."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.simulation.label_tables import ALIASES, TABLES, apply_table, find_table


def labels(*codes, dtype=np.uint8):
    array = np.array([0, *codes], dtype).reshape(1, 1, -1)
    return Volume(np.repeat(array, 2, axis=0), np.eye(4))


def test_shipped_tables_name_tissues():
    for table in TABLES.values():
        assert all(name in CODES or name in ALIASES for name in table.values())
    assert TABLES["pymskt"] == {c: n for c, n in TABLES["phantom"].items() if c <= 10}


def test_codes_become_the_phantoms():
    mapped, used = apply_table(labels(1, 2, 3, 4, dtype=np.int16), TABLES["oai_zib"])
    assert mapped.array.dtype == np.uint8
    expected = [0, *(CODES[n] for n in ("femur", "femoral_cartilage", "tibia"))]
    assert mapped.array[0, 0, :4].tolist() == expected
    assert mapped.array[0, 0, 4] == CODES["medial_tibial_cartilage"]
    assert used == TABLES["oai_zib"]


@pytest.mark.parametrize(
    ("codes", "name"),
    [
        ((1, 3), "oai_zib"),
        ((1, 2, 3, 4), "oai_zib"),
        ((1, 2, 3, 4, 5), "oai_zib_cm"),
        ((5, 6), "pymskt"),
        (range(1, 11), "pymskt"),
        (range(1, 16), "phantom"),
    ],
)
def test_the_table_is_found_by_the_codes(codes, name):
    _, used = apply_table(labels(*codes), None)
    assert used == {code: TABLES[name][code] for code in codes}


def test_of_two_tables_that_know_the_codes_that_with_the_larger_bones_is_taken():
    """1 to 7 are the codes of pymskt without a fibula and of oai_woo with a lesion."""
    for large, name in (((5, 6), "pymskt"), ((1, 3), "oai_woo")):
        codes = [*range(1, 8), *large, *large]
        mapped, used = apply_table(labels(*codes), None)
        assert used == {code: TABLES[name][code] for code in range(1, 8)}
        assert mapped.array[0, 0, -1] == CODES["tibia"]


def test_a_bones_lesion_is_part_of_the_bone():
    mapped, _ = apply_table(labels(*range(1, 10)), TABLES["oai_woo"])
    bones = [CODES[name] for name in ("femur", "tibia", "patella")]
    assert mapped.array[0, 0, 7:].tolist() == bones
    assert mapped.array[0, 0, [1, 3, 5]].tolist() == bones


def test_codes_that_no_table_knows_are_refused():
    for codes in ((1, 2), (99,), ()):
        with pytest.raises(InputError, match="no table with femur"):
            apply_table(labels(*codes), None)
    with pytest.raises(InputError, match="found the label 5"):
        apply_table(labels(1, 3, 5), TABLES["oai_zib"])


def test_labels_must_be_whole_numbers():
    whole = Volume(labels(1, 3).array.astype(np.float32), np.eye(4))
    assert apply_table(whole, None)[0].array.max() == CODES["tibia"]
    with pytest.raises(InputError, match="not integers"):
        apply_table(Volume(whole.array * 0.5, np.eye(4)), None)
    with pytest.raises(InputError, match="from -1"):
        apply_table(labels(-1, dtype=np.int16), None)


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Code;Name\n7;Femur\n9;femoral cartilage\n8;tibia\n3;ignore\n")
    table = find_table(str(path))
    assert table == {7: "femur", 9: "femoral_cartilage", 8: "tibia", 3: "ignore"}
    mapped, _ = apply_table(labels(3, 7, 8, 9), table)
    assert mapped.array[0, 0].tolist() == [0, 0, *(CODES[table[c]] for c in (7, 8, 9))]
    assert find_table("auto") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("code,name\n1,nose\n", "row 2, column name"),
        ("code,name\n1,femur\n1,tibia\n", "row 3, column code"),
        ("code,name\n-1,femur\n", "column code"),
        ("label,name\n1,femur\n", "'code' is missing"),
    ],
)
def test_a_wrong_table_names_row_and_column(tmp_path, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        find_table(str(path))


def test_an_unknown_table_is_refused():
    with pytest.raises(InputError, match="oai_zib_cm, pymskt"):
        find_table("zib")
