"""Cartilage and joint space of hand-made joints of known thickness and distance."""

import math

import numpy as np
import pytest
from made_shapes import axes_of

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, canonical_affine
from xr2mri_jax.metrics.joint import PLATES, cartilage_plates, joint_space, thicknesses
from xr2mri_jax.metrics.occupancy import occupancies, softened
from xr2mri_jax.metrics.surfaces import surface_of

FINE = (256, 256, 256)  # 0.5 mm
RADIUS, WIDTH = 17.0, 76.0
CODES = {name: (code,) for code, name in enumerate(
    ("femur", "tibia", "patella", "femoral_cartilage", "tibial_cartilage", "patellar_cartilage"), 1
)}  # fmt: skip


def knee(medial=5.0, lateral=6.5, cartilage=(2.0, 1.5, 3.0, 1.0), shape=FINE) -> Volume:
    """Two femoral spheres over a tibial block.

    Args:
      medial, lateral: gap between bone and bone, mm.
      cartilage: thickness on the medial and lateral condyle, on the medial and lateral plateau, mm.
    """
    x, y, z = axes_of(shape)
    labels = np.zeros(shape, np.uint8)
    side = x > 0
    gap = np.where(side, lateral, medial)
    away = np.sqrt((np.abs(x) - 19.0) ** 2 + y**2 + (z - (RADIUS + gap - 3.0)) ** 2)
    on_femur = np.where(side, cartilage[1], cartilage[0])
    on_tibia = np.where(side, cartilage[3], cartilage[2])
    labels[away < RADIUS + on_femur] = 4
    labels[away < RADIUS] = 1
    block = (np.abs(x) < WIDTH / 2) & (np.abs(y) < 25) & (z > -40)
    labels[block & (z < -3 + on_tibia) & (labels == 0)] = 5
    labels[block & (z < -3)] = 2
    return Volume(labels, canonical_affine(shape))


def parts(labels: Volume):
    found = occupancies(labels, CODES)
    bones = {
        name: surface_of(softened(found[name], labels))
        for name in ("femur", "tibia")
        if found[name].array.max() > 0.5
    }
    everywhere = Volume(np.ones((128, 128, 128), bool), found["femur"].affine)
    return found, bones, everywhere


@pytest.fixture(scope="module")
def made():
    return parts(knee())


@pytest.fixture(scope="module")
def measured(made):
    return cartilage_plates(*made)


def test_thickness_by_plate_is_the_hand_made_one(measured):
    assert set(measured) == set(PLATES) - {"patellar"}
    wanted = {"femoral_medial": 2.0, "femoral_lateral": 1.5, "tibial_medial": 3.0,
              "tibial_lateral": 1.0}  # fmt: skip
    for plate, thickness in wanted.items():
        assert measured[plate].thickness_mm == pytest.approx(thickness, abs=0.2), plate


def test_volume_of_a_plateau_is_area_times_thickness(measured):
    # The condyle dips into the medial layer of 3 mm where it has less than 2 mm of own cartilage.
    assert measured["tibial_lateral"].volume_ml == pytest.approx(38 * 50 * 1.0 / 1000, rel=0.03)
    shell = 4 / 3 * math.pi * ((RADIUS + 1.5) ** 3 - RADIUS**3) / 1000
    assert measured["femoral_lateral"].volume_ml == pytest.approx(shell, rel=0.05)
    assert measured["tibial_lateral"].area_cm2 == pytest.approx(38 * 50 / 100, rel=0.05)
    assert measured["femoral_lateral"].area_cm2 == pytest.approx(
        4 * math.pi * RADIUS**2 / 100, rel=0.03
    )


def test_the_field_cuts_volume_and_area(made, measured):
    (found, bones, field), whole = made, measured
    front = Volume(field.array & (np.arange(128) < 64)[:, None, None], field.affine)
    half = cartilage_plates(found, bones, front)
    for plate in whole:
        assert half[plate].volume_ml == pytest.approx(whole[plate].volume_ml / 2, rel=0.03)
        assert half[plate].thickness_mm == pytest.approx(whole[plate].thickness_mm, abs=0.1)
        assert half[plate].area_cm2 == pytest.approx(whole[plate].area_cm2 / 2, rel=0.05)


def test_bone_without_cartilage_has_none():
    found, bones, field = parts(knee(cartilage=(0.0, 1.5, 0.0, 1.0)))
    plates = cartilage_plates(found, bones, field)
    assert plates["femoral_medial"] == plates["tibial_medial"] == (0.0, 0.0, 0.0)
    assert plates["tibial_lateral"].thickness_mm == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("thickness", [0.6, 1.0, 2.5])
def test_thin_layers_keep_their_thickness_on_a_coarse_grid(thickness):
    """A layer of any thickness on 1 mm voxels, along a slanted normal: partial voxels count."""
    normal = np.array([0.31, 0.52, 0.0])
    normal[2] = np.sqrt(1 - normal @ normal)
    depth = sum(n * axis for n, axis in zip(normal, axes_of(FINE), strict=True))
    labels = Volume(((depth > 0) & (depth < thickness)).astype(np.uint8), canonical_affine(FINE))
    layer = occupancies(labels, {"layer": (1,)})["layer"]
    across = np.random.default_rng(0).uniform(-20, 20, (200, 3))
    points = across - (across @ normal)[:, None] * normal
    found = thicknesses(points, np.tile(normal, (200, 1)), layer)
    assert found.mean() == pytest.approx(thickness, abs=0.06)


@pytest.mark.parametrize(("medial", "lateral"), [(5.0, 6.5), (0.8, 7.0), (3.3, 2.1)])
def test_joint_space_is_the_gap_between_the_bones(medial, lateral):
    _, bones, _ = parts(knee(medial, lateral, (0.0, 0.0, 0.0, 0.0)))
    found = joint_space(bones["femur"], bones["tibia"], WIDTH)
    assert found["medial"] == pytest.approx(medial, abs=0.25)
    assert found["lateral"] == pytest.approx(lateral, abs=0.25)


def test_joint_space_of_a_coarse_map():
    _, bones, _ = parts(knee(4.0, 6.0, (0.0, 0.0, 0.0, 0.0), (64, 128, 128)))
    found = joint_space(bones["femur"], bones["tibia"], WIDTH)
    assert found == pytest.approx({"medial": 4.0, "lateral": 6.0}, abs=0.4)


def test_a_tibia_without_a_compartment_is_refused():
    labels = knee()
    labels.array[(labels.array == 2) & (axes_of(FINE)[0] < 0)] = 0
    _, bones, _ = parts(labels)
    with pytest.raises(InputError, match="no medial plateau"):
        joint_space(bones["femur"], bones["tibia"], WIDTH)
