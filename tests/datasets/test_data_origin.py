"""The origin of a split's knees: radiographs and MRIs of all of its cases."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from xr2mri_jax.datasets.data_origin import origin, origin_of_mri
from xr2mri_jax.geometry import Volume
from xr2mri_jax.io import write_nifti
from xr2mri_jax.simulation.files import MARK

STATEMENT = '{"statement": "simulated from a label map"}'


@pytest.fixture
def files(tmp_path):
    """A real and a simulated file of each kind, as paths by kind and origin."""
    found = {}
    for name, mark in (("real", ""), ("simulated", MARK)):
        xray, mri = tmp_path / f"{name}.png", tmp_path / f"{name}_mri.nii.gz"
        xray.write_bytes(b"")
        write_nifti(mri, Volume(np.ones((2, 2, 2), np.uint8), np.eye(4)), description=mark)
        found |= {("xray", name): xray, ("mri", name): mri}
    (tmp_path / "simulated.json").write_text(STATEMENT)
    return found


class _Strict(list):
    """A data source that refuses other positions with ValueError, as TFDS does."""

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise ValueError(index)
        return super().__getitem__(index)


def judged(*cases):
    """The origin of a split with these pairs of a radiograph's and an MRI's path."""
    stored = [
        {"record": json.dumps({"radiograph": {"file": str(a)}, "mri": {"file": str(b)}}).encode()}
        for a, b in cases
    ]
    builder = SimpleNamespace(
        info=SimpleNamespace(
            features={"record": None}, splits={"test": SimpleNamespace(num_examples=len(stored))}
        ),
        as_data_source=lambda split, decoders=None: _Strict(stored),
    )
    return origin("knee_pairs/default", builder, "test")


@pytest.mark.parametrize(
    ("xray", "mri", "expected"),
    [
        ("real", "real", "real"),
        ("real", "simulated", "simulated"),
        ("simulated", "real", "simulated"),
        ("simulated", "simulated", "simulated"),
    ],
)
def test_a_pair_is_real_only_if_radiograph_and_mri_are(files, xray, mri, expected):
    assert judged((files["xray", xray], files["mri", mri])) == (expected, [])


def test_a_missing_mri_leaves_the_origin_unknown(files, tmp_path):
    gone = tmp_path / "gone.nii.gz"
    assert judged((files["xray", "real"], gone)) == ("unknown", [])
    assert judged((files["xray", "simulated"], gone)) == ("simulated", [])


def test_every_case_counts_and_a_mixture_is_doubted(files):
    real = files["xray", "real"], files["mri", "real"]
    simulated = files["xray", "real"], files["mri", "simulated"]
    assert judged(real, real) == ("real", [])
    said = "real and simulated knees are mixed in the split 'test': 1 of 3 are simulated"
    assert judged(real, simulated, real) == ("unknown", [said])
    assert judged(simulated, real, real) == ("unknown", [said])


def test_unmarked_simulated_mris_are_recognised_by_their_pairs_record(tmp_path):
    mri = tmp_path / "mri" / "k.nii.gz"
    write_nifti(mri, Volume(np.ones((2, 2, 2), np.uint8), np.eye(4)))
    assert origin_of_mri(mri) == "real"
    for record in (tmp_path / "xray" / "k.json", tmp_path / "mri" / "k.json"):
        record.parent.mkdir(exist_ok=True)
        record.write_text(STATEMENT)
        assert origin_of_mri(mri) == "simulated"
        record.unlink()


def test_folders_of_slices_are_real_and_broken_volumes_unknown(tmp_path):
    assert origin_of_mri(tmp_path) == "real"
    (tmp_path / "x.nii").write_bytes(b"no NIfTI")
    assert origin_of_mri(tmp_path / "x.nii") == "unknown"
