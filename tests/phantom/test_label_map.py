"""Any label map to a paired MRI and radiograph."""

import numpy as np
import pytest
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import (
    Volume,
    mirror_volume,
    reorient_ras,
    require_same_geometry,
    resample,
)
from xr2mri_jax.phantom.label_map import PIXEL_MM, VIEW_MM, simulate_pair
from xr2mri_jax.phantom.landmarks import find_landmarks, find_side
from xr2mri_jax.phantom.tissues import CODES


@pytest.fixture(scope="module")
def pair(knee_labels):
    return simulate_pair(knee_labels, "right", seed=5)


def alike(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def without(labels, *names):
    codes = [CODES[name] for name in names]
    return Volume(np.where(np.isin(labels.array, codes), 0, labels.array), labels.affine)


def test_the_mri_lies_on_the_maps_own_grid(knee_labels, pair):
    require_same_geometry(pair.mri, knee_labels)
    mri, labels = pair.mri.array, knee_labels.array
    assert mri.dtype == np.float32 and mri.min() >= 0 and mri.max() <= 1
    cartilage = mri[labels == CODES["femoral_cartilage"]].mean()
    marrow = mri[ndimage.binary_erosion(labels == CODES["femur"], iterations=2)].mean()
    assert cartilage > 3 * marrow
    # Around the bones there is a leg now, and air around that.
    assert mri[labels == 0].max() > 0.25
    assert np.median(mri[:, :, :2]) < 0.1


def test_the_radiograph_shows_the_joint_in_its_middle(pair):
    image = pair.radiograph.array
    n = round(VIEW_MM / PIXEL_MM)
    assert image.shape == (n, n) and pair.radiograph.spacing == (PIXEL_MM, PIXEL_MM)
    assert pair.radiograph.side == "right"
    assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
    # Both compartments: the darkest row near the middle is the joint space, above and below bone.
    for offset in (-22, 22):
        column = n // 2 + round(offset / PIXEL_MM)
        profile = image[:, column - 8 : column + 8].mean(axis=1)
        near = slice(n // 2 - 25, n // 2 + 25)
        gap = near.start + int(np.argmin(profile[near]))
        assert abs(gap - n / 2) * PIXEL_MM < 5
        assert profile[gap] < profile[gap - 30 : gap].max() - 0.05
        assert profile[gap] < profile[gap : gap + 30].max() - 0.05


def test_the_radiograph_is_the_phantoms_own(phantom_case, pair, knee_labels):
    """The same bones through the phantom's own road give much the same picture."""
    own = phantom_case["xray"][..., 0] / 65535
    middle = knee_labels.world((np.array(knee_labels.shape) - 1) / 2)
    # Columns run from the patient's right, +x, to the left; rows from the head, +z, down.
    across = pair.centre[[2, 0]] - middle[[2, 0]]
    rows, columns = (
        (shift - 64.0 + (np.arange(64) + 0.5) * 2 + VIEW_MM / 2) / PIXEL_MM - 0.5
        for shift in across
    )
    grid = np.meshgrid(rows, columns, indexing="ij")
    ours = ndimage.map_coordinates(pair.radiograph.array, grid, order=1, mode="nearest")
    assert alike(ours[8:-8, 8:-8], own[8:-8, 8:-8]) > 0.8


@pytest.mark.parametrize("codes", ["ras", "reversed"])
def test_the_order_of_axes_changes_nothing(knee_labels, pair, codes):
    if codes == "ras":
        turned = reorient_ras(knee_labels)
    else:
        flip = np.diag((1.0, -1.0, -1.0, 1.0))
        flip[1:3, 3] = np.array(knee_labels.shape[1:]) - 1
        turned = Volume(knee_labels.array[:, ::-1, ::-1], knee_labels.affine @ flip)
    again = simulate_pair(turned, "right", seed=5)
    np.testing.assert_allclose(again.radiograph.array, pair.radiograph.array, atol=2e-3)
    require_same_geometry(again.mri, turned)
    back = reorient_ras(again.mri).array
    np.testing.assert_allclose(back, reorient_ras(pair.mri).array, atol=2e-3)


def test_a_left_knee_is_the_mirrored_right_one(knee_labels, pair):
    left = simulate_pair(mirror_volume(knee_labels), "left", seed=5)
    np.testing.assert_allclose(left.radiograph.array, pair.radiograph.array[:, ::-1], atol=2e-3)
    np.testing.assert_allclose(left.mri.array, pair.mri.array, atol=2e-3)
    assert left.radiograph.side == "left"
    assert left.centre[0] == pytest.approx(-pair.centre[0])


def test_an_oblique_map_of_thick_slices_shows_the_same_knee(knee_labels, pair):
    angle = np.deg2rad(12)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ reorient_ras(knee_labels).affine @ np.diag((2.0, 1.0, 1.0, 1.0))
    middle = knee_labels.world((np.array(knee_labels.shape) - 1) / 2)
    shape = (26, 52, 60)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    oblique, _ = resample(knee_labels, affine, shape, order=0)
    again = simulate_pair(oblique, "right", seed=5)
    assert alike(again.radiograph.array, pair.radiograph.array) > 0.97
    assert again.mri.shape == shape


def test_bones_go_on_where_the_field_ends(knee_labels, pair):
    part = Volume(knee_labels.array[:, 12:-12], knee_labels.affine.copy())
    shift = np.eye(4)
    shift[1, 3] = 12
    part = Volume(part.array, knee_labels.affine @ shift)
    cut = simulate_pair(part, "right", seed=5)
    for rows in (slice(0, 40), slice(-40, None)):  # outside the cut field
        assert alike(cut.radiograph.array[rows], pair.radiograph.array[rows]) > 0.85


def test_a_bone_of_a_few_voxels_is_added_and_said(knee_labels):
    few = without(knee_labels, "fibula", "patellar_cartilage")
    place = tuple(np.argwhere(few.array == CODES["patella"])[0])
    few = without(few, "patella")
    few.array[place] = CODES["patella"]
    made = simulate_pair(few, "right", seed=5)
    assert np.isfinite(made.mri.array).all() and np.ptp(made.radiograph.array) > 0.5
    assert {"patella", "fibula"} <= set(made.record["added_from_phantom"])
    (doubt,) = made.doubts
    assert doubt.startswith("the patella has so few voxels")


def test_what_the_map_lacks_is_added_and_said(knee_labels, pair):
    bare = without(knee_labels, "patella", "patellar_cartilage", "fibula")
    bare = without(bare, "medial_meniscus", "lateral_meniscus")
    again = simulate_pair(bare, "right", seed=5)
    added = again.record["added_from_phantom"]
    assert {"patella", "fibula", "menisci", "muscle", "skin"} <= set(added)
    assert "fibula" not in pair.record["added_from_phantom"]
    # The fibula: lateral, below the joint; the mean of that quarter's outer part tells of it.
    n = again.radiograph.shape[0]
    place = np.s_[n // 2 + 70 : n // 2 + 130, n // 2 - 110 : n // 2 - 50]
    mirrored = np.s_[n // 2 + 70 : n // 2 + 130, n // 2 + 50 : n // 2 + 110]
    assert again.radiograph.array[place].mean() > again.radiograph.array[mirrored].mean() + 0.03


def test_seeds_differ_and_repeat(knee_labels, pair):
    other = simulate_pair(knee_labels, "right", seed=6)
    assert alike(other.radiograph.array, pair.radiograph.array) > 0.9
    assert np.abs(other.radiograph.array - pair.radiograph.array).max() > 0.02


def test_labels_tell_the_side(knee_labels):
    assert find_side(knee_labels) == "right"
    assert find_side(mirror_volume(knee_labels)) == "left"
    assert find_side(without(knee_labels, *list(CODES)[1:5], *list(CODES)[7:])) is None


def test_the_joints_centre(knee_labels):
    found = find_landmarks(knee_labels, "right")
    middle = knee_labels.world((np.array(knee_labels.shape) - 1) / 2)
    assert np.abs(found.centre - middle).max() < 14
    contact = [CODES["medial_tibial_cartilage"], CODES["lateral_tibial_cartilage"]]
    cartilage = knee_labels.world(np.argwhere(np.isin(knee_labels.array, contact))).mean(axis=0)
    assert np.abs(found.centre - cartilage).max() < 6
    assert 0.8 < found.size < 1.25


def test_maps_of_no_such_knee_are_refused(knee_labels):
    upside_down = Volume(knee_labels.array, np.diag((1.0, 1.0, -1.0, 1.0)) @ knee_labels.affine)
    backwards = Volume(knee_labels.array, np.diag((1.0, -1.0, 1.0, 1.0)) @ knee_labels.affine)
    coarse = Volume(knee_labels.array[::10, ::10, ::10], np.diag((20.0, 20.0, 20.0, 1.0)))
    for labels, side, said in (
        (coarse, "right", r"found only \d+ voxels of femur"),
        (knee_labels, "left", "medially"),
        (upside_down, "left", "does not lie above"),
        (backwards, "left", "lies behind"),
        (without(knee_labels, "femur"), "right", "found no femur"),
        (without(knee_labels, *list(CODES)[1:]), "right", "found no femur"),
        (Volume(knee_labels.array + 90, knee_labels.affine), "right", "found code 100"),
        (Volume(knee_labels.array * 0.5, knee_labels.affine), "right", "expected integers"),
        (knee_labels, "both", "side of the knee"),
    ):
        with pytest.raises(InputError, match=said):
            simulate_pair(labels, side)


def test_a_map_with_skin_and_fat_is_complete(phantom_case, knee_labels):
    full = Volume(phantom_case["labels"], knee_labels.affine)
    whole = simulate_pair(full, "right")
    assert whole.record["added_from_phantom"] == []
    air = ndimage.binary_erosion(full.array == 0, iterations=3)
    assert np.median(whole.mri.array[air]) < 0.05


def test_the_real_map_becomes_a_knee(real_data):
    from xr2mri_jax import io

    (path,) = (real_data / "knee_labels").glob("*_bones_cart_men_fib-label.nrrd")
    labels = io.read_volume(path)
    # Every fifth voxel of the sagittal planes and every third of these is enough here.
    small = Volume(labels.array[::5, ::5, ::3], labels.affine @ np.diag((5.0, 5.0, 3.0, 1.0)))
    assert find_side(small) == "right"
    made = simulate_pair(small, "right")
    image, n = made.radiograph.array, made.radiograph.shape[0]
    columns = image[n // 2 - 75 : n // 2 - 35, n // 2 - 60 : n // 2 + 60].mean()
    space = np.concatenate(
        [
            image[n // 2 - 3 : n // 2 + 3, c - 10 : c + 10].ravel()
            for c in (n // 2 - 60, n // 2 + 60)
        ]
    ).mean()
    tibia = image[n // 2 + 35 : n // 2 + 75, n // 2 - 60 : n // 2 + 60].mean()
    assert columns > space + 0.1 and tibia > space + 0.1
    # The fibula is at the image's left in a right knee.
    place, mirrored = np.s_[n - 120 : n - 60, 50:100], np.s_[n - 120 : n - 60, -100:-50]
    assert image[place].mean() > image[mirrored].mean() + 0.05
    scan = made.mri.array
    assert scan[small.array == 1].mean() > 3 * scan[small.array == 5].mean()
