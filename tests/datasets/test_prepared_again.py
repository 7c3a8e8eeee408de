"""The report and the record of a preparation: refused paths, copies, damaged files."""

import json

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import datasets
from xr2mri_jax.datasets.preparation_record import contrast_of_dataset
from xr2mri_jax.errors import InputError


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source" / "0"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48), np.uint8)
    Image.fromarray(pixels).save(folder / "1L.png")
    return folder.parent


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", ".*folder is a folder, expected the name of a file"),
        ("file/report.csv", r"the folder .*file cannot be written to \(Not a directory\)"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_any_work(source, tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"--report: {said}"):
        datasets.prepare("knee_xray", tmp_path / "data", source=source, report=tmp_path / name)
    assert not list((tmp_path / "data").rglob("*array_record*"))
    assert (tmp_path / "file").read_bytes() == b""


def test_the_report_of_a_prepared_dataset_is_copied(source, tmp_path):
    builder = datasets.prepare("knee_xray", tmp_path / "data", source=source)
    report = tmp_path / "new" / "report.csv"
    datasets.prepare("knee_xray", tmp_path / "data", source=source, report=report)
    stored = builder.data_path / "report.csv"
    assert report.read_text() == stored.read_text() and "1_left" in report.read_text()
    stored.unlink()
    with pytest.raises(InputError, match=r"--report: found no .*report.csv to copy"):
        datasets.prepare("knee_xray", tmp_path / "data", source=source, report=report)
    assert "1_left" in report.read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda made: made[: len(made) // 2], "cannot be read as JSON"),
        (lambda made: "", "cannot be read as JSON"),
        (lambda made: "[]", "found list, expected a JSON object"),
        (lambda made: json.dumps({"options": 1}), "is damaged, expected the options"),
        (None, r"cannot be read \(No such file or directory\), expected the record"),
    ],
)
def test_a_damaged_record_of_the_preparation_is_named(source, tmp_path, content, said):
    builder = datasets.prepare("knee_xray", tmp_path / "data", source=source)
    path = builder.data_path / "preparation.json"
    made = path.read_text()
    path.unlink()
    if content is not None:
        path.write_text(content(made))
    with pytest.raises(InputError, match=rf"preparation\.json: {said}"):
        datasets.prepare("knee_xray", tmp_path / "data", source=source)
    if content is not None:
        with pytest.raises(InputError, match=rf"preparation\.json: {said}"):
            contrast_of_dataset(datasets.load_builder("knee_xray", tmp_path / "data"))
    path.write_text(made)
    datasets.prepare("knee_xray", tmp_path / "data", source=source)
