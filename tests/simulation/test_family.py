"""Tests of knees bred from an atlas, on one made of balls and blocks."""

import dataclasses

import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.datasets.knee_family import make_knee
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.simulation import atlas, family, framing, mean_knee
from xr2mri_jax.simulation.atlas import LIMIT_MM, PLATEAU_MM, SIZE, VOXEL_MM
from xr2mri_jax.simulation.mean_knee import mean_knee_distances

GAP_MM = 4.0


def made_atlas():
    """Two knees: a femur of two balls and a shaft on a tibial block, patella, fibula, menisci."""
    axis = ((np.arange(SIZE) - (SIZE - 1) / 2) * VOXEL_MM).astype(np.float32)
    d, h, w = np.meshgrid(axis, axis, axis, indexing="ij")

    def ball(centre, radius):
        return np.sqrt(sum((x - c) ** 2 for x, c in zip((d, h, w), centre, strict=True))) - radius

    def block(low, high):
        parts = [np.maximum(a - x, x - b) for x, a, b in zip((d, h, w), low, high, strict=True)]
        return np.max(parts, axis=0)

    condyles = [ball((6, -24 - GAP_MM / 2, side * 22), 24) for side in (-1, 1)]
    shaft = np.maximum(np.hypot(d, w) - 15, h + 20)
    femur = np.minimum(np.minimum(*condyles), shaft)
    half = PLATEAU_MM / 2
    tibia = block((-24, GAP_MM / 2, -half), (24, 70, half))
    found = {
        "femur": femur,
        "femoral_outer": np.where(h > -30, femur - 1.8, femur),
        "tibia": tibia,
        "tibial_outer": tibia - 1.8,
        "patella": ball((-42, -30, 0), 18),
        "patellar_outer": ball((-42, -30, 0), 20),
        "fibula": np.maximum(np.hypot(d - 20, w + 32) - 7, 15 - h),
        "medial_meniscus": ball((-10, 0, 26), 5),
        "lateral_meniscus": ball((-10, 0, -26), 5),
    }
    stacked = {
        name: np.clip(np.stack([x, x - 0.5]), -LIMIT_MM, LIMIT_MM).astype(np.float32)
        for name, x in found.items()
    }
    leg = np.hypot(d, w) < 55
    return atlas.Atlas(stacked, leg[None] * np.float32(0.6), (leg.sum(0) * 0.035)[None])


@pytest.fixture(scope="module")
def bred():
    return made_atlas()


@pytest.fixture(scope="module")
def case(bred):
    return family.draw_case(bred, 3, 5, (32, 64, 64))


def test_the_same_number_gives_the_same_knee_and_another_number_another(bred, case):
    again = family.draw_case(bred, 3, 5, (32, 64, 64))
    other = family.draw_case(bred, 3, 6, (32, 64, 64))
    for name in ("xray", "mri", "labels", "distances"):
        np.testing.assert_array_equal(case[name], again[name])
        assert (case[name] != other[name]).any()


def test_a_case_has_the_shapes_and_ranges_of_the_dataset(case):
    assert case["xray"].shape == (64, 64, 1) and case["xray"].dtype == np.uint16
    assert case["mri"].shape == (32, 64, 64, 1) and case["mask"].min() == 1
    assert case["distances"].shape == (len(NAMES), 32, 32, 32)
    assert case["distances"].dtype == np.int8
    assert set(np.unique(case["labels"])) <= set(range(11))
    assert np.ptp(case["xray"].astype(int)) > 30000


def test_labels_are_those_of_the_stored_distances(case):
    distances = case["distances"].astype(np.float32) / surfaces.STEPS
    codes = surfaces.labels(surfaces.resized(distances, case["labels"].shape, order=3))
    for name in ("femur", "tibia", "patella"):
        one, other = codes == CODES[name], case["labels"] == CODES[name]
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.98


def test_wear_narrows_the_gap_and_bones_never_meet(bred):
    gaps = {grade: [] for grade in range(5)}
    for index in range(10):
        knee = family.draw_knee(bred, np.random.default_rng(index))
        gaps[knee.grade].append(min(knee.gaps))
    worn, healthy = np.concatenate([gaps[3], gaps[4]]), np.array(gaps[0])
    assert worn.mean() < healthy.mean() - 1
    assert min(min(values) for values in gaps.values() if values) > 0


def test_the_plateau_of_every_knee_spans_the_same_width(bred):
    widths = []
    for index in range(6):
        knee = family.draw_knee(bred, np.random.default_rng(index))
        still = framing.Jitter((0.0, 0.0, 0.0), 0.0, 1.0)
        tibia = family.scan_distances(knee, still)[NAMES.index("tibia")]
        columns = np.flatnonzero((tibia[:, 36:42] < 0).any(axis=(0, 1)))
        widths.append((columns[-1] - columns[0] + 1) * 2.0)
    np.testing.assert_allclose(widths, PLATEAU_MM, atol=4.5)


@pytest.mark.parametrize("name", sorted(family.MARGIN_MM))
def test_cartilage_ends_at_its_margin_and_is_unchanged_where_it_is_thick(name):
    begun, whole = family.MARGIN_MM[name]
    thickness = np.linspace(0.0, 4.0, 401)
    found = family._with_margin(thickness, name)
    assert (found[thickness <= begun] == 0).all()
    thick = thickness >= whole
    np.testing.assert_allclose(found[thick], thickness[thick])
    assert (np.diff(found) >= 0).all() and (found <= thickness).all()


def test_the_usual_knee_has_no_random_part(bred):
    found = mean_knee_distances(bred)
    assert found.shape == (len(NAMES), 32, 32, 32) and np.abs(found).max() <= surfaces.LIMIT_MM
    np.testing.assert_array_equal(found, mean_knee_distances(bred))
    assert (found[: NAMES.index("patella")].min(axis=(1, 2, 3)) < -4).all()


def test_the_cartilage_of_the_usual_knee_is_thinner_by_its_factors(bred, monkeypatch):
    thin = mean_knee_distances(bred)
    monkeypatch.setattr(mean_knee, "THINNER", dict.fromkeys(mean_knee.THINNER, 1.0))
    whole = mean_knee_distances(bred)
    for outer, bone in surfaces.CARTILAGES:
        near = np.abs(whole[bone]) < 2
        share = (thin[bone] - thin[outer])[near].mean() / (whole[bone] - whole[outer])[near].mean()
        assert share == pytest.approx({1: 0.93, 3: 0.97, 5: 0.93}[outer], abs=0.01)
        np.testing.assert_array_equal(thin[bone], whole[bone])


def test_held_out_knees_are_framed_worse():
    usual, strange = (
        framing.Jitter.draw(np.random.default_rng(1), factor) for factor in (1.0, 2.0)
    )
    np.testing.assert_allclose(strange.shift_mm, 2 * np.array(usual.shift_mm))
    assert strange.turn == pytest.approx(2 * usual.turn)
    assert np.log(strange.scale) == pytest.approx(2 * np.log(usual.scale))


def test_a_canvas_holds_the_frame_at_the_training_knees_scale():
    frame = np.zeros((200, 200), np.float32)
    # The joint line: 0.79 of the width, 0.55 of the way down. It is 0.94 of the plateau, and the
    # joint's centre lies 2.9 mm below it and 1.8 mm to its lateral side.
    frame[108:112, 21:179] = 1.0
    image = framing.canvas(frame, 128)
    rows, columns = np.nonzero(image > 0.5)
    assert abs(rows.mean() - 63.5 + 2.9) < 0.6 and abs(columns.mean() - 63.5 - 1.8) < 0.6
    assert abs(columns.max() - columns.min() + 1 - 0.94 * PLATEAU_MM) < 1.6


def test_an_atlas_is_read_as_it_was_written(bred, tmp_path):
    atlas.save(bred, tmp_path / "atlas.npz")
    back = atlas.load(tmp_path / "atlas.npz")
    np.testing.assert_array_equal(back.signal, bred.signal)
    for name in NAMES:
        np.testing.assert_array_equal(back.distances[name], bred.distances[name])


@pytest.fixture
def built(monkeypatch, bred):
    """What atlases are built from, in place of building them."""
    calls = []

    def build(maps, sides):
        calls.append(([np.unique(one.array).tolist() for one in maps], list(sides)))
        return bred

    monkeypatch.setattr(atlas, "build", build)
    return calls


def test_maps_of_any_table_are_taken_with_the_side_that_they_do_not_tell(maps, tmp_path, built):
    files = [maps / "a.nii.gz", maps / "b.nii"]
    with pytest.raises(InputError, match=r"b\.nii: its labels do not state the side: give --side"):
        make_knee.prepared_atlas(files, tmp_path)
    kept = make_knee.prepared_atlas(files, tmp_path, "left")
    assert built == [([[0, 1, 2, 3, 5, 6], [0, 1, 2, 5, 6]], ["right", "left"])]
    assert kept.is_file() and make_knee.prepared_atlas(files, tmp_path, "left") == kept
    assert len(built) == 1
    assert make_knee.atlas_file(files, tmp_path, "right") != kept


def test_a_map_of_two_knees_gives_both(knee_labels, tmp_path, built):
    depth, height, width = knee_labels.shape
    array = np.zeros((depth, height, 2 * width + 24), np.uint8)
    array[..., :width] = knee_labels.array
    array[..., width + 24 :] = knee_labels.array[..., ::-1]
    io.write_nifti(tmp_path / "both.nii.gz", Volume(array, knee_labels.affine))
    make_knee.prepared_atlas([tmp_path / "both.nii.gz"], tmp_path)
    codes = np.unique(knee_labels.array).tolist()
    assert built == [([codes, codes], ["left", "right"])]


def test_what_is_doubtful_in_a_map_is_told(maps, tmp_path, built, monkeypatch, caplog):
    read = make_knee.read_knee
    doubtful = {"doubts": ("labels that are no part of the knee: toe",)}
    monkeypatch.setattr(make_knee, "read_knee", lambda p: dataclasses.replace(read(p), **doubtful))
    with caplog.at_level("WARNING", logger="absl"):
        make_knee.prepared_atlas([maps / "a.nii.gz"], tmp_path)
    assert [r.getMessage() for r in caplog.records] == [f"a.nii.gz: {doubtful['doubts'][0]}"]


def test_maps_of_every_format_are_bred_from_and_hidden_files_are_not(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    for name in ("a.NII.GZ", "b.mha", "c.nhdr", "c.raw", "d.seg.nrrd", "._a.nii.gz", "notes.txt"):
        (tmp_path / name).write_text(name)
    files = make_knee.map_files(tmp_path)
    assert [path.name for path in files] == ["a.NII.GZ", "b.mha", "c.nhdr", "d.seg.nrrd"]
    kept = make_knee.atlas_file(files, tmp_path)
    assert make_knee.atlas_file(files, tmp_path) == kept
    for name in ("b.mha", "c.nhdr", "c.raw"):
        (tmp_path / name).write_text("other voxels")
        kept, before = make_knee.atlas_file(files, tmp_path), kept
        assert kept != before
