"""Border voxels of shapes of known distance."""

import math

import numpy as np
import pytest
from made_shapes import box, sphere
from scipy.spatial.transform import Rotation

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.metrics.alignment import Similarity
from xr2mri_jax.metrics.voxels import Border, border_scores


def border(labels):
    return Border(Volume(labels.array > 0, labels.affine))


def test_the_border_of_a_box_is_its_outer_layer():
    found = border(box((10, 12, 14), (0.0, 0.0, 0.0)))
    assert len(found.points) == 10 * 12 * 14 - 8 * 10 * 12
    assert np.abs(found.points).max(axis=0) == pytest.approx([4.5, 5.5, 6.5])


def test_what_touches_the_arrays_end_has_a_border_there():
    found = Border(Volume(np.ones((3, 4, 5), bool), np.eye(4)))
    assert len(found.points) == 3 * 4 * 5 - 1 * 2 * 3
    with pytest.raises(InputError, match="no part of the structure inside the field"):
        Border(Volume(np.zeros((3, 4, 5), bool), np.eye(4)))


def test_a_shifted_box_by_hand():
    """2 mm along x: the four sides touch but for the ends, where the ends lie 2 mm apart."""
    found = border_scores(border(box((20, 20, 20))), border(box((20, 20, 20), (2, 0, 0))),
                          Similarity())  # fmt: skip
    assert found.hd == pytest.approx(2)
    # Of each box, one end of 20 x 20 voxels lies outside the other, 2 away, and behind it a ring of
    # 76 voxels, 1 away; of the other end the inner 18 x 18 lie 2, 1 at the rim, inside the other.
    one = 400 * 2 + 76 * 1 + (16**2 * 2 + (18**2 - 16**2) * 1)
    assert found.assd == pytest.approx(one / (20**3 - 18**3))


def test_concentric_spheres_lie_their_radii_apart():
    found = border_scores(border(sphere(25)), border(sphere(21.5)), Similarity())
    assert found.assd == pytest.approx(3.5, abs=0.15)
    assert found.hd95 == pytest.approx(3.5, abs=0.7)
    assert found.nsd == 0


def test_a_transform_is_taken_into_account():
    small, large = border(sphere(20)), border(sphere(25))
    assert border_scores(small, large, Similarity(scale=1.25)).assd < 0.7  # the centres do not meet
    turn = Rotation.from_rotvec([0.2, 0.4, -0.3]).as_matrix()
    found = border_scores(large, large, Similarity(turn, 1.0, np.array([4.0, 0, 0])))
    cosine = np.linspace(-1, 1, 20001)
    exact = np.abs(np.sqrt(25**2 + 16 + 200 * cosine) - 25).mean()
    assert found.assd == pytest.approx(exact, abs=0.2)


def test_some_points_stand_for_all():
    first, second = border(sphere(25)), border(box((50, 40, 40), (3, 0, 0)))
    every, some = (border_scores(first, second, Similarity(), n) for n in (None, 1500))
    assert some.assd == pytest.approx(every.assd, rel=0.05)
    assert some.nsd == pytest.approx(every.nsd, abs=0.04)
    assert math.isclose(some.assd, border_scores(first, second, Similarity(), 1500).assd)
