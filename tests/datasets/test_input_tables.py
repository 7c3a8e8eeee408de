"""A prepared dataset is not taken for one of other tables."""

import json

import pytest

from xr2mri_jax import datasets
from xr2mri_jax.datasets.files_builder import recorded
from xr2mri_jax.datasets.input_tables import require_unchanged, table_digests
from xr2mri_jax.datasets.knee_pairs.options import PairOptions
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.sources import source_tables


def made_builder(root, source, tables=True):
    """A builder of knee_pairs whose record of its preparation is written, without examples."""
    builder = datasets.make_builder("knee_pairs/smoke", root / "data")
    given = {name: str(root / f"{name}.csv") for name in ("splits", "places")}
    builder.options = PairOptions(**given, grades=(str(root / "kl.txt"),))
    builder.source = source
    made = {"options": recorded(builder.options), "source": str(source)}
    if tables:
        made["tables"] = table_digests(builder.input_tables())
    builder.data_path.mkdir(parents=True, exist_ok=True)
    (builder.data_path / "preparation.json").write_text(json.dumps(made))
    return builder


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own").mkdir()
    names = ("own/manifest.csv", "splits.csv", "places.csv", "kl.txt")
    for name in names:
        (tmp_path / name).write_text("subject,side\n")
    return tmp_path


@pytest.mark.parametrize(
    ("table", "flag"),
    [
        ("own/manifest.csv", "source"),
        ("splits.csv", "splits"),
        ("places.csv", "places"),
        ("kl.txt", "grades"),
    ],
)
def test_a_changed_table_is_named(root, table, flag):
    builder = made_builder(root, root / "own")
    builder.require_same_preparation()
    (root / table).write_text("subject,side\n1,left\n")
    with pytest.raises(InputError, match=rf"{table} \(--{flag}\): has changed since .* prepared"):
        builder.require_same_preparation()
    (root / table).unlink()
    if table != "own/manifest.csv":  # without it, the folder is no collection
        builder.require_same_preparation()


def test_datasets_of_earlier_versions_and_collections_that_are_gone_are_accepted(root):
    (root / "splits.csv").write_text("subject,split\n1,train\n")
    made_builder(root, root / "own", tables=False).require_same_preparation()
    builder = made_builder(root, root / "own")
    (root / "own").rename(root / "elsewhere")
    builder.require_same_preparation()


def test_tables_of_a_collection_may_neither_come_nor_go(tmp_path):
    for name in ("a/contents.csv", "kxr_sq_bu00.txt", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    names = [path.name for path in source_tables(tmp_path)]
    assert names == ["contents.csv", "kxr_sq_bu00.txt"]
    before = table_digests({"source": source_tables(tmp_path)})
    (tmp_path / "kxr_sq_bu01.txt").write_text("x")
    after = table_digests({"source": source_tables(tmp_path)})
    with pytest.raises(InputError, match=r"bu01\.txt \(--source\): was added since D"):
        require_unchanged(before, after, "D")
    with pytest.raises(InputError, match=r"bu01\.txt \(--source\): was removed since D"):
        require_unchanged(after, before, "D")


def test_the_tables_of_an_archive(tmp_path):
    for name in ("image03.txt", "oai_xrmeta01.txt", "oai_kxrsemiquant01.txt", "contents.csv"):
        (tmp_path / name).write_text("x")
    assert {path.name for path in source_tables(tmp_path)} == {
        "image03.txt", "oai_xrmeta01.txt", "oai_kxrsemiquant01.txt",
    }  # fmt: skip
    assert source_tables(tmp_path / "none") == []
