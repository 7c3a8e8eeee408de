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
