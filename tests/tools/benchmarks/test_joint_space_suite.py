"""The suite that measures joint space in predicted labels, with a model of known answers."""

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import canonical_affine
from xr2mri_jax.inference.label_prediction import LabelPrediction, LabelPredictor
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.tools.benchmarks import joint_space, suites

SHAPE = (64, 64, 64)


def knee(medial: float) -> LabelPrediction:
    """A femur of two blocks over a tibia of one, 6 mm apart laterally."""
    affine = canonical_affine(SHAPE)
    d, h, w = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    x = affine[0, 2] * w + affine[0, 3]
    y = affine[1, 0] * d + affine[1, 3]
    z = affine[2, 1] * h + affine[2, 3]
    labels = np.zeros(SHAPE, np.uint8)
    beside = (np.abs(x) < 36) & (np.abs(y) < 24)
    labels[beside & (z > -4 + np.where(x > 0, 6.0, medial))] = CODES["femur"]
    labels[beside & (z < -4)] = CODES["tibia"]
    return LabelPrediction(labels, (2.0, 2.0, 2.0), np.zeros((8, 8), np.uint8))


@pytest.fixture
def folder(tmp_path):
    for grade, names in {0: "1L 1R 2L", 3: "3L 4R", 4: "4L 5L"}.items():
        (tmp_path / str(grade)).mkdir()
        for name in names.split():
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / str(grade) / f"{name}.png")
    return tmp_path


def test_narrowed_joints_are_told_from_healthy_ones(folder):
    asked = []

    def predict(path, side):
        asked.append((path.name, side))
        if path.name == "5L.png":
            raise InputError("too dark")
        return knee({"0": 6.0, "3": 4.0, "4": 2.0}[path.parent.name])

    report = joint_space.run(folder, LabelPredictor(predict, {"workdir": "made"}, "made"))
    assert asked[:2] == [("1L.png", "left"), ("1R.png", "right")]
    assert (report["knees"], report["subjects"]) == (6, 4)
    assert report["refused"] == {"5L.png": "too dark"}
    medial = report["medial"]
    assert [medial["by_grade"][g]["n"] for g in "034"] == [3, 2, 1]
    found = [medial["by_grade"][g]["mean_mm"] for g in "034"]
    assert found == pytest.approx([6, 4, 2], abs=0.7)
    assert medial["auc"] == {"mean": 1.0, "ci95": [1.0, 1.0]}
    assert "medial: 1.000 (1.000 to 1.000); grade 0" in joint_space.table(report)


def test_the_auc_is_half_where_nothing_is_told():
    found = joint_space.measured(np.array([3.0, 5, 3, 5]), np.array([0, 0, 3, 4]), list("abcd"))
    assert found["auc"]["mean"] == 0.5
    low, high = found["auc"]["ci95"]
    assert low < 0.5 < high


def test_wrong_folders_are_refused(folder, tmp_path):
    def suite(real):
        suites.run("joint_space", tmp_path / "o.json", repeats=1, volume_shape=(1, 1, 1), real=real)

    with pytest.raises(InputError, match="--real is missing: expected a folder"):
        suite(None)
    (folder / "3" / "noside.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"noside\.png: found a name without a side"):
        suite(folder)
    with pytest.raises(InputError, match=r"found no 0/NAME\.png"):
        suite(folder / "3")
    with pytest.raises(InputError, match="usable knees of one group"):
        joint_space.measured(np.ones(2), np.array([3, 4]), ["a", "b"])
