"""Tests of radiographs with the signs of a grade, on an atlas made of balls and blocks."""

import numpy as np
import pytest
from test_family import made_atlas

from xr2mri_jax import datasets
from xr2mri_jax.datasets.knee_family import make_knee
from xr2mri_jax.simulation import atlas, family_radiographs, osteophytes, projection
from xr2mri_jax.simulation.signs import Signs

PIXEL = 1.0


@pytest.fixture(scope="module")
def bred():
    return made_atlas()


@pytest.fixture(scope="module")
def taken(bred):
    return family_radiographs.draw_radiographs(bred, 3, 5, 32)


def test_every_grade_of_a_knee_has_a_framed_radiograph(taken):
    assert [example["kl"] for example in taken] == [0, 1, 2, 3, 4]
    assert {example["subject"] for example in taken} == {"family3_000005"}
    for example in taken:
        assert example["xray"].shape == (32, 32, 1) and example["xray"].dtype == np.uint16
        assert np.ptp(example["xray"].astype(int)) > 50000
        assert 2.0 < example["spacing"][0] == example["spacing"][1] < 4.0


def test_the_same_number_gives_the_same_radiographs_and_another_number_others(bred, taken):
    again, other = (family_radiographs.draw_radiographs(bred, 3, index, 32) for index in (5, 6))
    for one, same, different in zip(taken, again, other, strict=True):
        np.testing.assert_array_equal(one["xray"], same["xray"])
        assert (one["xray"] != different["xray"]).any()


def test_signs_grow_with_the_grade():
    drawn = [
        [Signs.draw(grade, np.random.default_rng(seed)) for seed in range(40)] for grade in range(5)
    ]
    left = [np.mean([signs.left.min() for signs in row]) for row in drawn]
    longest = [
        np.array([max(v.max() for v in signs.osteophytes.values()) for signs in row])
        for row in drawn
    ]
    sclerosis = [np.mean([signs.sclerosis.max() for signs in row]) for row in drawn]
    assert (np.diff(left) < 0).all() and (np.diff(sclerosis) > 0).all()
    assert (np.diff([values.mean() for values in longest]) > 0).all()
    assert longest[0].max() < 0.4 and longest[2].min() > 1.0
    assert (np.diff([np.mean([signs.spines for signs in row]) for row in drawn]) > 0).all()


def tibia():
    """f32[8, 40, 60]: the distance in mm from a block below row 20, columns 10 to 49."""
    rows, columns = np.meshgrid(np.arange(40.0), np.arange(60.0), indexing="ij")
    outside = np.maximum(20 - rows, np.maximum(10 - columns, columns - 49)) - 0.5
    return np.repeat(outside[None], 8, axis=0).astype(np.float32)


def test_the_corners_of_a_block_are_found_on_both_sides():
    outline = tibia()[0] < 0
    assert osteophytes.corner(outline, "tibia", 1, PIXEL) == (20, 49)
    assert osteophytes.corner(outline, "tibia", -1, PIXEL) == (20, 10)
    assert osteophytes.corner(outline[::-1], "femur", 1, PIXEL) == (19, 49)
    assert osteophytes.corner(outline & False, "tibia", 1, PIXEL) is None


def test_a_lip_grows_at_its_corner_alone():
    before, grown = tibia(), tibia()
    osteophytes.grow(grown, "tibia", np.array([5.0, 0.0]), (3.0, PIXEL), np.random.default_rng(1))
    added = ((grown < 0) & (before >= 0)).any(axis=0)
    rows, columns = np.nonzero(added)
    assert columns.max() >= 52 and columns.min() > 40
    assert rows.min() > 12 and rows.max() < 28
    assert (grown <= before).all()


def test_the_spines_rise_as_two_tubercles_beside_the_middle():
    before, raised = tibia(), tibia()
    osteophytes.raise_spines(raised, 4.0, PIXEL, np.random.default_rng(0))
    added = ((raised < 0) & (before >= 0)).any(axis=0).sum(axis=0)
    reached = np.flatnonzero(added)
    assert 15 < reached.min() < 29 and 30 < reached.max() < 45
    middle = 30
    left, right = added[:middle].max(), added[middle:].max()
    assert added[middle - 1 : middle + 1].max() < min(left, right) <= max(left, right) <= 5
    osteophytes.raise_spines(before, 0.0, PIXEL, np.random.default_rng(0))
    np.testing.assert_array_equal(before, tibia())


def test_bone_is_denser_under_the_joint_and_sclerosis_adds_to_it_on_its_side():
    across = projection._across(np.array([2.0, 0.5]), PIXEL, 60)
    assert across[47] == pytest.approx(2.0, rel=0.02) and across[12] == pytest.approx(0.5, rel=0.05)
    added = projection._under_joint(tibia(), "tibia", PIXEL, [(across, 1.5)])
    assert added[4, 21, 40] > 3 * added[4, 25, 40] > 0
    assert added[4, 21, 40] > 2 * added[4, 21, 20] > 0
    upside_down = projection._under_joint(tibia(), "femur", PIXEL, [(across, 1.5)])
    assert upside_down[4, 21, 40] == 0


@pytest.mark.parametrize(("bone", "height_mm"), [("femur", -29.0), ("tibia", 18.0)])
def test_the_scar_of_a_growth_plate_is_a_thin_sheet_at_its_height(bone, height_mm):
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scar = projection._scar(
            bone, np.eye(3), np.zeros(3), (4, 100, 30), (12.0, 100.0, 30.0), rng
        )
        assert scar.max() > 0.8 and (scar > 0.3).mean() < 0.05
        found.append(int(scar[2, :, 15].argmax()) - 49.5)
    assert np.mean(found) == pytest.approx(height_mm, abs=2.5) and np.std(found) > 1


def test_the_dataset_has_every_grade_of_every_knee_and_no_volumes(bred, tmp_path):
    source, folder = tmp_path / "maps", tmp_path / "data"
    source.mkdir()
    folder.mkdir()
    (source / "knee.nii").write_bytes(b"its atlas is kept")
    atlas.save(bred, make_knee.atlas_file([source / "knee.nii"], folder))
    builder = datasets.prepare("knee_family/smoke_radiographs", str(folder), 1, str(source))
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 5,
        "validation": 5,
    }
    examples = list(builder.as_data_source(split="train"))
    assert sorted(int(example["kl"]) for example in examples) == [0, 1, 2, 3, 4]
    assert "mri" not in examples[0] and examples[0]["xray"].shape == (32, 32, 1)


def test_a_knee_that_cannot_be_drawn_is_listed_once_for_each_grade(bred, tmp_path, monkeypatch):
    def broken(*arguments):
        raise ValueError("no plateau")

    kept = tmp_path / "atlas.npz"
    atlas.save(bred, kept)
    monkeypatch.setattr(family_radiographs, "draw_radiographs", broken)
    outcomes = make_knee.make_radiographs(kept, 0, 32, True, 7)
    assert [one.key for one in outcomes] == [f"knee_0000007_{kl}" for kl in range(5)]
    assert {one.detail for one in outcomes} == {"ValueError: no plateau"}
