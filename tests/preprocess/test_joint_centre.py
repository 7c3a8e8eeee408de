"""Tests of the joint's centre in simulated scans, in a real one, and in what is no knee."""

import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, reorient_ras
from xr2mri_jax.preprocess.joint_centre import network
from xr2mri_jax.preprocess.joint_centre.find import SMALLEST_CONFIDENCE, find_joint_centre
from xr2mri_jax.tools.benchmarks.joint_centre import simulated_scan

VOXELS = 48


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("sequence", ["sag_dess", "cor_iw_tse"])
def test_simulated_knees_are_found(sequence, index):
    volume, side, truth = simulated_scan(77, index, sequence, VOXELS)
    found = find_joint_centre(volume, side)
    np.testing.assert_allclose(found.centre_mm, truth, atol=6)
    assert found.confidence > SMALLEST_CONFIDENCE
    assert found.spread_mm < 6


def test_the_order_of_the_axes_and_odd_slices_do_not_matter():
    volume, side, _ = simulated_scan(77, 0, "sag_dess", VOXELS)
    found = find_joint_centre(volume, side).centre_mm
    turned = reorient_ras(volume)
    np.testing.assert_allclose(find_joint_centre(turned, side).centre_mm, found, atol=1)
    odd = Volume(volume.array[..., : volume.shape[2] // 2 * 2 - 1], volume.affine)
    np.testing.assert_allclose(find_joint_centre(odd, side).centre_mm, found, atol=2)


def test_brightness_does_not_matter():
    volume, side, _ = simulated_scan(77, 0, "sag_dess", VOXELS)
    brighter = Volume(volume.array.astype(np.float64) * 7.5, volume.affine)
    first, second = (find_joint_centre(v, side).centre_mm for v in (volume, brighter))
    np.testing.assert_allclose(first, second, atol=0.01)


def no_knee(kind):
    rng, shape = np.random.default_rng(0), (120, 120, 60)
    if kind == "noise":
        return rng.normal(100, 20, shape)
    if kind == "ramp":
        return np.indices(shape).sum(0) + rng.normal(0, 1, shape)
    if kind == "ball":
        i, j, k = np.indices(shape) - np.array([60, 60, 30])[:, None, None, None]
        return (i**2 + j**2 + (2 * k) ** 2 < 45**2) * 100.0 + rng.normal(10, 2, shape)
    values = np.full(shape, 7.0)
    values[0, 0, 0] = np.nan if kind == "not finite" else 7.0
    return values


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("noise", "no knee joint found"),
        ("ramp", "no knee joint found"),
        ("ball", "no knee joint found"),
        ("blank", "constant"),
        ("not finite", "constant"),
    ],
)
def test_what_is_no_knee_is_refused(kind, said):
    with pytest.raises(InputError, match=said) as caught:
        find_joint_centre(Volume(no_knee(kind), np.diag((1.2, 1.2, 2.4, 1))), "right")
    assert "\n" not in str(caught.value)


def test_a_side_must_be_told():
    with pytest.raises(InputError, match="side of the knee"):
        find_joint_centre(Volume(np.ones((4, 4, 4)), np.eye(4)), "middle")


def test_the_network_against_a_plain_convolution():
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 4, 4, 4, 2)), rng.normal(size=(3, 3, 3, 2, 5))
    padded = np.pad(x[1], [(1, 1)] * 3 + [(0, 0)])
    for stride in (1, 2):
        found = network._convolve(x, kernel, stride)[1]
        a, b, c = 1, 0, 1
        window = padded[a * stride :, b * stride :, c * stride :][:3, :3, :3]
        np.testing.assert_allclose(
            found[a, b, c], np.einsum("abci,abcio->o", window, kernel), rtol=1e-4
        )


def test_the_probabilities_agree():
    x = np.random.default_rng(2).uniform(size=(2, *(network.GRID,) * 3, 2)).astype(np.float32)
    heat, seen = network.heat_maps(network.shipped_weights(), x)
    assert heat.shape == (2, *(network.GRID,) * 3) and heat.min() >= 0
    np.testing.assert_allclose(heat.sum((1, 2, 3)), seen, rtol=1e-6)
    assert (seen >= 0).all() and (seen <= 1).all()


def test_the_weights_are_small():
    assert network.WEIGHTS.stat().st_size < 300_000


def test_the_real_series(real_data):
    volume = io.read_volume(real_data / "knee_dess_dicom")
    found = find_joint_centre(volume, "right")
    # Set by eye on three planes; the true middle is known to some millimetres only.
    np.testing.assert_allclose(found.centre_mm, (46, -10, -24), atol=7)
