"""The suite that measures grading: made radiographs, the command watched, refused input."""

import json

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.tools.benchmarks import grade, suites


def test_the_command_is_watched_cold_and_warm(monkeypatch, tmp_path):
    monkeypatch.setattr(grade, "SUBJECTS", 1)
    (tmp_path / "model").mkdir()
    file_format.write(tmp_path / "model", grade.random_grader())
    suites.run(
        "grade",
        tmp_path / "grade.json",
        repeats=1,
        batch_size=1,
        volume_shape=(8, 16, 16),
        images=3,
        model=str(tmp_path / "model"),
    )
    report = json.loads((tmp_path / "grade.json").read_text())
    assert (report["images"], report["source"]) == (3, "phantom")
    for name in ("cold", "warm"):
        row = report[name]
        assert (row["graded"], row["refused"]) == (3, 0)
        assert 0 < row["first_row_s"] <= row["seconds"]
        assert row["images_per_s"] == pytest.approx(3 / row["seconds"])
        assert row["processor_s"] > 0.5
        assert row["peak_bytes"] > 50 * 2**20


def test_files_of_a_folder_are_linked(tmp_path):
    (tmp_path / "real" / "0").mkdir(parents=True)
    (tmp_path / "links").mkdir()
    for name in ("b.png", "0/a.png", "0/c.png"):
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "real" / name)
    assert grade.link_files(tmp_path / "links", tmp_path / "real", 2) == 2
    assert sorted(p.name for p in (tmp_path / "links").iterdir()) == ["00000_a.png", "00001_c.png"]
    with pytest.raises(InputError, match=r"--real=.*none: found no files"):
        grade.link_files(tmp_path / "links", tmp_path / "none", 2)


def test_a_command_that_fails_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(RuntimeError, match="ended with 2: error: --model"):
        grade.measure(tmp_path, tmp_path / "o.csv", str(tmp_path / "none"), tmp_path / "cache")
