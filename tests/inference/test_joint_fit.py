"""Tests of bringing a predicted knee to a joint space, on bones of known distance."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import marching_cubes

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.inference.joint_fit import LARGEST_MM, fit_joint_space, spaces
from xr2mri_jax.inference.predict import predict_found
from xr2mri_jax.inference.predictor import load_predictor
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import LIMIT_MM, NAMES
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.knees import one_knee

SHAPE, VOLUME = (32, 32, 32), (64, 128, 128)
PLATEAU, RADIUS = 4.0, 22.0


def places(shape):
    """(d, h, w) in mm from the box's middle: f32[3, *shape]."""
    step = np.array(BOX_MM) / shape
    index = np.moveaxis(np.indices(shape), 0, -1) + 0.5
    return np.moveaxis(index * step - np.array(BOX_MM) / 2, -1, 0)


def femur_at(shape, medial, lateral):
    """Two round condyles, the lowest points `medial` and `lateral` mm above the plateau."""
    d, h, w = places(shape)
    found = np.full(shape, np.inf)
    for middle, gap in ((19.0, medial), (-19.0, lateral)):
        found = np.minimum(found, np.sqrt(
            d**2 + (h - (PLATEAU - gap - RADIUS)) ** 2 + (w - middle) ** 2
        ) - RADIUS)  # fmt: skip
    return found


def knee(medial=5.0, lateral=6.0):
    d, h, w = places(SHAPE)
    tibia = np.maximum.reduce([PLATEAU - h, np.abs(w) - 38.0, np.abs(d) - 24.0])
    found = np.full((len(NAMES), *SHAPE), LIMIT_MM)
    found[NAMES.index("tibia")] = tibia
    found[NAMES.index("tibial_outer")] = tibia - 2.0
    femur = femur_at(SHAPE, medial, lateral)
    found[NAMES.index("femur")] = femur
    found[NAMES.index("femoral_outer")] = femur - 2.0
    return np.clip(found, -LIMIT_MM, LIMIT_MM).astype(np.float32)


def test_the_distance_between_known_bones():
    found = spaces(knee(5.0, 3.0))
    assert found["medial"] == pytest.approx(5.0, abs=0.35)
    assert found["lateral"] == pytest.approx(3.0, abs=0.35)


@pytest.mark.parametrize("wanted", [(2.0, 6.0), (5.0, 3.0), (1.0, 1.5), (7.0, 7.0)])
def test_bones_and_volume_come_to_the_wanted_distance(wanted):
    before = knee()
    volume = (femur_at(VOLUME, 5.0, 6.0) < 0).astype(np.float32)
    asked = dict(zip(("medial", "lateral"), wanted, strict=True))
    found = fit_joint_space(volume, before, asked)
    assert found.volume.shape == volume.shape
    assert found.distances.shape == before.shape
    after = spaces(found.distances)
    for name, value in asked.items():
        assert found.record["after_mm"][name] == pytest.approx(value, abs=0.05)
        assert after[name] == pytest.approx(value, abs=0.6)
    # The tibia stays where it was, and the volume shows the femur where the surfaces have it.
    tibia = NAMES.index("tibia")
    assert ((found.distances[tibia] < 0) == (before[tibia] < 0)).mean() > 0.995
    shown = found.volume > 0.5
    expected = surfaces.resized(found.distances, VOLUME, order=3)[NAMES.index("femur")] < 0
    assert 2 * (shown & expected).sum() / (shown.sum() + expected.sum()) > 0.97


def signed_gap(distances):
    """Least distance in mm from the tibia's surface to the femur, negative where they overlap."""
    chosen = distances[[NAMES.index("tibia"), NAMES.index("femur")]]
    tibia, femur = surfaces.resized(chosen, (128, 128, 128), order=3)
    return ndimage.map_coordinates(femur, marching_cubes(tibia, 0.0)[0].T, order=1).min()


@pytest.mark.parametrize("wanted", [(0.0, 6.0), (6.0, 0.0), (0.0, 0.0)])
def test_a_closed_joint_stops_at_contact(wanted):
    before = knee(5.0, 5.0)
    asked = dict(zip(("medial", "lateral"), wanted, strict=True))
    found = fit_joint_space(np.zeros(VOLUME, np.float32), before, asked)
    assert abs(signed_gap(found.distances)) < 0.1
    assert found.record["after_mm"] == pytest.approx(asked, abs=0.05)
    assert max(map(abs, found.record["moved_mm"].values())) < LARGEST_MM


@pytest.mark.parametrize("wanted", [0.2, 0.4])
def test_an_almost_closed_joint_has_the_wanted_distance(wanted):
    asked = {"medial": wanted, "lateral": 5.0}
    found = fit_joint_space(np.zeros(VOLUME, np.float32), knee(5.0, 5.0), asked)
    assert found.record["after_mm"]["medial"] == pytest.approx(wanted, abs=0.01)
    assert signed_gap(found.distances) == pytest.approx(wanted, abs=0.15)


def test_bones_that_would_overlap_at_the_margin_are_flattened_there():
    before = knee(5.0, 5.0)
    d, h, w = places(SHAPE)
    # A ledge of the femur beyond the part of the plateau where the joint space is measured.
    ledge = np.sqrt(d**2 + (h - (PLATEAU - 2.0 - 12.0)) ** 2 + (w - 36.0) ** 2) - 12.0
    femur = NAMES.index("femur")
    before[femur] = np.minimum(before[femur], ledge)
    asked = {"medial": 1.0, "lateral": 5.0}
    found = fit_joint_space(np.zeros(VOLUME, np.float32), before, asked)
    # 3 mm before; what remains is between the samples of the distances, 4 mm apart.
    assert -0.5 < signed_gap(found.distances) < 0.1
    assert found.record["after_mm"] == pytest.approx(asked, abs=0.01)
    untouched = fit_joint_space(np.zeros(VOLUME, np.float32), knee(5.0, 5.0), asked)
    assert found.record["moved_mm"] == pytest.approx(untouched.record["moved_mm"], abs=0.1)


def test_real_knees_with_a_closed_joint_do_not_overlap(real_data):
    predictor = load_predictor()
    for name in ("9086204R", "9284795L"):  # a medial and a lateral joint space of 0
        path = real_data / f"knee_xray_kl/val/4/{name}.png"
        side = {"L": "left", "R": "right"}[name[-1]]
        knee = one_knee(read_radiograph(path), KneeRequest(side, side_source="test", force=True))
        made = predict_found(predictor, knee)
        record = made.record["joint_space"]
        assert record["after_mm"] == pytest.approx(record["wanted_mm"], abs=0.01)
        assert min(record["wanted_mm"].values()) == 0
        assert -0.5 < signed_gap(made.distances) < 0.1


def test_the_femur_moves_as_a_rigid_body():
    d, h, w = places(SHAPE)
    before = knee()
    # A condylar block under a narrow shaft: a shear would tilt the block and not the shaft.
    block = np.maximum.reduce([h + 1.0, -h - 24.0, np.abs(w) - 30.0, np.abs(d) - 20.0])
    shaft = np.maximum.reduce([h + 20.0, np.abs(w) - 12.0, np.abs(d) - 12.0])
    femur = NAMES.index("femur")
    before[femur] = np.clip(np.minimum(block, shaft), -LIMIT_MM, LIMIT_MM)
    wanted = {"medial": 1.0, "lateral": 7.0}
    after = fit_joint_space(np.zeros(VOLUME, np.float32), before, wanted).distances[femur]
    inside = [
        surfaces.resized(x[None], (128, 128, 128), order=3)[0] < 0 for x in (before[femur], after)
    ]
    assert inside[1].sum() == pytest.approx(inside[0].sum(), rel=0.02)

    def axes(mask, rows):
        """Direction of the longest axis (h, w) of the part of a mask in some rows."""
        _, row, column = np.nonzero(mask)
        kept = (row >= rows[0]) & (row < rows[1])
        points = np.stack([row[kept], column[kept]]).astype(float)
        return np.degrees(np.arctan(np.polyfit(*points, 1)[0]))

    shaft_turn = axes(inside[1], (8, 36)) - axes(inside[0], (8, 36))
    medial, lateral = -5.0, 1.0  # the moves, to first order
    assert shaft_turn == pytest.approx(np.degrees(np.arctan((medial - lateral) / 38)), abs=2.0)


def test_cartilage_is_compressed_with_the_space():
    before = knee(5.0, 5.0)
    found = fit_joint_space(np.zeros(VOLUME, np.float32), before, {"medial": 2.0, "lateral": 5.0})
    codes = surfaces.labels(surfaces.resized(found.distances, VOLUME, order=3))
    old = surfaces.labels(surfaces.resized(before, VOLUME, order=3))
    column = VOLUME[2] // 2 + 19  # through the medial condyle's lowest point
    thin, thick = ((c[32, :, column] > 0) & (c[32, :, column] < 5) for c in (codes, old))
    assert 0 < thin.sum() < thick.sum()


def test_moves_are_limited():
    found = fit_joint_space(np.zeros(VOLUME, np.float32), knee(), {"medial": 30.0, "lateral": 30.0})
    assert max(found.record["moved_mm"].values()) == LARGEST_MM


def test_without_a_plateau_nothing_is_moved():
    bare = knee()
    bare[NAMES.index("tibia")] = LIMIT_MM
    wanted = {"medial": 3.0, "lateral": 3.0}
    assert fit_joint_space(np.zeros(VOLUME, np.float32), bare, wanted) is None
    assert spaces(bare) is None
