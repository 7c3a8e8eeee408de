"""Tests of the measures of knees, on shapes of known size."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import PLATEAU_MM, Volume
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.simulation.atlas import LIMIT_MM, SIZE, VOXEL_MM
from xr2mri_jax.tools.anatomy import shape
from xr2mri_jax.tools.anatomy.frames import Reference, align
from xr2mri_jax.tools.anatomy.measures import WIDTH
from xr2mri_jax.tools.anatomy.quantities import QUANTITIES, is_angle
from xr2mri_jax.tools.anatomy.simulated_bones import fine_points
from xr2mri_jax.tools.anatomy.surfaces import find_surfaces
from xr2mri_jax.tools.benchmarks import anatomy


def egg(count=6000):
    """Points and normals of an ellipsoid of 20 x 30 x 40 mm, denser than a millimetre."""
    axes = np.array([20.0, 30.0, 40.0])
    z = 1 - 2 * (np.arange(count) + 0.5) / count
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    unit = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], 1)
    normals = unit / axes
    return unit * axes, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_a_circle_has_its_radius_and_a_section_its_reach():
    angle = np.linspace(0, 2, 50)
    arc = 7.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + [3.0, -4.0]
    assert shape.radius(arc) == pytest.approx(7.0)
    points, _ = egg()
    cut = shape.section(points, 0.0)
    reach = shape.outline(cut, (0.0, 0.0))
    assert reach["front"] == pytest.approx(30.0, abs=0.3)
    assert reach["medial"] == pytest.approx(20.0, abs=0.3)
    assert shape.extent(points[:, 2]) == pytest.approx(80.0, abs=0.2)
    assert np.isnan(shape.top(np.zeros(2)))


def test_a_bone_is_aligned_to_its_reference_by_rotation_shift_and_size():
    points, normals = egg()
    turn = Rotation.from_rotvec([0.1, -0.15, 0.1]).as_matrix()
    moved = 1.1 * points @ turn + [3.0, -2.0, 5.0]
    found = align(moved, Reference(points, normals, (-1e3, 1e3)))
    assert found.scale == pytest.approx(1.1, abs=2e-3)
    np.testing.assert_allclose(found.origin, [3.0, -2.0, 5.0], atol=0.1)
    np.testing.assert_allclose(found.local(moved), points, atol=0.4)


def test_a_reference_far_away_is_refused():
    points, normals = egg()
    far = Reference(points + 500.0, normals, (400.0, 401.0))
    with pytest.raises(InputError, match="expected at least"):
        align(points, far)


def test_cartilage_of_a_label_map_has_its_thickness():
    codes = np.zeros((40, 40, 80), np.uint8)
    codes[8:32, 8:32, 44:72] = CODES["femur"]
    codes[8:32, 8:32, 41:44] = CODES["femoral_cartilage"]
    codes[8:32, 8:32, 8:36] = CODES["tibia"]
    found = find_surfaces(Volume(codes, np.eye(4)), "right")
    assert set(found) == {"femur", "tibia"}
    femur = found["femur"]
    # z runs downwards: the cartilage lies at the femur's lowest face, away from its edges.
    low = (femur.normals[:, 2] > 0.99) & (np.abs(femur.points[:, :2] + 19.5) < 6).all(axis=1)
    assert femur.cartilage[low].mean() == pytest.approx(3.0, abs=0.1)
    assert femur.cartilage[femur.normals[:, 2] < -0.99].max() == 0.0
    with pytest.raises(InputError, match="found 0 voxels of femur"):
        find_surfaces(Volume(np.zeros((9, 9, 9), np.uint8), np.eye(4)), "right")


def test_points_of_a_drawn_bone_lie_on_its_surface_with_normals_outwards():
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * VOXEL_MM
    d, h, w = np.meshgrid(axis, axis, axis, indexing="ij")
    ball = np.sqrt((d - 4) ** 2 + (h + 2) ** 2 + (w - 1) ** 2) - 25.0
    points, normals = fine_points(np.clip(ball, -LIMIT_MM, LIMIT_MM).astype(np.float32))
    away = points - [1.0, 4.0, -2.0]  # x, y, z are w, d, h
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 25.0, atol=0.1)
    assert np.sum(away * normals, axis=1).min() > 24.0


def test_lengths_are_compared_at_one_width_and_joint_spaces_of_unworn_knees():
    def knees(length, spaces):
        base = dict.fromkeys(QUANTITIES, 0.0)
        return [
            base | {WIDTH: PLATEAU_MM * size, "patella_width": length * size * (1 + 0.01 * i),
                    "patella_tilt": 5.0 + i, "joint_space_medial": space * size,
                    "cartilage_area_patellar": 9.0 * size**2 + i}
            for i, (size, space) in enumerate(zip((1.0, 1.1, 0.9), spaces, strict=True))
        ]  # fmt: skip

    with np.errstate(invalid="ignore"):
        rows = anatomy.compare(
            knees(40.0, (3.0, 4.0, 0.0)), (0, 1, 4), knees(40.2, (3.1, 3.9, 9.0)), (0, 0, None)
        )
    width, tilt, space = (rows[n] for n in ("patella_width", "patella_tilt", "joint_space_medial"))
    assert width["measured"]["mean"] == pytest.approx(40.4)
    assert width["off"] == pytest.approx(0.505) and width["ratio"] == pytest.approx(1.005)
    assert (tilt["unit"], width["unit"]) == ("degrees", "mm")
    assert tilt["off"] == 0.0 and tilt["ratio"] == 1.0 and tilt["agrees"]
    assert space["measured"]["mean"] == pytest.approx(3.5)
    assert space["family"]["mean"] == pytest.approx(3.5)
    assert space["ratio"] == pytest.approx(0.8)
    area = rows["cartilage_area_patellar"]
    assert area["measured"]["mean"] == pytest.approx((9 + 9 + 1 / 1.1**2 + 9 + 2 / 0.9**2) / 3)
    assert area["unit"] == "cm2" and area["agrees"]
    report = {"measured": 3, "drawn": 3, "quantities": rows, "agree": 3}
    table = anatomy.table(report)
    assert "| patella: width | 40.4 ± 0.4 mm | 40.6 ± 0.4 mm |" in table
    assert "| cartilage: area on the patella | 10.1 ± 1.3 cm² |" in table


def test_every_quantity_has_a_unit_and_the_suite_needs_a_folder():
    assert is_angle("tibia_medial_slope") and not is_angle("tibia_medial_sag")
    assert len(QUANTITIES) >= 25
    with pytest.raises(InputError, match="--real is missing"):
        anatomy.run(None)
