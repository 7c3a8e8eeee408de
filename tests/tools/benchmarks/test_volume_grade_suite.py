"""The suite that compares the grade by predicted bones with the network's, on made numbers."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.volume_grade import CUT_MM
from xr2mri_jax.tools.benchmarks import suites, volume_grade


def test_agreement_by_hand():
    found = volume_grade.agreement(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    assert found["confusion"] == [[2, 1], [0, 1]]
    # Observed disagreement 1/4; by chance 3/4 x 1/2 + 1/4 x 1/2.
    assert found["kappa"] == pytest.approx(1 - 0.25 / 0.5)


def test_the_cut_parts_the_groups():
    lesser = np.array([4.0, 5.0, 3.8, 3.0, 2.0, 1.0, 0.5])
    assert 3.0 < volume_grade.fitted(lesser, np.array([0, 1, 2, 3, 3, 4, 4])) <= 3.8


def test_knees_are_compared_with_network_and_reader():
    spaces = np.array([[9, CUT_MM + 1], [CUT_MM + 1, 9], [CUT_MM - 1, 9], [9, CUT_MM / 2]])
    report = volume_grade.compared(np.array([0, 2, 3, 4]), np.array([4, 1, 3, 1]), spaces)
    assert report["knees"] == 4 and report["lesser_mm"]["0"] == [CUT_MM + 1, 0.0]
    assert report["reader"]["kappa"] == 1.0
    assert report["network"]["confusion"] == [[1, 1], [1, 1]] and report["warned"] == 2
    text = volume_grade.table(report | {"refused": {}})
    assert "4 knees, 0 not usable" in text and "against the reader: kappa 1.000" in text


def test_a_folder_is_needed(tmp_path):
    with pytest.raises(InputError, match=r"--real is missing: expected .* GRADE/NAME.png"):
        suites.run("volume_grade", tmp_path / "o.json", repeats=1, volume_shape=(1, 1, 1))
