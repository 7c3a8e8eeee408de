"""Tests that a known coil field is found, recorded and undone, and that none is invented."""

import json

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.preprocess.bias_field import bias_field, bias_field_at, correct_bias

SHAPE = (40, 44, 30)
AFFINE = np.diag((3.0, 3.0, 4.0, 1.0))


def tissues():
    """Three tissues in blocks with a little texture, as brightness."""
    rng = np.random.default_rng(0)
    blocks = rng.choice([60.0, 250.0, 600.0], (8, 11, 6))
    values = blocks.repeat(5, 0).repeat(4, 1).repeat(5, 2)
    return values * rng.normal(1, 0.03, SHAPE), values


def known_field(strength):
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return np.exp(strength * (0.5 * i - 0.3 * j + 0.4 * k * k - 0.3 * i * j))


def variation(array, classes):
    return np.mean([array[classes == c].std() / array[classes == c].mean() for c in (60, 250, 600)])


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_known_field_is_taken_out(strength):
    clean, classes = tissues()
    bright = clean * known_field(strength)
    corrected, record = correct_bias(Volume(bright, AFFINE))
    assert variation(bright, classes) > 0.1
    assert variation(corrected.array, classes) < 0.035
    assert record["variation"][1] < record["variation"][0]
    found = bias_field(record)
    ratio = np.log(found / known_field(strength))
    assert ratio.std() < 0.03


def test_without_a_field_little_is_changed():
    clean, classes = tissues()
    corrected, record = correct_bias(Volume(clean, AFFINE))
    assert variation(corrected.array, classes) < 0.035
    assert 0.9 < record["range"][0] <= record["range"][1] < 1.1


def test_the_record_undoes_it():
    clean, _ = tissues()
    source = clean * known_field(0.7)
    corrected, record = correct_bias(Volume(source, AFFINE), {"degree": 2})
    record = json.loads(json.dumps(record, allow_nan=False))
    np.testing.assert_allclose(corrected.array * bias_field(record), source, rtol=1e-4)
    index = np.array([[0, 0, 0], [39, 43, 29], [20, 3, 11]])
    at = bias_field_at(record, index)
    np.testing.assert_allclose(at, bias_field(record)[tuple(index.T)], rtol=1e-4)
    # Beyond the source's faces the polynomial is not followed.
    assert bias_field_at(record, np.array([-500.0, 0, 0])) < 10


def test_scaling_the_source_scales_the_result():
    clean, _ = tissues()
    first, _ = correct_bias(Volume(clean, AFFINE))
    second, _ = correct_bias(Volume(clean * 8, AFFINE))
    np.testing.assert_allclose(second.array, first.array * 8, rtol=1e-3)


@pytest.mark.parametrize(
    ("array", "settings", "said"),
    [
        (np.ones(SHAPE), {}, "constant"),
        (np.full(SHAPE, np.nan), {}, "not finite"),
        (np.indices((3, 3, 3)).sum(0), {}, "not air"),
        (tissues()[0], {"degree": 9}, r"bias_field.degree: found 9, expected a whole number 1..6"),
        (tissues()[0], {"degree": 2.5}, "whole number"),
        (tissues()[0], {"grade": 2}, "found the key 'grade', expected degree"),
    ],
)
def test_what_cannot_be_corrected_is_refused(array, settings, said):
    with pytest.raises(InputError, match=said):
        correct_bias(Volume(array, AFFINE), settings)
