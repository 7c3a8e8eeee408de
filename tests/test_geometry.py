"""Tests of volumes, radiographs, the canonical box, resampling and the way back."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from xr2mri_jax import geometry, io
from xr2mri_jax.errors import InputError

SIDE = st.sampled_from(geometry.SIDES)
CENTER = st.tuples(*[st.floats(-80, 80)] * 3)
CUBE = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
FEW = settings(max_examples=40, deadline=None)


@st.composite
def affines(draw, low=0.2, high=6.0, reach=100.0):
    """Oblique, flipped, anisotropic affines with permuted axes."""
    turn = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    sizes = draw(st.tuples(*[st.floats(low, high)] * 3))
    flips = draw(st.tuples(*[st.sampled_from((-1, 1))] * 3))
    axes = draw(st.permutations(range(3)))
    affine = np.eye(4)
    directions = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()[:, list(axes)]
    affine[:3, :3] = directions * np.multiply(sizes, flips)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-reach, reach)] * 3))
    return affine


def coordinate_fields(affine, shape):
    """Three volumes that hold their own voxels' x, y, z in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return [geometry.Volume(world[..., k].astype(np.float32), affine) for k in range(3)]


def test_volume_tells_spacing_orientation_and_world():
    affine = np.array([[0, 0, -1.5, 10], [-0.5, 0, 0, 20], [0, -0.25, 0, 30], [0, 0, 0, 1]])
    volume = geometry.Volume(np.zeros((4, 5, 6), np.int16), affine)
    assert volume.spacing == (0.5, 0.25, 1.5)
    assert volume.orientation == ("P", "I", "L")
    assert volume.shape == (4, 5, 6)
    np.testing.assert_array_equal(volume.world([2, 4, 2]), [7, 19, 29])
    np.testing.assert_allclose(volume.index([[7, 19, 29]]), [[2, 4, 2]])
    with pytest.raises(ValueError, match="read-only"):
        volume.affine[0, 0] = 3


@pytest.mark.parametrize(
    ("array", "affine", "said"),
    [
        (np.zeros((3, 3)), np.eye(4), r"\(3, 3\): expected three axes"),
        (np.zeros((3, 0, 3)), np.eye(4), "none empty"),
        (np.zeros((3, 3, 3)), np.eye(3), "expected 4x4"),
        (np.zeros((3, 3, 3)), np.diag([1, 1, 1, 2]), "expected 0 0 0 1"),
        (np.zeros((3, 3, 3)), np.diag([1, 0, 1, 1]), "cannot be inverted"),
        (np.zeros((3, 3, 3)), np.diag([1, np.nan, 1, 1]), "finite"),
    ],
)
def test_volume_refuses(array, affine, said):
    with pytest.raises(InputError, match=said):
        geometry.Volume(array, affine)


def test_tiny_but_sound_voxels_are_accepted():
    geometry.Volume(np.zeros((2, 2, 2)), np.diag([1e-3, 1e-3, 1e-3, 1]))


@pytest.mark.parametrize(
    ("spacing", "side", "said"),
    [((0.0, 1.0), None, "positive"), ((1, 2, 3), None, "one or two"), (None, "L", "'L'")],
)
def test_radiograph_refuses(spacing, side, said):
    with pytest.raises(InputError, match=said):
        geometry.Radiograph(np.zeros((2, 2)), spacing, side)
    with pytest.raises(InputError, match="two axes"):
        geometry.Radiograph(np.zeros((2, 2, 1)))


def test_radiograph_becomes_f32_and_one_number_stands_for_both_spacings():
    radiograph = geometry.Radiograph(np.ones((2, 3), np.uint16))
    assert radiograph.array.dtype == np.float32
    assert geometry.checked_spacing(0.5) == (0.5, 0.5)
    assert geometry.checked_spacing([0.5, 2]) == (0.5, 2.0)
    assert radiograph.shape == (2, 3)


def test_canonical_affine_by_hand():
    affine = geometry.canonical_affine((64, 128, 128), (1, 2, 3))
    volume = geometry.Volume(np.zeros((64, 128, 128), np.uint8), affine)
    assert volume.orientation == ("P", "I", "L")
    assert volume.spacing == (2, 1, 1)
    np.testing.assert_allclose(volume.world([31.5, 63.5, 63.5]), [1, 2, 3])
    np.testing.assert_allclose(volume.world([-0.5, -0.5, -0.5]), [65, 66, 67])
    np.testing.assert_allclose(volume.world([63.5, 127.5, 127.5]), [-63, -62, -61])
    with pytest.raises(InputError, match="three positive"):
        geometry.canonical_affine((4, 4))


@pytest.mark.parametrize("order", [0, 1])
def test_resample_on_the_own_grid_is_exact(order):
    rng = np.random.default_rng(0)
    affine = np.eye(4)
    affine[:3] = [[0.3, 0.1, 0, 7.3], [-0.1, 0.3, 0.05, 9.1], [0, -0.05, 1.5, -30.2]]
    volume = geometry.Volume(rng.integers(-999, 999, (7, 8, 9)).astype(np.int16), affine)
    same, mask = geometry.resample(volume, affine, volume.shape, order)
    np.testing.assert_array_equal(same.array, volume.array)
    assert same.array.dtype == (np.int16 if order == 0 else np.float32)
    assert mask.all()


def test_mask_ends_half_a_voxel_outside_the_outermost_centres():
    volume = geometry.Volume(np.full((2, 2, 2), 7, np.float32), np.diag([2, 2, 2, 1]))
    target = np.diag([0.5, 2.0, 2.0, 1.0])
    target[0, 3] = -2
    out, mask = geometry.resample(volume, target, (13, 2, 2), fill=-1)
    # Centres at -2, -1.5, ..., 4 mm; the source covers -1 to 3 mm.
    np.testing.assert_array_equal(mask[:, 0, 0], [0, 0] + [1] * 9 + [0, 0])
    np.testing.assert_array_equal(out.array[:, 1, 1], [-1, -1] + [7] * 9 + [-1, -1])


def test_downsampling_is_free_of_aliasing_and_labels_are_not_smoothed():
    stripes = np.zeros((32, 4, 4), np.float32)
    stripes[::2] = 1
    volume = geometry.Volume(stripes, np.eye(4))
    target = np.diag([4.0, 1, 1, 1])
    out, _ = geometry.resample(volume, target, (8, 4, 4))
    np.testing.assert_allclose(out.array[1:-1], 0.5, atol=5e-3)
    labels, _ = geometry.resample(volume, target, (8, 4, 4), order=0)
    np.testing.assert_array_equal(labels.array, 1)


def test_resample_refuses_values_that_are_not_finite():
    volume = geometry.Volume(np.full((2, 2, 2), np.inf), np.eye(4))
    with pytest.raises(InputError, match="not finite"):
        geometry.resample(volume, np.eye(4), (2, 2, 2))


@pytest.mark.parametrize("order", [0, 1, 3])
def test_voxels_that_are_no_number_lie_outside_the_field(order):
    array = np.random.default_rng(0).normal(5, 1, (12, 10, 8)).astype(np.float32)
    gaps = np.zeros(array.shape, bool)
    gaps[:3] = gaps[:, 8:] = True
    whole = geometry.Volume(array, np.eye(4))
    holey = geometry.Volume(np.where(gaps, np.nan, array), np.eye(4))
    out, mask = geometry.resample(holey, np.eye(4), array.shape, order, fill=-1.0)
    np.testing.assert_array_equal(mask, ~gaps)
    np.testing.assert_array_equal(out.array[gaps], -1)
    np.testing.assert_allclose(out.array[~gaps], array[~gaps], atol=1e-5 if order < 3 else 2)
    # Half the resolution: no value is mixed with what lies outside.
    target = np.diag([2.0, 2.0, 2.0, 1.0])
    constant = geometry.Volume(np.where(gaps, np.nan, np.float32(7)), np.eye(4))
    out, mask = geometry.resample(constant, target, (6, 5, 4), order)
    np.testing.assert_allclose(out.array[mask], 7, rtol=1e-5)
    assert mask.sum() < geometry.resample(whole, target, (6, 5, 4), order)[1].sum()


def test_gaps_are_filled_with_the_lowest_number():
    volume = geometry.Volume(np.array([[[np.nan, 2.0, -3.0]]]), np.eye(4), ("why",))
    filled = geometry.without_gaps(volume)
    np.testing.assert_array_equal(filled.array, [[[-3, 2, -3]]])
    assert filled.doubts == ("why",)
    assert geometry.without_gaps(filled) is filled


@FEW
@given(affines(), st.tuples(*[st.floats(-0.5, 60)] * 3))
def test_world_and_index_are_inverse(affine, index):
    volume = geometry.Volume(np.zeros((60, 60, 60), np.uint8), affine)
    np.testing.assert_allclose(volume.index(volume.world(index)), index, atol=1e-9)


@FEW
@given(affines(low=17, high=30, reach=5), SIDE, CENTER)
def test_canonical_and_back_keep_world_coordinates(turned, side, center):
    """Source -> canonical -> file -> source: what lies at a place says that it lies there."""
    source_shape, shape = (13, 12, 14), (8, 9, 10)
    affine = turned.copy()
    middle = (np.array(source_shape) - 1) / 2
    affine[:3, 3] += np.array(center) - affine[:3, :3] @ middle
    for axis, field in enumerate(coordinate_fields(affine, source_shape)):
        array, mask = geometry.to_canonical(field, side, center, shape)
        back = geometry.from_canonical(array, side, center)
        known = mask[:, :, ::-1] if side == "left" else mask
        index = np.argwhere(known)
        places = field.index(back.world(index))
        inner = ((places > 0) & (places < np.array(source_shape) - 1)).all(axis=1)
        assert inner.any()
        found = back.array[tuple(index[inner].T)]
        np.testing.assert_allclose(found, back.world(index[inner])[:, axis], atol=1e-3)
        # A finer grid in the source's directions, so that nothing is smoothed on the way.
        finer = affine @ np.diag([0.4, 0.4, 0.4, 1])
        finer[:3, 3] = field.world(middle) - finer[:3, :3] @ middle
        again, inside = geometry.resample(back, finer, source_shape)
        index = np.argwhere(inside)
        near = np.floor(back.index(again.world(index))).astype(int)
        pair = [np.clip(near + step, 0, np.array(shape) - 1) for step in CUBE]
        whole = np.all([known[tuple(p.T)] for p in pair], axis=0)
        whole &= ((near >= 0) & (near < np.array(shape) - 1)).all(axis=1)
        places = [field.index(back.world(p)) for p in pair]
        whole &= np.all([(p > 0) & (p < np.array(source_shape) - 1) for p in places], axis=(0, 2))
        assert whole.any()
        found = again.array[tuple(index[whole].T)]
        np.testing.assert_allclose(found, again.world(index[whole])[:, axis], atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(affines(), st.sampled_from((".nii", ".nii.gz")))
def test_any_affine_survives_a_nifti_file(tmp_path_factory, affine, ending):
    array = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    volume = geometry.Volume(array, affine)
    path = tmp_path_factory.mktemp("nifti") / f"volume{ending}"
    io.write_nifti(path, volume)
    again = io.read_volume(path)
    np.testing.assert_array_equal(again.array, array)
    corners = np.array(np.meshgrid([0, 4], [0, 5], [0, 6])).reshape(3, -1).T
    np.testing.assert_allclose(again.world(corners), volume.world(corners), atol=1e-3)
    geometry.require_same_geometry(again, volume)


@settings(max_examples=25, deadline=None)
@given(SIDE, CENTER)
def test_canonical_volume_survives_a_nifti_file(tmp_path_factory, side, center):
    array = np.random.default_rng(0).random((4, 5, 6), np.float32)
    volume = geometry.from_canonical(array, side, center)
    path = tmp_path_factory.mktemp("canonical") / "volume.nii.gz"
    io.write_nifti(path, volume)
    again, mask = geometry.to_canonical(io.read_volume(path), side, center, array.shape)
    np.testing.assert_allclose(again, array, atol=1e-5)
    assert mask.all()


@pytest.mark.parametrize("side", geometry.SIDES)
def test_lateral_lies_at_the_left_of_the_image_for_both_sides(side):
    """A marker 10.5 mm lateral, 20.5 mm in front of and 30.5 mm above the joint's centre."""
    center = np.array([5.0, -7.0, 11.0])
    lateral = 1 if side == "right" else -1
    place = center + np.array([lateral * 10.5, 20.5, 30.5])
    affine = np.eye(4)
    affine[:3, 3] = place - [70, 70, 70]
    array = np.zeros((141, 141, 141), np.uint8)
    array[70, 70, 70] = 9
    volume = geometry.Volume(array, affine)
    canonical, _ = geometry.to_canonical(volume, side, center, (128, 128, 128), order=0)
    assert canonical.dtype == np.float32
    np.testing.assert_array_equal(np.argwhere(canonical == 9), [[43, 33, 53]])
    back = geometry.from_canonical(canonical, side, center)
    np.testing.assert_allclose(back.world(np.argwhere(back.array == 9)[0]), place, atol=1e-9)


@pytest.mark.parametrize("side", geometry.SIDES)
def test_radiograph_and_projected_volume_coincide(side):
    """A marker at the same place of the body lands in the same canonical row and column."""
    lateral = 1 if side == "right" else -1
    radiograph = np.zeros((600, 700), np.float32)
    # Displayed with the patient's right at the left: 10.5 mm lateral of column 300 in 0.25 mm.
    radiograph[200 - 61, 300 - lateral * 42] = 1
    source = geometry.Radiograph(radiograph, (0.5, 0.25), side)
    image, mask = geometry.resample_radiograph(source, (200, 300), (128, 128), order=0)
    np.testing.assert_array_equal(np.argwhere(image), [[33, 53]])
    way = geometry.radiograph_affine(source, (200, 300), (128, 128))
    np.testing.assert_allclose(way @ [33, 53, 1], [139, 300 - lateral * 42, 1])
    # 200 rows of 0.5 mm above the centre: all 64 mm; 300 columns of 0.25 mm to its left.
    assert mask.all()


def test_radiograph_on_its_own_grid_is_exact_and_the_rest_is_masked():
    rng = np.random.default_rng(1)
    source = geometry.Radiograph(rng.random((10, 8)), (8.0, 16.0), "right")
    image, mask = geometry.resample_radiograph(source, (4.5, 3.5), (16, 8))
    np.testing.assert_array_equal(image[3:13], source.array)
    np.testing.assert_array_equal(mask[:, 0], [0] * 3 + [1] * 10 + [0] * 3)
    assert (image[~mask] == 0).all()


def test_fine_radiograph_is_smoothed_before_it_is_sampled():
    stripes = np.zeros((1280, 1280), np.float32)
    stripes[:, ::2] = 1
    image, _ = geometry.resample_radiograph(
        geometry.Radiograph(stripes, (0.1, 0.1), "left"), (639.5, 639.5), (64, 64)
    )
    np.testing.assert_allclose(image[:, 1:-1], 0.5, atol=2e-3)


def test_unknown_spacing_or_side_of_a_radiograph_is_refused():
    array = np.zeros((4, 4))
    with pytest.raises(InputError, match="spacing is unknown"):
        geometry.resample_radiograph(geometry.Radiograph(array, None, "left"), (2, 2), (4, 4))
    with pytest.raises(InputError, match="side"):
        geometry.resample_radiograph(geometry.Radiograph(array, (1.0, 1.0), None), (2, 2), (4, 4))
    with pytest.raises(InputError, match="side"):
        geometry.from_canonical(np.zeros((2, 2, 2)), "l")


@FEW
@given(affines(), st.floats(-50, 50))
def test_mirroring_twice_is_the_identity(affine, x):
    volume = geometry.Volume(np.arange(24).reshape(2, 3, 4), affine)
    once = geometry.mirror_volume(volume, x)
    point = volume.world([1, 2, 3])
    np.testing.assert_allclose(once.world([1, 2, 3]), [2 * x - point[0], *point[1:]], atol=1e-9)
    twice = geometry.mirror_volume(once, x)
    np.testing.assert_allclose(twice.affine, affine, atol=1e-9)
    np.testing.assert_array_equal(twice.array, volume.array)


def test_mirrored_radiograph_changes_sides():
    radiograph = geometry.Radiograph(np.arange(6).reshape(2, 3), (1, 2), "left")
    once = geometry.mirror_radiograph(radiograph)
    np.testing.assert_array_equal(once.array, [[2, 1, 0], [5, 4, 3]])
    assert (once.side, once.spacing) == ("right", (1, 2))
    twice = geometry.mirror_radiograph(once)
    np.testing.assert_array_equal(twice.array, radiograph.array)
    assert twice.side == "left"
    assert geometry.mirror_radiograph(geometry.Radiograph(np.ones((1, 1)))).side is None


def test_a_left_knee_equals_its_mirror_image_as_a_right_knee():
    rng = np.random.default_rng(2)
    left = geometry.Volume(rng.random((9, 10, 11), np.float32), np.diag([15, 14, 13, 1]))
    center = left.world([4, 5, 5])
    a, mask_a = geometry.to_canonical(left, "left", center, (8, 8, 8))
    right = geometry.mirror_volume(left, center[0])
    b, mask_b = geometry.to_canonical(right, "right", center, (8, 8, 8))
    np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_array_equal(mask_a, mask_b)


@FEW
@given(affines())
def test_reorienting_moves_no_voxel_in_the_world(affine):
    parts = np.sort(np.abs(affine[:3, :3]) / np.linalg.norm(affine[:3, :3], axis=0), axis=0)
    assume((parts[2] - parts[1]).min() > 1e-6)  # at 45 degrees two orders are equally near
    volume = geometry.Volume(np.arange(24).reshape(2, 3, 4), affine)
    turned = geometry.reorient_ras(volume)
    assert turned.orientation == ("R", "A", "S")
    for value in (0, 13, 23):
        where = [v.world(np.argwhere(v.array == value)[0]) for v in (volume, turned)]
        np.testing.assert_allclose(where[0], where[1], atol=1e-9)


def test_differing_geometries_say_in_what():
    base = geometry.Volume(np.zeros((4, 4, 4)), np.eye(4))
    geometry.require_same_geometry(base, geometry.Volume(np.ones((4, 4, 4)), np.eye(4) + 0.0))
    moved = np.eye(4)
    moved[2, 3] = 0.5
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 1, degrees=True).as_matrix()
    cases = {
        "shape": geometry.Volume(np.zeros((4, 4, 5)), np.eye(4)),
        "spacing": geometry.Volume(np.zeros((4, 4, 4)), np.diag([1, 1.1, 1, 1])),
        "orientation": geometry.Volume(np.zeros((4, 4, 4)), turned),
        "origin": geometry.Volume(np.zeros((4, 4, 4)), moved),
    }
    for name, other in cases.items():
        with pytest.raises(InputError) as caught:
            geometry.require_same_geometry(base, other)
        assert [n for n in cases if n in str(caught.value)] == [name]
    flipped = geometry.Volume(np.zeros((4, 4, 4)), np.diag([-1, 1, 1, 1]))
    with pytest.raises(InputError, match="orientation RAS and LAS"):
        geometry.require_same_geometry(base, flipped)
