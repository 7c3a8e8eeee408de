"""Tests of cases written back as files: what a user would have on the disk."""

import csv
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import datasets
from xr2mri_jax.commands import export
from xr2mri_jax.datasets import cases
from xr2mri_jax.datasets.data_origin import origin_of_mri
from xr2mri_jax.errors import InputError
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.preprocess.radiograph import standardise_radiograph

SHAPE = (4, 64, 64)


class FakeBuilder:
    """A prepared dataset of one left and one right knee."""

    info = SimpleNamespace(full_name="made/1.0.0", splits={"test": SimpleNamespace(num_examples=2)})

    def __init__(self):
        random = np.random.default_rng(0)
        ramp = np.linspace(1000, 60000, 64 * 64).reshape(64, 64, 1)
        self.examples = [
            {
                "xray": (ramp + random.uniform(0, 4000, ramp.shape)).astype(np.uint16),
                "mri": random.integers(0, 65536, (*SHAPE, 1)).astype(np.uint16),
                "side": np.int32(side),
                "kl": np.int32(3),
                "subject": b"s7",
                "spacing": np.array([32.0, 2.0, 2.0], np.float32),
            }
            for side in (0, 1)
        ]

    def as_data_source(self, split, decoders=None):
        assert split == "test"
        return self.examples


@pytest.fixture
def builder(monkeypatch):
    made = FakeBuilder()
    monkeypatch.setattr(datasets, "load_builder", lambda name, data_dir: made)
    return made


def test_files_hold_the_case_unmirrored(builder, tmp_path):
    rows = cases.write_cases("d", "x", "test", (0, 1), tmp_path)
    assert rows == [
        cases.CaseRow("test_0", "left", 2.0, 3, "s7"),
        cases.CaseRow("test_1", "right", 2.0, 3, "s7"),
    ]
    left = np.asarray(Image.open(tmp_path / "test_0.png"))
    right = np.asarray(Image.open(tmp_path / "test_1.png"))
    np.testing.assert_array_equal(left, builder.examples[0]["xray"][:, ::-1, 0])
    np.testing.assert_array_equal(right, builder.examples[1]["xray"][:, :, 0])
    with (tmp_path / "cases.csv").open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["name", "side", "spacing", "kl", "subject"]
    assert table[1] == ["test_0", "left", "2.0", "3", "s7"]


def test_volume_lies_in_the_box(builder, tmp_path):
    cases.write_cases("d", "x", "test", (1,), tmp_path)
    image = nib.load(tmp_path / "test_1_mri.nii.gz")
    assert sorted(image.shape) == sorted(SHAPE)
    assert image.header["descrip"].item() == b""
    cases.write_cases("knee_phantom/quickstart", "x", "test", (1,), tmp_path)
    assert origin_of_mri(tmp_path / "test_1_mri.nii.gz") == "simulated"
    extent = np.array(image.header.get_zooms()) * image.shape
    np.testing.assert_allclose(extent, 128.0, atol=1e-3)


@pytest.mark.parametrize("position", [0, 1])
def test_exported_radiograph_standardises_to_the_stored_one(builder, tmp_path, position):
    (row,) = cases.write_cases("d", "x", "test", (position,), tmp_path)
    radiograph = read_radiograph(tmp_path / f"{row.name}.png", spacing=row.spacing, side=row.side)
    again = standardise_radiograph(radiograph, (64, 64)).image[..., 0]
    stored = builder.examples[position]["xray"][..., 0] / 65535.0
    low, high = np.percentile(stored, (1, 99))
    np.testing.assert_allclose(again, np.clip((stored - low) / (high - low), 0, 1), atol=2e-2)


def test_an_unknown_spacing_or_grade_is_empty(builder, tmp_path, monkeypatch, capsys):
    builder.examples[0] |= {"spacing": np.zeros(2, np.float32), "kl": np.int32(-1)}
    given = {"dataset": "d", "data_dir": "x", "split": "test", "cases": ["0"], "output": tmp_path}
    for name, value in given.items():
        monkeypatch.setattr(export, f"_{name.upper()}", SimpleNamespace(value=value))
    export.main()
    assert capsys.readouterr().out == "test_0: left knee, KL unknown, spacing unknown\n"
    assert (tmp_path / "cases.csv").read_text().splitlines()[1] == "test_0,left,,,s7"


def test_wrong_choices_are_named(builder, tmp_path):
    with pytest.raises(InputError, match=r"no case 2, expected 0\.\.1"):
        cases.write_cases("d", "x", "test", (2,), tmp_path)
    with pytest.raises(InputError, match="no split 'tset', expected one of test"):
        cases.write_cases("d", "x", "tset", (0,), tmp_path)
    with pytest.raises(InputError, match="found '-1', expected positions"):
        cases.parse_positions(["-1"])
    assert cases.parse_positions(["0", " 3"]) == (0, 3)
