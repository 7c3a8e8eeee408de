"""Tests of the knee_xray dataset: layout, preparation from made files, real files."""

import csv
import json
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from xr2mri_jax import datasets
from xr2mri_jax.datasets.knee_xray.knee_xray_dataset_builder import Builder, KneeXrayConfig
from xr2mri_jax.datasets.knee_xray.layout import list_knees
from xr2mri_jax.datasets.knee_xray.make_radiograph import (
    ListedFile,
    XrayOptions,
    make_radiograph,
)
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, Radiograph, resample_radiograph
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.phantom.bilateral import simulate_bilateral
from xr2mri_jax.preprocess.knees import DARK_BONE
from xr2mri_jax.preprocess.radiograph import spread_over_box, standardise_radiograph

KNEES = {
    "train/0/100L.png": 1,
    "train/0/100R.png": 2,
    "train/3/101R.png": 3,
    "val/2/200L.png": 4,
}


def write(root, name, seed):
    """A file u8[48, 48] of rising rows with noise."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(40, 200, 48)[:, None] + np.linspace(0, 20, 48)
    pixels = np.clip(rows + rng.normal(0, 8, (48, 48)), 0, 255).astype(np.uint8)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    for name, seed in KNEES.items():
        write(root, name, seed)
    return root


def prepare(source, data_dir, **options):
    config = KneeXrayConfig(name="made", image_shape=(32, 32))
    builder = Builder(data_dir=data_dir, config=config)
    builder.options = XrayOptions(**options)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=source),
        file_format="array_record",
    )
    return builder


def test_layout_with_splits(source):
    listings = list_knees(source)
    assert {s: [k.path.name for k in v.knees] for s, v in listings.items()} == {
        "train": ["100L.png", "100R.png", "101R.png"],
        "validation": ["200L.png"],
    }
    knee = listings["train"].knees[0]
    assert (knee.subject, knee.side, knee.kl) == ("100", "left", 0)


def test_layout_without_splits(source):
    assert {s: len(v.knees) for s, v in list_knees(source / "train").items()} == {"train": 3}


def test_more_training_radiographs_join_the_training_split_only_on_request(source):
    write(source, "train_more/4/101L.png", 0)
    assert len(list_knees(source)["train"].knees) == 3
    found = list_knees(source, more=True)
    assert [(k.subject, k.side, k.kl) for k in found["train"].knees[3:]] == [("101", "left", 4)]
    assert len(found["validation"].knees) == 1
    assert {c.name: c.more for c in Builder.BUILDER_CONFIGS}["grades224"]
    assert not {c.name: c.more for c in Builder.BUILDER_CONFIGS}["square224"]
    write(source, "train_more/1/200R.png", 0)
    with pytest.raises(InputError, match="patient 200 in validation and in train"):
        list_knees(source, more=True)


def test_more_training_radiographs_are_optional(source, tmp_path, caplog):
    assert list_knees(source, more=True) == list_knees(source)
    flat = source / "train"
    assert list_knees(flat, more=True) == list_knees(flat)
    builder = Builder(config="grades128", data_dir=tmp_path / "data")
    builder.options = builder.OPTIONS()
    for folder in (source, flat):
        assert len(builder.plan(folder).tasks["train"]) == 3
        assert caplog.messages == [
            f"{folder}: no folder train_more, train has 3 radiographs without it"
        ]
        caplog.clear()
    write(source, "train_more/4/101L.png", 0)
    assert len(builder.plan(source).tasks["train"]) == 4 and not caplog.messages


def test_a_knee_of_more_training_radiographs_is_new_and_train_is_there(source):
    write(source, "train_more/4/100L.png", 0)
    with pytest.raises(InputError, match="left knee of 100 a second time"):
        list_knees(source, more=True)
    (source / "train").rename(source / "test")
    with pytest.raises(InputError, match=r"found no folder .*train, expected train/ beside"):
        list_knees(source, more=True)


@pytest.mark.parametrize("name", ["100.png", "normaL.png", "100l.png", "100LR.txt"])
def test_a_name_without_side_is_listed(source, name):
    write(source, "train/1/7L.png", 0)
    (source / "train/1/7L.png").rename(source / "train/1" / name)
    listing = list_knees(source)["train"]
    assert len(listing.knees) == 3
    assert [path.name for path, _ in listing.broken] == [name]


def test_a_patient_in_two_splits_is_refused(source):
    write(source, "val/1/101L.png", 0)
    with pytest.raises(InputError, match="patient 101 in validation and in train"):
        list_knees(source)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("9001695_V00_L", "9001695"),
        ("9001695-V06-L", "9001695"),
        ("9001695_V06L", "9001695"),
        ("9001695_v06_L", "9001695"),
        ("9001695_12M_L", "9001695"),
        ("control_V01_L", "control_V01"),
        ("9001695_12m_L", "9001695"),
        ("9001695_00m_V00_L", "9001695"),
        ("A1_V00_2_L", "A1_2"),
        ("9001695_12_L", "9001695_12"),
        ("V001_L", "V001"),
    ],
)
def test_a_visit_is_no_part_of_the_subject(tmp_path, name, subject):
    write(tmp_path, f"2/{name}.png", 0)
    (knee,) = list_knees(tmp_path)["train"].knees
    assert (knee.subject, knee.side) == (subject, "left")
    assert knee.name == name.removesuffix("L").rstrip("_-")


def test_visits_of_one_patient_are_knees_of_their_own_but_stay_in_one_split(tmp_path):
    for name in ("train/0/7_V00_L.png", "train/1/7_V06_L.png"):
        write(tmp_path, name, 0)
    builder = prepare(tmp_path, tmp_path / "data")
    assert [e["subject"] for e in builder.as_data_source(split="train")] == [b"7", b"7"]
    assert builder.tally.usable == {"7_V00_left", "7_V06_left"}
    write(tmp_path, "train/2/7-v06-L.png", 0)
    with pytest.raises(InputError, match="left knee of 7-v06 a second time"):
        list_knees(tmp_path)
    (tmp_path / "train/2/7-v06-L.png").unlink()
    write(tmp_path, "val/1/7_12m_R.png", 0)
    with pytest.raises(InputError, match="patient 7 in validation and in train"):
        list_knees(tmp_path)


def test_a_knee_with_two_grades_is_refused(source):
    write(source, "train/4/100L.png", 0)
    with pytest.raises(InputError, match="left knee of 100 a second time"):
        list_knees(source)


def test_folders_of_another_layout_are_refused(tmp_path):
    with pytest.raises(InputError, match="found neither train/ and val/"):
        list_knees(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        list_knees(tmp_path / "absent")
    (tmp_path / "3").mkdir()
    with pytest.raises(InputError, match="no radiograph named"):
        list_knees(tmp_path)


def test_prepared_examples_equal_the_standardised_files(source, tmp_path):
    prepare(source, tmp_path / "data")
    builder = Builder(
        data_dir=tmp_path / "data", config=KneeXrayConfig(name="made", image_shape=(32, 32))
    )
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {
        "train": 3,
        "validation": 1,
    }
    found = {}
    for split in builder.info.splits:
        for example in builder.as_data_source(split=split):
            side = SIDES[example["side"]]
            found[(example["subject"].decode(), side, int(example["kl"]))] = example
    assert set(found) == {
        ("100", "left", 0),
        ("100", "right", 0),
        ("101", "right", 3),
        ("200", "left", 2),
    }
    for name, seed in KNEES.items():
        grade, subject, letter = re.search(r"/(\d)/(\d+)([LR])", name).groups()
        side = "left" if letter == "L" else "right"
        example = found[(subject, side, int(grade))]
        pixels = write(tmp_path / "again", name, seed).astype(np.float32)
        radiograph = spread_over_box(Radiograph(pixels, None, side))
        expected = standardise_radiograph(radiograph, (32, 32)).image
        assert example["xray"].dtype == np.uint16
        np.testing.assert_allclose(example["xray"] / 65535, expected, atol=1e-5)
        np.testing.assert_array_equal(example["spacing"], np.zeros(2, np.float32))


def test_an_image_with_dark_bone_is_turned_round(tmp_path):
    film = simulate_bilateral(11, 3, (560, 700), (0.6, 0.6))
    whole = Radiograph(film.image, film.spacing, "right")
    crop, _ = resample_radiograph(whole, film.places["right"].centre_px, (128, 128))
    pixels = np.rint(255 * (crop - crop.min()) / np.ptp(crop)).astype(np.uint8)
    (tmp_path / "0").mkdir()
    Image.fromarray(pixels).save(tmp_path / "0" / "1R.png")
    Image.fromarray(255 - pixels).save(tmp_path / "0" / "2R.png")
    found = {
        example["subject"].decode(): example
        for example in prepare(tmp_path, tmp_path / "data").as_data_source(split="train")
    }
    assert {name: int(e["inverted"]) for name, e in found.items()} == {"1": 0, "2": 1}
    images = [found[name]["xray"] / 65535 for name in ("1", "2")]
    np.testing.assert_allclose(images[0], images[1], atol=1e-4)


def test_a_film_without_a_knee_and_a_wrong_side_are_doubts_and_upside_down_is_unusable(tmp_path):
    film = simulate_bilateral(11, 3, (560, 700), (0.6, 0.6))
    whole = Radiograph(film.image, film.spacing, "right")
    crop, _ = resample_radiograph(whole, film.places["right"].centre_px, (128, 128))
    pixels = np.rint(255 * (crop - crop.min()) / np.ptp(crop)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8)
    named = {"1R": pixels, "2R": noise, "3L": pixels, "4R": pixels[::-1, ::-1]}
    (tmp_path / "0").mkdir()
    for name, image in named.items():
        Image.fromarray(image).save(tmp_path / "0" / f"{name}.png")
    report = tmp_path / "report.csv"
    builder = datasets.prepare(
        "knee_xray", tmp_path / "data", source=tmp_path, options={"max_broken": 0.5}, report=report
    )
    with report.open(newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    turned = str(tmp_path / "0" / "4R.png")
    assert {key: row["status"] for key, row in rows.items()} == {
        "2_right": "used", "3_left": "used", turned: "unusable",
    }  # fmt: skip
    assert "found an upside-down image, expected an upright one" in rows[turned]["detail"]
    assert rows["2_right"]["detail"].startswith("no knee was found in the radiograph")
    assert rows["2_right"]["detail"].endswith("the middle of the image was used")
    assert rows["3_left"]["detail"].startswith("the file's name says left, but the image looks")
    assert "1 of 4 files could not be used" in builder.report
    assert "2 of 4 files are used with doubts" in builder.report


def test_real_crops_are_used_without_doubts(real_data):
    knees = list_knees(real_data / "knee_xray_kl")["validation"].knees[::20]
    outcomes = [
        outcome
        for knee in knees
        for outcome in make_radiograph((32, 32), {}, ListedFile(knee.path, knee))
    ]
    assert len(outcomes) == 42 and all(outcome.example is not None for outcome in outcomes)
    assert {doubt for outcome in outcomes for doubt in outcome.doubts} <= {DARK_BONE}


def test_broken_files_are_listed_and_borne(source, tmp_path):
    (source / "train/1").mkdir()
    (source / "train/1/300L.png").write_bytes(b"no image")
    builder = prepare(source, tmp_path / "data", max_broken=0.25)
    assert builder.info.splits["train"].num_examples == 3
    with open(builder.data_path / "report.csv", newline="") as file:
        (broken,) = (row for row in csv.DictReader(file) if row["status"] == "unusable")
    assert broken["key"].endswith("300L.png") and broken["reason"] == "radiograph_broken"
    assert "unknown kind of file" in broken["detail"]
    assert "1 of 5 files could not be used" in builder.report and "300L.png" in builder.report
    made = json.loads((builder.data_path / "preparation.json").read_text())
    assert made["options"] == {"clahe": None, "max_broken": 0.25}
    assert (made["items"], made["unusable"]) == (5, 1)


def test_too_many_broken_files_stop_and_leave_nothing(source, tmp_path):
    (source / "train/1").mkdir()
    (source / "train/1/300L.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 of 5 files unusable, expected at most 1.0%"):
        prepare(source, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_several_processes_make_the_same_records(source, tmp_path):
    alone = prepare(source, tmp_path / "alone")
    many = datasets.prepare("knee_xray/square128", tmp_path / "many", num_workers=2, source=source)
    one = datasets.prepare("knee_xray/square128", tmp_path / "one", source=source)
    assert alone.info.splits["train"].num_examples == 3
    for split in ("train", "validation"):
        pairs = zip(many.as_data_source(split), one.as_data_source(split), strict=True)
        for first, second in pairs:
            assert first["subject"] == second["subject"]
            np.testing.assert_array_equal(first["xray"], second["xray"])


def test_equalisation_is_applied_and_other_options_need_another_place(source, tmp_path):
    plain = datasets.prepare("knee_xray", tmp_path / "plain", source=source)
    options = {"clahe": (0.02, 32.0)}
    equal = datasets.prepare("knee_xray", tmp_path / "equal", source=source, options=options)
    images = [next(iter(b.as_data_source("validation")))["xray"] for b in (plain, equal)]
    assert np.abs(np.subtract(*images, dtype=float)).mean() > 500
    datasets.prepare("knee_xray", tmp_path / "equal", source=source, options=options)
    with pytest.raises(InputError, match=r"prepared with --clahe=\[0.02, 32.0\], asked for None"):
        datasets.prepare("knee_xray", tmp_path / "equal", source=source)
    with pytest.raises(InputError, match="--sequence: knee_xray has no such option"):
        datasets.prepare("knee_xray", tmp_path / "equal", options={"sequence": "dess"})


def test_prepared_and_loaded_by_name(source, tmp_path):
    datasets.prepare("knee_xray/square128", tmp_path / "data", source=source)
    builder = datasets.load_builder("knee_xray", tmp_path / "data")
    examples = list(builder.as_data_source(split="validation"))
    assert [e["xray"].shape for e in examples] == [(128, 128, 1)]
    assert int(examples[0]["kl"]) == 2 and int(examples[0]["side"]) == SIDES.index("left")


@pytest.mark.parametrize("given", [None, "absent", "empty"])
def test_a_source_without_files_is_refused(tmp_path, given):
    (tmp_path / "empty").mkdir()
    source = None if given is None else tmp_path / given
    with pytest.raises(InputError, match="--source: found no folder with files"):
        datasets.prepare("knee_xray", tmp_path / "data", source=source)
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


def test_configurations_have_their_sizes(tmp_path):
    shapes = {
        config: Builder(data_dir=tmp_path, config=config).info.features["xray"].shape
        for config in ("square128", "square224")
    }
    assert shapes == {"square128": (128, 128, 1), "square224": (224, 224, 1)}


def test_real_radiographs_are_all_found(real_data):
    listings = list_knees(real_data / "knee_xray_kl")
    counts = {
        split: [sum(k.kl == grade for k in listing.knees) for grade in range(5)]
        for split, listing in listings.items()
    }
    assert counts == {"train": [1200, 60, 1200, 60, 60], "validation": [328, 153, 212, 106, 27]}
    assert sum(map(sum, counts.values())) == 3406


def test_real_radiographs_are_standardised(real_data):
    for listing in list_knees(real_data / "knee_xray_kl").values():
        for knee in listing.knees[:: len(listing.knees) // 3]:
            radiograph = spread_over_box(read_radiograph(knee.path, side=knee.side))
            image = standardise_radiograph(radiograph, (128, 128)).image
            assert image.shape == (128, 128, 1)
            assert image.min() == 0 and image.max() == 1
            assert 0.3 < image.mean() < 0.85
            assert image.std() > 0.15
