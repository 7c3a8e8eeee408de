"""Bones of known difference, compared in both protocols."""

from types import SimpleNamespace

import numpy as np
import pytest
from layered_knees import LAYER_MM, VOXEL_MM, made_knee
from made_uncertainty import uncertainty
from scipy.spatial.transform import Rotation

from xr2mri_jax.evaluation.real_pairs import intervals, measure, retrieval
from xr2mri_jax.evaluation.real_pairs.compare import Target, compare
from xr2mri_jax.evaluation.real_pairs.joint import joint_values
from xr2mri_jax.evaluation.real_pairs.knee import FULL, Bone, as_bytes, centred, knee_of
from xr2mri_jax.evaluation.real_pairs.knees import predict_knees
from xr2mri_jax.evaluation.real_pairs.mean_shape import MeanShapes, bone_of, signed_distances
from xr2mri_jax.evaluation.real_pairs.protocol import (
    ALIGNMENTS,
    BONES,
    CLOSED,
    CUBE,
    METRICS,
    OPEN,
    PROTOCOLS,
)
from xr2mri_jax.geometry import Volume, canonical_affine, mirror_volume
from xr2mri_jax.inference.label_prediction import LabelPrediction, LabelPredictor
from xr2mri_jax.inference.uncertainty.of_prediction import TRACED_OFF_MM
from xr2mri_jax.metrics.alignment import Similarity
from xr2mri_jax.metrics.box import Box
from xr2mri_jax.metrics.surfaces import surface_of
from xr2mri_jax.phantom.tissues import CODES

GRID = (128, 128, 128)


def points():
    grid = Volume(np.zeros(GRID, np.uint8), canonical_affine(GRID))
    return grid.world(np.moveaxis(np.indices(GRID), 0, -1))


def pear(turn=None, size=1.0, shift=(0, 0, 0), tail=70.0) -> Bone:
    """An ellipsoid with an oval shaft that leaves the field upwards."""
    at = (points() - np.asarray(shift, float)) / size
    at = at if turn is None else at @ turn
    x, y, z = np.moveaxis(at, -1, 0)
    head = (x / np.where(x > 0, 36, 28)) ** 2 + (y / 25) ** 2 + (z / 20) ** 2
    stem = np.where((z > 0) & (z < tail), (x / 17) ** 2 + ((y - 3) / 11) ** 2, 9)
    level = np.minimum(head, stem)
    occupied = Volume(np.clip(0.5 + 8 * (1 - level), 0, 1).astype(np.float32),
                      canonical_affine(GRID))  # fmt: skip
    return Bone(surface_of(occupied), as_bytes(occupied), Box.around(64.0))


@pytest.fixture(scope="module")
def target():
    return Target(pear(), CUBE)


def test_a_bone_equals_itself(target):
    found = compare(pear(), target).scores
    assert set(found) == set(PROTOCOLS) and set(found[CLOSED]) == set(ALIGNMENTS)
    for protocol in PROTOCOLS:
        for alignment in ALIGNMENTS:
            one = found[protocol][alignment]
            assert set(one) == set(METRICS)
            assert (one["dice"], one["nsd"]) == pytest.approx((1, 1), abs=0.003)
            assert (one["assd"], one["hd95"], one["hd"]) == pytest.approx((0, 0, 0), abs=0.3)


def test_a_known_pose_and_size_are_found_and_taken_out(target):
    turn = Rotation.from_rotvec(np.radians([6, -5, 4])).as_matrix()
    found = compare(pear(turn, 1.1, (2, -3, 1)), target)
    fit = found.fits[OPEN]["similarity"]
    assert fit.scale == pytest.approx(1 / 1.1, abs=0.004)
    assert fit.angle_deg() == pytest.approx(np.linalg.norm([6, -5, 4]), abs=0.4)
    scores = found.scores[OPEN]
    assert scores["similarity"]["assd"] < 0.1 < 1 < scores["rigid"]["assd"]
    assert scores["rigid"]["assd"] < scores["centred"]["assd"]
    assert scores["similarity"]["dice"] > 0.99


def test_cut_faces_count_in_the_closed_protocol_alone(target):
    """A bone 4 mm up: rigid alignment takes it back, but it was cut 4 mm farther down."""
    found = compare(pear(shift=(0, 0, 4)), target).scores
    assert found[OPEN]["rigid"]["assd"] < 0.05
    assert found[OPEN]["rigid"]["hd"] < 0.6
    assert found[CLOSED]["rigid"]["hd"] > 2
    assert 0.05 < found[CLOSED]["rigid"]["assd"] < 0.9


def test_a_map_that_ends_early_is_compared_as_far_as_it_reaches():
    """A true map that ends at z = 20 and a whole prediction: the stem above counts nowhere."""
    field = Box(CUBE.low, np.array([48.0, 48, 20]))
    whole = pear()
    array = np.where(points()[..., 2] < 24, whole.occupied.array, 0).astype(np.float32) / FULL
    short = Volume(array, whole.occupied.affine)
    ended = Bone(surface_of(short), as_bytes(short), Box(whole.known.low, np.array([64.0, 64, 20])))
    found = compare(whole, Target(ended, field)).scores
    for protocol in PROTOCOLS:
        for alignment in ALIGNMENTS:
            assert found[protocol][alignment]["assd"] < 0.1
            assert found[protocol][alignment]["dice"] > 0.99


def test_fewer_points_give_the_same_means(target):
    other = pear(size=1.06, shift=(1, 0, -2))
    all_points, some = compare(other, target).scores, compare(other, target, 1500).scores
    for protocol in PROTOCOLS:
        for alignment in ALIGNMENTS:
            for metric, tolerance in (("assd", 0.03), ("hd95", 0.15), ("nsd", 0.06)):
                first = all_points[protocol][alignment][metric]
                assert some[protocol][alignment][metric] == pytest.approx(first, abs=tolerance)


def test_the_mean_of_two_spheres_lies_between_them():
    def ball(radius):
        away = np.linalg.norm(points(), axis=-1)
        occupied = Volume(np.clip(0.5 + (radius - away), 0, 1).astype(np.float32),
                          canonical_affine(GRID))  # fmt: skip
        return Bone(surface_of(occupied), as_bytes(occupied), Box.around(64.0))

    maps = [signed_distances(ball(radius)) for radius in (20.0, 30.0)]
    assert maps[0][32, 32, 32] < -15 and maps[0][0, 32, 32] > 35
    found = bone_of(np.mean(maps, axis=0))
    assert np.linalg.norm(found.surface.points, axis=1) == pytest.approx(25, abs=0.2)
    grown = found.scaled(1.2)
    assert np.linalg.norm(grown.surface.points, axis=1) == pytest.approx(30, abs=0.3)
    assert grown.surface.areas.sum() == pytest.approx(4 * np.pi * 30**2, rel=0.02)


@pytest.fixture(scope="module")
def knees():
    return [knee_of(made_knee(width, 5.0 - i), "right") for i, width in enumerate((66.0, 72, 78))]


def test_a_knee_that_ignores_the_radiograph_is_never_retrieved(knees):
    targets = [{bone: Target(knee.bones[bone], knee.field) for bone in BONES} for knee in knees]
    crossed = measure._crossed([knees[0]] * len(knees), targets)
    distances = {name: measure._distances(crossed, name) for name in PROTOCOLS}
    found = retrieval.summary(distances, ["a", "b", "c"], 0)
    for protocol in PROTOCOLS:
        for alignment in ALIGNMENTS:
            ranked = found[protocol][alignment]["relative"]
            assert (ranked["top1"], ranked["mean_rank"]) == (0, len(knees))


def test_a_knee_is_measured_in_mm(knees):
    # The percentiles 1 and 99 of an oval lie inside its ends.
    widths = [knee.width_mm for knee in knees]
    assert widths == pytest.approx([0.91 * 66, 0.91 * 72, 0.91 * 78], abs=1.0)
    assert [knee.space_mm["medial"] for knee in knees] == pytest.approx([5, 4, 3], abs=VOXEL_MM / 2)
    assert [knee.space_mm["lateral"] for knee in knees] == pytest.approx(
        [6, 6, 6], abs=VOXEL_MM / 2
    )
    assert knees[1].plates["tibial_medial"].thickness_mm == pytest.approx(LAYER_MM, abs=0.3)


def test_a_cartilage_that_the_true_map_does_not_label_is_unknown(knees):
    """The made knees have a patella without cartilage; one map has no femoral cartilage either."""
    made = made_knee(72.0, 4.0)
    array = np.where(made.array == CODES["femoral_cartilage"], 0, made.array).astype(np.uint8)
    # Without medial cartilage, but with lateral one of the same structure, the plateau is bare.
    array[array == CODES["medial_tibial_cartilage"]] = 0
    partial = knee_of(Volume(array, made.affine), "right")
    assert set(partial.plates) == {"tibial_medial", "tibial_lateral"}
    found = joint_values([knees[1], partial], [partial, knees[1]])
    for quantity in ("volume_ml", "thickness_mm", "area_cm2"):
        for both in found[f"patellar_{quantity}"]:
            assert np.isnan(both).all()
        true, predicted = found[f"femoral_medial_{quantity}"]
        assert true[0] > 0 and predicted[0] == 0 and np.isnan([true[1], predicted[1]]).all()
        true, predicted = found[f"tibial_medial_{quantity}"]
        assert true[1] == 0 and predicted[1] > 0


def test_cartilage_outside_of_the_field_of_the_bones_counts():
    """A patella 50 mm in front of the joint, where large knees have theirs."""
    made = made_knee(72.0, 4.0)
    array = np.where(made.array == CODES["patella"], 0, made.array).astype(np.uint8)
    x, y, z = np.moveaxis(made.world(np.moveaxis(np.indices(array.shape), 0, -1)), -1, 0)
    centre = centred(made, "right")[1].centre
    x, y, z = x - centre[0], y - centre[1], z - centre[2]
    plate = (np.abs(x) < 15) & (np.abs(z - 10) < 15)
    array[plate & (y > 50) & (y < 58)] = CODES["patella"]
    array[plate & (y > 47) & (y <= 50)] = CODES["patellar_cartilage"]
    found = knee_of(Volume(array, made.affine), "right").plates["patellar"]
    layer = array == CODES["patellar_cartilage"]
    depth, height, width = (VOXEL_MM * np.ptp(axis) + VOXEL_MM for axis in np.nonzero(layer))
    assert found.volume_ml == pytest.approx(depth * height * width / 1000, rel=0.05)
    assert found.area_cm2 == pytest.approx(height * width / 100, rel=0.1)
    assert found.thickness_mm == pytest.approx(depth, abs=0.3)


def test_the_own_subject_is_left_out_of_the_mean_and_widths_are_reached(knees):
    means = MeanShapes(knees, ["a", "b", "c"])
    mean = means.without("b")
    assert mean.width_mm == pytest.approx((knees[0].width_mm + knees[2].width_mm) / 2)
    target = Target(knees[1].bones["tibia"], knees[1].field)
    assert compare(mean.bones["tibia"], target).scores[OPEN]["centred"]["assd"] < 0.5
    alone = MeanShapes(knees[:2], ["a", "b"]).without("b")
    far = compare(alone.bones["tibia"], target).scores[OPEN]["centred"]["assd"]
    scaled = alone.of_width(knees[1].width_mm)["tibia"]
    assert compare(scaled, target).scores[OPEN]["centred"]["assd"] < far / 2


def test_the_mean_of_one_bone_in_many_poses_and_sizes_is_that_bone(target):
    """Averaged without alignment, they would be 0.12 mm from it, and 0.10 mm after alignment."""
    turns = [(8, 0, 0), (-8, 0, 0), (0, 0, 7), (0, 0, -7), (0, 6, 0), (0, -6, 0)]
    sizes = [0.9, 1.0, 1.12, 1.0, 1.0, 1.0]
    bones = [
        pear(Rotation.from_euler("xyz", turn, degrees=True).as_matrix(), size)
        for turn, size in zip(turns, sizes, strict=True)
    ]
    knees = [
        SimpleNamespace(width_mm=70 * size, bones=dict.fromkeys(BONES, bone))
        for size, bone in zip(sizes, bones, strict=True)
    ]
    mean = MeanShapes(knees, [*"abcdef"]).without(None)
    found = compare(mean.bones["femur"], target)
    assert found.scores[OPEN]["similarity"]["assd"] < 0.05
    assert found.scores[OPEN]["centred"]["assd"] < 0.06
    assert found.fits[OPEN]["similarity"].scale == pytest.approx(1.0, abs=0.005)
    assert found.fits[OPEN]["similarity"].angle_deg() < 0.2


def test_a_left_knee_is_mirrored():
    right = made_knee(lean=12.0)
    left = mirror_volume(right, 0.0)
    first, second = knee_of(right, "right"), knee_of(left, "left")
    target = Target(first.bones["femur"], first.field)
    found = compare(second.bones["femur"], target).scores
    assert found[OPEN]["centred"]["assd"] < 0.2
    assert second.space_mm == pytest.approx(first.space_mm, abs=0.3)


def test_intervals_of_a_scaled_box_are_looked_up_in_the_box_and_scaled(tmp_path):
    """As `predict` does where a spacing is stated; half-widths grow along the box's height."""
    scale, made = 1.25, uncertainty()
    pair = SimpleNamespace(subject="a", side="right", xray=tmp_path / "a.png")
    labels = np.roll(made_knee(66.0, 4.0).array, 6, axis=1)  # the joint is 8 mm lower in the box
    labels[:, :6] = 0
    answer = LabelPrediction(labels, (scale * VOXEL_MM,) * 3, np.zeros((8, 8), np.uint8))
    (knee,) = predict_knees([pair], LabelPredictor(lambda *_: answer, {}, "made", made))
    assert knee.scale == pytest.approx(scale)
    assert made.surfaces is not None
    rows = made.surfaces.half_width.shape[2]
    height_mm = (0.5 - (np.arange(rows) + 0.5) / rows) * 128  # of the middle of a block, upwards
    made.surfaces.half_width[:] = (5 + 0.05 * height_mm)[None, None, :, None]
    values = {name: (np.array([2.0]), np.array([2.0])) for name in joint_values([knee], [knee])}
    # Without the scale the interval of true minus predicted is -0.5 to 0.25 mm.
    values["femoral_medial_thickness_mm"] = np.array([2.3]), np.array([2.0])
    values["joint_space_medial_mm"] = np.array([4.6]), np.array([2.0])
    fits = {bone: {OPEN: dict.fromkeys(ALIGNMENTS, Similarity())} for bone in BONES}
    seen = intervals.summary(
        SimpleNamespace(true=[knee], predicted=[knee], fits=[fits], pairs=[pair], joint=values),
        made,
        0,
    )
    femur = knee.bones["femur"].surface
    upwards = (femur.points[:, 2] + knee.centre[2]) / scale
    expected = scale * np.average(5 + 0.05 * upwards, weights=femur.areas)
    assert knee.centre[2] < -5 * scale
    assert seen["bones"]["femur"]["half_width_mm"] == pytest.approx(expected, rel=0.01)
    plate = seen["quantities"]["femoral_medial_thickness_mm"]
    assert (plate["low_mm"], plate["high_mm"]) == pytest.approx((-0.5 * scale, 0.25 * scale))
    assert plate["coverage"]["mean"] == 1.0
    space = seen["quantities"]["joint_space_medial_mm"]
    assert space["high_mm"] == TRACED_OFF_MM["medial"] and space["coverage"]["mean"] == 0.0
