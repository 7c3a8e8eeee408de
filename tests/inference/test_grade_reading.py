"""The grade and the probability: readings, table, page and pictures of a model of five grades."""

import csv
import dataclasses
import io
import json

import made_grader
import numpy as np
import pytest
import strange_models
from PIL import Image
from scipy import special

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import ship_grader
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference import grade as grading
from xr2mri_jax.inference import grade_page, grade_reading, model_arrays, model_files, volume_grade
from xr2mri_jax.inference.framing import frame_knees
from xr2mri_jax.inference.grade_output import GradeOutput
from xr2mri_jax.inference.knee_grader import file_format, load
from xr2mri_jax.inference.knee_grader.network import Network, early_probability
from xr2mri_jax.inference.knee_picture import GAP, LINE
from xr2mri_jax.metrics import conformal
from xr2mri_jax.metrics.calibration import Scaling
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST
from xr2mri_jax.presentation import pages
from xr2mri_jax.stages import packaged_grader
from xr2mri_jax.tools.benchmarks.knee_finder import films


@pytest.fixture(scope="module")
def five():
    return made_grader.grader_of_five()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of one radiograph that can be graded and one that cannot."""
    root = tmp_path_factory.mktemp("knees")
    film, _ = next(films(1, 64))
    (knee,) = frame_knees(Radiograph(film.image), (128, 128), DEFAULT_CONTRAST, KneeRequest("left"))
    Image.fromarray(np.rint(knee.displayed * 255).astype(np.uint8)).save(root / "1L.png")
    (root / "2x.png").write_text("no image")
    return root


@pytest.fixture
def shipped(five, tmp_path, monkeypatch):
    """Models of random numbers stand for both of the package."""
    for name, one in (("SHIPPED", made_grader.grader()), ("SHIPPED_GRADES", five)):
        (tmp_path / name).mkdir()
        file_format.write(tmp_path / name, one)
        monkeypatch.setattr(load, name, tmp_path / name)
    return tmp_path


def test_a_reading_by_hand(five):
    logits = np.log([[0.1, 0.2, 0.4, 0.2, 0.1], [0.9, 0.04, 0.03, 0.02, 0.01]])
    calibrated = dataclasses.replace(
        five,
        calibration=dataclasses.replace(five.calibration, temperature=1.0, set_limits=[0.5] * 5),
    )
    first, second = grade_reading.readings(logits, calibrated)
    assert (first.grade, first.grade_set) == (2, (1, 2)) and first.text == "2 (1 or 2)"
    assert first.expected_grade == pytest.approx(2.0)
    assert second.grade_set == (0,) and second.text == "0"
    assert second.probabilities == pytest.approx(dict(enumerate((0.9, 0.04, 0.03, 0.02, 0.01))))
    moved = dataclasses.replace(
        calibrated.calibration, offsets=[0.0, np.log(4), 0.0, 0.0, 0.0], prevalence=[0.2] * 5
    )
    (first, _) = grade_reading.readings(logits, dataclasses.replace(five, calibration=moved))
    assert first.grade == 1 and first.probabilities[1] == pytest.approx(0.8 / 1.6)
    (bare, _) = grade_reading.readings(logits, dataclasses.replace(five, calibration=None))
    assert bare.grade_set is None and bare.text == "2"


def test_what_is_written_of_five_grades_is_read(five, tmp_path):
    file_format.write(tmp_path, five)
    read = file_format.read(tmp_path)
    assert read.calibration == five.calibration and read.grades == five.grades
    noise = np.random.default_rng(2).random((3, 32, 32, 1), np.float32)
    np.testing.assert_array_equal(Network(read, 4)(noise)[0], Network(five, 4)(noise)[0])
    limitless = dataclasses.replace(five.calibration, set_limits=None)
    file_format.write(tmp_path, dataclasses.replace(five, calibration=limitless))
    with pytest.raises(InputError, match=r"calibration.set_limits: .* found 5 grades"):
        file_format.read(tmp_path)


def test_the_shipped_model_tells_the_grade_and_the_probability(shipped, folder, five):
    output = GradeOutput.of(shipped / "o.csv", html=shipped / "o.html")
    row, refused = grading.grade(folder, output)
    alone = grading.grade(folder, GradeOutput.of(shipped / "b.csv"), load.EARLY)[0]
    assert row.probability != alone.probability and alone.reading is None
    assert refused.reading is None
    with (shipped / "o.csv").open(newline="") as file:
        cells, empty = csv.DictReader(file)
    (knee,) = grading.framed_knees(folder / "1L.png", five, grading.GradeOptions(), False)
    probability = special.softmax(Network(five, 1)(knee.image[None])[0] / 1.5, axis=1)
    told = [float(cells[f"probability_{grade}"]) for grade in range(5)]
    np.testing.assert_allclose(told, probability[0], atol=1e-5)
    assert cells["grade"] == str(probability[0].argmax())
    assert float(cells["expected_grade"]) == pytest.approx(probability[0] @ np.arange(5), abs=1e-3)
    wanted = np.flatnonzero(conformal.sets(probability, [0.6] * 5)[0])
    assert cells["grade_set"] == " ".join(map(str, wanted))
    assert empty["grade"] == empty["probability_0"] == empty["grade_set"] == ""
    text = (shipped / "o.html").read_text()
    assert "volume&#39;s grade" not in text and "joint space, medial" in text
    assert row.reading.text in text and "the most likely one of 0 to 4" in text
    blocks = np.asarray(Image.open(row.picture.with_stem(row.picture.stem + "_blocks")))
    assert blocks.shape == (32 + LINE, 6 * 32 + 5 * GAP, 3)
    assert blocks[32:].max() > 200  # titles
    by_grade = np.asarray(Image.open(row.picture.with_stem(row.picture.stem + "_grades")))
    assert by_grade.shape == (32 + 2 * LINE, 5 * 32 + 4 * GAP, 3)
    titles, grade = by_grade[32 : 32 + LINE], by_grade[32 + LINE :]
    assert titles.max() > 200 and grade.max() > 200
    assert text.count('loading="lazy"') == 2 and "1L_left_grades.png" in text


def test_the_probability_compares_grade_2_and_more_with_the_lowest(shipped, folder, five):
    moved = dataclasses.replace(
        five.calibration, offsets=[0.0, -0.4, 0.7, 0.1, 0.9], prevalence=[0.3, 0.2, 0.3, 0.1, 0.1]
    )
    file_format.write(shipped / "SHIPPED_GRADES", dataclasses.replace(five, calibration=moved))
    row = grading.grade(folder, GradeOutput.of(shipped / "o.csv"), shipped / "SHIPPED_GRADES")[0]
    share = row.reading.probabilities
    upper = sum(p for grade, p in share.items() if grade >= 2)
    assert row.probability == pytest.approx(upper / (upper + share[0]))
    # It keeps rising where grade 2 itself becomes less likely than grade 3 or 4.
    logits = np.log([[0.5, 0.3, 0.18, 0.01, 0.01], [0.01, 0.01, 0.005, 0.1, 0.875]])
    first, second = early_probability(logits, (0, 1, 2, 3, 4))
    assert first == pytest.approx(0.2 / 0.7) and second == pytest.approx(0.98 / 0.99)


def test_thresholds_and_reliability_are_of_the_probability_in_the_table():
    # Two knees each of grades 0 and 2; the offset halves the odds of grade 2 and more.
    logits = np.log(
        np.array([[8, 1, 2, 0.5, 0.5], [6, 1, 2, 1, 1], [3, 1, 4, 1, 1], [1, 1, 6, 1, 1]])
    )
    scaling = Scaling(1.0, (0.0, 0.3, *[float(np.log(0.5))] * 3), (0.2,) * 5)
    found = ship_grader.calibrate(logits, np.array([0, 0, 2, 2]), range(5), list("abcd"), scaling)
    p = scaling.probabilities(logits)
    wanted = p[:, 2:].sum(axis=1) / (1 - p[:, 1])
    np.testing.assert_allclose(wanted, [1.5 / 9.5, 2 / 8, 3 / 6, 4 / 5])
    assert found.thresholds[0]["probability"] == pytest.approx(wanted[2])
    bins = found.reliability
    assert np.dot(bins["count"], bins["probability"]) == pytest.approx(wanted.sum())


def test_the_shipped_models_fit_each_other():
    two, five = load.load_grader(load.EARLY), load.load_grader()
    assert two.grades == (0, 2) and five.grades == (0, 1, 2, 3, 4)
    assert two.image_shape == five.image_shape and two.contrast == five.contrast
    size = sum(
        (folder / name).stat().st_size
        for folder in (load.SHIPPED, load.SHIPPED_GRADES)
        for name in (file_format.WEIGHTS, file_format.DESCRIPTION)
    )
    assert size < 8e6
    # The five grades are calibrated and their sets cover what they were fitted for.
    described = json.loads((load.SHIPPED_GRADES / file_format.DESCRIPTION).read_text())
    assert len(described["calibration"]["set_limits"]) == 5


def test_compacted_kernels_are_near_and_small(five):
    found = file_format.compacted(five.params, steps=16)
    ours, theirs = found["head"]["kernel"], five.params["head"]["kernel"]
    assert 0 < np.abs(ours - theirs).max() <= np.std(theirs) / 32
    np.testing.assert_array_equal(found["head"]["bias"], five.params["head"]["bias"])
    np.testing.assert_array_equal(ours, ours.astype(np.float16))
    assert len(np.unique(ours)) < len(np.unique(theirs))
    wide = {"kernel": np.random.default_rng(0).normal(0, 0.1, (400, 480)).astype(np.float32)}
    sizes = []
    for tree in (file_format.rounded(wide), file_format.compacted(wide)):
        content = model_files._packed({"kernel": np.asarray(tree["kernel"], np.float16)})
        with np.load(io.BytesIO(content)) as arrays:
            np.testing.assert_array_equal(arrays["kernel"], tree["kernel"])
        sizes.append(len(content))
    assert sizes[1] < 0.55 * sizes[0]


def test_damage_under_a_right_checksum_is_refused(five, tmp_path):
    file_format.write(tmp_path, five)
    arrays = dict(np.load(tmp_path / file_format.WEIGHTS))
    coarse = np.rint(np.random.default_rng(0).normal(0, 20, 100_000)) / 256
    content = bytearray(model_files._packed({**arrays, "long": coarse.astype(np.float16)}))
    assert b"BZh" in content
    content[content.index(b"BZh") + 12] ^= 255
    strange_models.sealed_weights(tmp_path, bytes(content))
    wanted = {name: (array.shape, (str(array.dtype),)) for name, array in arrays.items()}
    wanted["long"] = ((100_000,), ("float16",))
    with pytest.raises(InputError, match=r"block1_conv1/bias: is not a NumPy array"):
        model_arrays.read(tmp_path / file_format.WEIGHTS, bytes(content), wanted)
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        packaged_grader.variables(tmp_path)


def test_a_run_of_five_grades_is_shipped_with_sets(tmp_path, monkeypatch):
    source = made_grader.Source(tmp_path, grades=(0, 1, 2, 3, 4))
    monkeypatch.setattr(ship_grader.datasets, "load_builder", lambda name, folder: source)
    config = made_grader.config()
    config["data"]["grades"] = [0, 1, 2, 3, 4]
    config["data"]["prevalence"] = [4, 2, 3, 1, 1]
    config["model"]["classifier"].update(classes=5, head="ordinal")
    run = made_grader.write_run(tmp_path / "run", config)
    monkeypatch.setattr(ship_grader, "SHIPPED_GRADES", tmp_path / "grades")
    (tmp_path / "grades").mkdir()
    made, folder = ship_grader.ship(run, compact=True)
    assert (
        folder == tmp_path / "grades" and file_format.read(folder).calibration == made.calibration
    )
    seen = ship_grader._run_network(Network(made, 16), source, config["data"], "held_out")
    assert len(made.calibration.offsets) == 5
    assert np.multiply(made.calibration.prevalence, 11) == pytest.approx([4, 2, 3, 1, 1])
    probability = made.calibration.scaling.probabilities(seen.logits)
    covered = conformal.sets(probability, made.calibration.set_limits)
    assert covered[np.arange(len(seen.label)), seen.label].mean() >= 0.9


def test_the_page_says_of_whom_thresholds_and_sets_are(tmp_path):
    five = made_grader.grader_of_five()
    text = pages.render(grade_page.page(tmp_path, [], five))
    # The bins hold 10 knees of the grades 0 and 2.
    assert "on the same 10 knees of grade 0 or 2, held out of 6 training patients" in text
    assert grade_page.SETS in text
    more = dataclasses.replace(five.calibration, knees=15)
    text = pages.render(grade_page.page(tmp_path, [], dataclasses.replace(five, calibration=more)))
    assert "10 knees of grade 0 or 2, part of the 15 knees of all grades held out of 6" in text
    text = pages.render(grade_page.page(tmp_path, [], dataclasses.replace(five, calibration=None)))
    assert grade_page.GRADES in text and grade_page.SETS not in text
    shares = dataclasses.replace(
        five.calibration, offsets=[0.0] * 5, prevalence=[0.3, 0.25, 0.2, 0.15, 0.1]
    )
    assumed = dataclasses.replace(five, calibration=shares)
    text = pages.render(grade_page.page(tmp_path, [], assumed))
    assert "the knees have these grades: grade 0 30 %, grade 1 25 %, grade 2 20 %" in text
    # 4 x 0.25 + 6 x 0.8 of the 10 knees in the diagram.
    assert "assume that 40 % have grade 2; of those in the diagram 58 % have it" in text


def test_the_volume_is_compared_where_it_is_asked_for(shipped, folder, monkeypatch):
    asked = []

    def measured(knee, traced):
        assert traced.medial.share > 0
        asked.append(knee.place.side)
        return 3.5, 0.25

    monkeypatch.setattr(grading, "space_measurer", lambda: measured)
    output = GradeOutput.of(shipped / "o.csv", html=shipped / "o.html")
    row, refused = grading.grade(folder, output, options=grading.GradeOptions(volume=True))
    assert "volume&#39;s grade" in output.page.read_text()
    assert asked == ["left"] and row.volume_space_mm == (3.5, 0.25)
    assert (row.volume_grade, refused.volume_grade) == ("3-4", "")
    with (shipped / "o.csv").open(newline="") as file:
        cells, _ = csv.DictReader(file)
    columns = ["volume_joint_space_medial_mm", "volume_joint_space_lateral_mm", "volume_grade"]
    assert list(cells)[-4:-1] == columns and [cells[c] for c in columns] == ["3.50", "0.25", "3-4"]
    wanted = volume_grade.disagreement(row.reading.grade, (3.5, 0.25))
    assert bool(wanted) == (row.reading.grade <= 1) and wanted in row.warning


def test_a_knee_without_a_volume_is_graded_and_noted(shipped, folder, monkeypatch):
    def refused(knee, traced):
        raise InputError("no plateau")

    monkeypatch.setattr(grading, "space_measurer", lambda: refused)
    output = GradeOutput.of(shipped / "o.csv")
    row, _ = grading.grade(folder, output, options=grading.GradeOptions(volume=True))
    assert row.probability is not None and row.volume_grade == ""
    assert "no volume: no plateau" in row.warning


def test_grades_that_bones_suggest():
    wide, narrow = volume_grade.CUT_MM + 1, volume_grade.CUT_MM - 1
    found = [volume_grade.suggested_grades(space) for space in ((wide, wide), (9.0, narrow))]
    assert [volume_grade.grade_range(group) for group in found] == ["0-2", "3-4"]
    warned = [bool(volume_grade.disagreement(grade, (narrow, wide))) for grade in range(5)]
    assert warned == [True, True, False, False, False]
    warned = [bool(volume_grade.disagreement(grade, (wide, wide))) for grade in range(5)]
    assert warned == [False, False, False, False, True]
    assert volume_grade.disagreement(1, (9.0, narrow)) == (
        "the predicted bones suggest grade 3-4 (joint space 1.3 mm), the network grade 1"
    )
