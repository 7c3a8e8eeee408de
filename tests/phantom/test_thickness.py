"""Mean thickness of cartilage in signed distances of known layers."""

import numpy as np
import pytest

from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.thickness import mean_thickness

# (row in mm, thickness in mm of the medial and of the lateral half)
FEMUR, TIBIA = (-3.0, 2.0, 3.0), (3.0, 1.5, 2.5)


def slabs():
    """A femur above and a tibia below flat layers: f32[9, 32, 32, 32] over 128 mm."""
    at = (np.arange(32) + 0.5) * 4 - 64
    row, column = at[None, :, None], np.broadcast_to(at, (32, 32, 32))
    made = np.full((len(NAMES), 32, 32, 32), 7.5, np.float32)
    for bone, outer, sign, (edge, medial, lateral) in (
        ("femur", "femoral_outer", 1.0, FEMUR),
        ("tibia", "tibial_outer", -1.0, TIBIA),
    ):
        depth = np.where(column < 0, lateral, medial)
        plain = np.broadcast_to(sign * (row - edge), column.shape)
        made[NAMES.index(bone)], made[NAMES.index(outer)] = plain, plain - depth
    return np.clip(made, -7.5, 7.5)


def test_layers_have_the_thickness_that_they_were_given():
    found = mean_thickness(slabs())
    wanted = {
        "femoral_medial": 2.0,
        "femoral_lateral": 3.0,
        "tibial_medial": 1.5,
        "tibial_lateral": 2.5,
    }
    for plate, mm in wanted.items():
        assert found[plate] == pytest.approx(mm, abs=0.1), plate
    assert found["patellar"] == 0.0


def test_bone_without_cartilage_does_not_count():
    bare = slabs()
    outer, bone = (NAMES.index(name) for name in ("femoral_outer", "femur"))
    bare[outer, :16] = bare[bone, :16]
    assert mean_thickness(bare)["femoral_medial"] == pytest.approx(2.0, abs=0.15)


def test_thickness_is_a_way_and_no_difference_of_distances():
    """Distances that grow more slowly than the way, as those that are means do."""
    slow = slabs() * np.float32(0.7)
    for plate, mm in mean_thickness(slabs()).items():
        assert mean_thickness(slow)[plate] == pytest.approx(mm, abs=0.05), plate


def test_a_round_bone_has_the_thickness_of_its_shell():
    at = (np.arange(32) + 0.5) * 4 - 64
    d, h, w = np.meshgrid(at, at, at, indexing="ij")
    made = np.full((len(NAMES), 32, 32, 32), 7.5, np.float32)
    ball = np.sqrt((d + 30) ** 2 + h**2 + w**2) - 20
    for name, shell in (("patella", 0.0), ("patellar_outer", 2.5)):
        made[NAMES.index(name)] = np.clip(ball - shell, -7.5, 7.5)
    assert mean_thickness(made)["patellar"] == pytest.approx(2.5, abs=0.1)
