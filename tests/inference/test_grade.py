"""Grading a folder of good and bad files: rows, reasons, order, pictures, page, what is left."""

import csv
import dataclasses
import re
import threading

import made_grader
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference import grade as grading
from xr2mri_jax.inference import listing
from xr2mri_jax.inference.framing import frame_knees
from xr2mri_jax.inference.grade import GradeOptions, grade
from xr2mri_jax.inference.grade_output import GradeOutput
from xr2mri_jax.inference.grade_table import COLUMNS, GradedKnee, Table
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.inference.knee_picture import GAP, LINE
from xr2mri_jax.preprocess.knee_request import KneeRequest
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST
from xr2mri_jax.tools.benchmarks.knee_finder import films
from xr2mri_jax.tools.benchmarks.phantom_files import write_film


@pytest.fixture(scope="module")
def film():
    made, _ = next(films(1, 64))
    return made.image


@pytest.fixture(scope="module")
def crop(film):
    """u16[256, 256]: the film's left knee as displayed."""
    (knee,) = frame_knees(Radiograph(film), (256, 256), DEFAULT_CONTRAST, KneeRequest("left"))
    return np.rint(knee.displayed * 60000).astype(np.uint16)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grader")
    file_format.write(folder, made_grader.grader())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, film, crop):
    """Good and bad radiographs."""
    root = tmp_path_factory.mktemp("radiographs")
    eight = (crop // 257).astype(np.uint8)
    Image.fromarray(eight).save(root / "9000001L.png")
    Image.fromarray(np.ascontiguousarray(eight[:, ::-1])).save(root / "9000001R.png")
    Image.fromarray(crop).save(root / "9000002L.png")
    Image.fromarray(np.repeat(eight[..., None], 3, axis=2)).save(root / "9000003L.png")
    Image.fromarray(255 - eight).save(root / "9000004L.png")
    Image.fromarray(eight).save(root / "untold.png")
    (root / "films <b>").mkdir()
    Image.fromarray(film).save(root / "films <b>" / "bilateral & co.png")
    colour = np.stack([eight, eight[::-1], eight], axis=2)
    Image.fromarray(colour).save(root / "bad_colour.png")
    (root / "bad_empty.png").write_bytes(b"")
    whole = (root / "9000001L.png").read_bytes()
    (root / "bad_corrupt.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(eight[::8, ::8]).save(root / "bad_small.png")
    (root / "bad_text.png").write_text("no image\n")
    noise = np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8)
    Image.fromarray(noise).save(root / "bad_noise.png")
    Image.fromarray(np.full((200, 200), 9, np.uint8)).save(root / "bad_blank.png")
    (root / ".hidden").write_text("")
    return root


@pytest.fixture(scope="module")
def done(folder, model, tmp_path_factory):
    """Rows and files of one grading of the folder."""
    root = tmp_path_factory.mktemp("graded")
    output = GradeOutput.of(root / "out.csv", root / "maps", root / "page.html")
    return grade(folder, output, model, GradeOptions(batch_size=2)), root


def test_rows_in_the_table(done):
    rows, root = done
    with (root / "out.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS and COLUMNS[:4] == (
        "file",
        "side",
        "probability_kl2",
        "warning",
    )
    assert [row["file"] for row in read] == [row.file for row in rows]
    assert [row.file for row in rows] == sorted(row.file for row in rows) and len(rows) == 15
    assert sorted(p.name for p in root.iterdir()) == ["maps", "out.csv", "page.html"]
    for row, cells in zip(rows, read, strict=True):
        assert cells["warning"] == row.warning and "\n" not in row.warning
        if row.probability is None:
            assert cells["probability_kl2"] == cells["side"] == cells["picture"] == ""
            assert row.warning
        else:
            assert float(cells["probability_kl2"]) == pytest.approx(row.probability, abs=1e-6)
            assert cells["at_threshold"] == str(int(row.probability >= 0.5))
            spaces = [cells[f"joint_space_{name}_mm"] for name in ("medial", "lateral")]
            assert spaces == [f"{mm:.2f}" for mm in row.joint_space_mm]
            assert all(0 <= float(mm) < 20 for mm in spaces)
            shares = [float(cells[f"joint_space_{name}_share"]) for name in ("medial", "lateral")]
            assert shares == pytest.approx(row.joint_space_share, abs=1e-5)
            # Both compartments have one scale.
            mm = [float(one) for one in spaces]
            assert mm[0] * shares[1] == pytest.approx(mm[1] * shares[0], abs=1e-2)
            picture = root / cells["picture"]
            whole = np.asarray(Image.open(picture))
            assert whole.ndim == 3 and min(whole.shape[:2]) >= 48
            blocks = np.asarray(Image.open(picture.with_stem(picture.stem + "_blocks")))
            assert blocks.shape == (32 + LINE, 6 * 32 + 5 * GAP, 3)


def test_what_cannot_be_graded_says_why(done):
    rows = {row.file: row for row in done[0]}
    for name, reason in {
        "bad_colour.png": "coloured",
        "bad_empty.png": "empty",
        "bad_corrupt.png": "cannot be read as an image",
        "bad_small.png": "32 x 32 pixels",
        "bad_text.png": "unknown kind of file",
        "bad_noise.png": "no knee was found",
        "bad_blank.png": "is it blank",
    }.items():
        assert reason in rows[name].warning and rows[name].probability is None, rows[name]
        assert str(done[1]) not in rows[name].warning


def told(row):
    """The warning without that of the distance, which random features always draw."""
    return re.sub(r"(; )?unlike the training radiographs \(.*?\)", "", row.warning)


def test_what_can_be_graded(done):
    rows = {row.file: row for row in done[0]}
    first = rows["9000001L.png"]
    assert told(first) == "" and 0 < first.probability < 1 and first.distance > 0
    # Mirrored with the other side, and stored otherwise: the same knee.
    mirrored = rows["9000001R.png"]
    assert mirrored.side == "right" and told(mirrored) == ""
    assert abs(mirrored.probability - first.probability) < 1e-5
    assert rows["9000003L.png"].probability == first.probability
    assert rows["9000002L.png"].probability == pytest.approx(first.probability, abs=5e-3)
    dark = rows["9000004L.png"]
    assert "bone is dark" in dark.warning
    assert dark.probability == pytest.approx(first.probability, abs=1e-5)
    untold = rows["untold.png"]
    assert untold.side == "left" and "the side is not stated" in untold.warning
    assert untold.probability == first.probability
    pair = [row for row in done[0] if row.file == "films <b>/bilateral & co.png"]
    assert [row.side for row in pair] == ["right", "left"]
    assert pair[1].probability == pytest.approx(first.probability, abs=0.02)


def test_a_mirrored_film_gives_the_same_knees(done, film, model, tmp_path):
    Image.fromarray(np.ascontiguousarray(film[:, ::-1])).save(tmp_path / "mirrored.png")
    rows = grade(tmp_path, GradeOutput.of(tmp_path / "o.csv"), model)
    before = [row for row in done[0] if row.file.startswith("films")]
    for row, other in zip(rows, reversed(before), strict=True):
        assert row.side != other.side
        assert abs(row.probability - other.probability) < 1e-3


def test_the_page(done):
    text = (done[1] / "page.html").read_text()
    assert "<b>" not in text and "films &lt;b&gt;/bilateral &amp; co.png" in text
    assert text.count('loading="lazy"') == 8
    for source in re.findall(r'<img src="([^"]*)" alt="[^"]*" width', text):
        assert re.fullmatch(r"maps/[A-Za-z0-9._-]+\.png", source) and (done[1] / source).is_file()
    order = [text.index(f"{row.file}</span>") for row in done[0] if "<" not in row.file]
    assert order == sorted(order)
    assert "Reliability diagram" in text and "wanted sensitivity" in text
    assert "Graded: 8 knees. Not graded: 7 rows;" in text and "not a diagnosis" in text


def test_outputs_inside_the_folder_are_not_graded(crop, model, tmp_path):
    Image.fromarray(crop).save(tmp_path / "1L.png")
    for _ in range(2):
        (tmp_path / "o.csv.partial").write_text("left by a killed run")
        output = GradeOutput.of(tmp_path / "o.csv", html=tmp_path / "o.html")
        (row,) = grade(tmp_path, output, model)
        assert row.file == "1L.png" and row.picture == tmp_path / "o_pictures" / "1L_left.png"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1L.png", "o.csv", "o.html", "o_pictures"]


def test_a_single_file_of_a_run_that_is_not_calibrated(crop, tmp_path):
    run = made_grader.write_run(tmp_path / "run")
    Image.fromarray(crop).save(tmp_path / "knee.png")
    (row,) = grade(
        tmp_path / "knee.png", GradeOutput.of(tmp_path / "o.csv"), run, GradeOptions(side="left")
    )
    assert row.file == "knee.png" and row.warning == "the probability is not calibrated"
    assert row.distance is None and row.positive is None
    text = (tmp_path / "o.csv").read_text().splitlines()[1]
    assert ",the probability is not calibrated,,,," in text


def test_probability_is_that_of_the_temperature(crop, tmp_path):
    made = made_grader.grader()
    (knee,) = frame_knees(Radiograph(crop), (32, 32), made.contrast, KneeRequest("left"))
    network = grading.Network(made, 2)
    logits, features = network(knee.image[None])
    (row,) = grading.grade_knees([knee], made, network)
    assert row.probability == pytest.approx(1 / (1 + np.exp((logits[0, 0] - logits[0, 1]) / 1.5)))
    assert row.distance == pytest.approx(made.novelty_detector.distance(features)[0])
    far = dataclasses.replace(
        made, novelty_detector=dataclasses.replace(made.novelty_detector, scale=1e-3)
    )
    assert "unlike the training radiographs" in grading.grade_knees([knee], far, network)[0].warning
    near = dataclasses.replace(
        made, novelty_detector=dataclasses.replace(made.novelty_detector, scale=1e9)
    )
    assert grading.grade_knees([knee], near, network)[0].warning == ""


def test_clahe_changes_what_the_network_sees(crop, model, tmp_path):
    Image.fromarray(crop).save(tmp_path / "1L.png")
    pictures = []
    for clahe in (False, True):
        output = GradeOutput.of(tmp_path / "o.csv", tmp_path / "maps")
        (row,) = grade(tmp_path / "1L.png", output, model, GradeOptions(clahe=clahe))
        blocks = row.picture.with_stem(row.picture.stem + "_blocks")
        pictures.append(np.asarray(Image.open(blocks)).astype(float)[:32, :32])
    assert np.abs(pictures[0] - pictures[1]).mean() > 2


def test_a_file_that_was_not_equalised_is_told_of(crop, tmp_path):
    Image.fromarray(crop).save(tmp_path / "sixteen.png")
    Image.fromarray((crop // 257).astype(np.uint8)).save(tmp_path / "eight.png")
    write_film(tmp_path / "dicom", crop // 257, (0.5, 0.5))
    made = made_grader.grader()
    equalised = dataclasses.replace(made, training={"equalised": True})
    again = dataclasses.replace(equalised, contrast=grading.contrast_with_clahe(grading.CLAHE))
    for name, noted in (("sixteen.png", True), ("dicom", True), ("eight.png", False)):
        for grader, wanted in ((made, False), (equalised, noted), (again, False)):
            (knee,) = grading.framed_knees(tmp_path / name, grader, GradeOptions("left"), False)
            assert any("--clahe" in note for note in knee.notes) == wanted, (name, knee.notes)


def test_an_estimated_scale_is_in_the_table_and_told_once(folder, model, tmp_path, caplog):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("9000001L.png", "9000002L.png"):
        (source / name).write_bytes((folder / name).read_bytes())
    output = GradeOutput.of(tmp_path / "o.csv", html=tmp_path / "o.html")
    for spacing, expected in ((None, "estimated"), (0.4, "stated")):
        caplog.clear()
        with caplog.at_level("WARNING", logger="absl"):
            grade(source, output, model, GradeOptions(spacing=spacing))
        with output.table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["joint_space_scale"] for row in rows] == [expected] * 2
        told = [record.getMessage() for record in caplog.records]
        doubts = [f"{row['file']}, {row['side']} knee: {row['warning']}" for row in rows]
        assert told[-len(doubts) :] == doubts
        told = told[: -len(doubts)]
        page = output.page.read_text()
        if spacing is None:
            (line,) = told
            assert line.startswith("2 knees without a stated pixel spacing: the joint space in mm")
            assert len(re.findall(r"~\d\.\d mm", page)) == 4 and "a knee of mean width" in page
        else:
            assert told == [] and not re.search(r"~\d", page)


def test_nothing_graded_is_an_error_with_the_reasons(model, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text("text")
    with pytest.raises(InputError, match=r"none of 2 files could be graded.*a.txt: unknown kind"):
        grade(tmp_path, GradeOutput.of(tmp_path / "o.csv"), model)
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "match"),
    [("none", "no such file or folder"), ("empty", "no files in the folder")],
)
def test_a_path_without_files_is_refused(model, tmp_path, name, match):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=match):
        grade(tmp_path / name, GradeOutput.of(tmp_path / "o.csv"), model)
    assert not (tmp_path / "o.csv").exists()


def test_wrong_outputs_and_options_are_refused(crop, model, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for arguments, match in (
        (("o.txt",), r"--output: found .*o.txt, expected a name ending in .csv"),
        (("folder.csv",), "is a folder"),
        (("o.csv", None, "p.csv"), "ending in .html"),
        (("o.csv", "o.csv"), "--gradcam_dir: .*o.csv is already another file of this command"),
        (("o.csv", "o.csv.partial"), "--gradcam_dir: .* is already another file of this command"),
        (("o.csv", "p.html", "p.html"), "--gradcam_dir: .* is already another file"),
        (("o.csv", "o.csv/maps"), "--gradcam_dir: .*maps lies in .*o.csv, which --output writes"),
        (("o.csv", None, "o.csv/p.html"), "--html: .*p.html lies in .*o.csv, which --output"),
    ):
        paths = [None if name is None else tmp_path / name for name in arguments]
        with pytest.raises(InputError, match=match):
            GradeOutput.of(*paths)
    (tmp_path / "maps").write_text("")
    with pytest.raises(InputError, match="maps is a file"):
        GradeOutput.of(tmp_path / "o.csv", tmp_path / "maps")
    Image.fromarray(crop).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "1L.csv")
    with pytest.raises(InputError, match="overwrite the radiograph"):
        grade(tmp_path / "1L.csv", GradeOutput.of(tmp_path / "1L.csv"), model)
    (tmp_path / "table.csv").write_text("file\n1L.csv\n")
    with pytest.raises(InputError, match=r"--xray: found the table .*: only predict takes a table"):
        grade(tmp_path / "table.csv", GradeOutput.of(tmp_path / "o.csv"), model)
    for options in ({"spacing": -1.0}, {"spacing": np.nan}, {"batch_size": 0}):
        with pytest.raises(InputError, match=f"--{next(iter(options))}: found"):
            GradeOptions(**options)


def test_a_broken_run_leaves_whole_rows(tmp_path):
    path = tmp_path / "o.csv"
    with pytest.raises(KeyboardInterrupt), Table(path) as table:
        table.add(GradedKnee("a\nb.png", "left", 0.25, 'says "x", y'))
        table.add(GradedKnee("c\udcff.png", warning="broken"))
        raise KeyboardInterrupt
    assert not path.exists()
    with (tmp_path / "o.csv.partial").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1] == ["a\\x0ab.png", "left", "0.250000", 'says "x", y', *[""] * 19]
    assert rows[2][0] == "c\\udcff.png" and len(rows) == 3


def test_files_are_read_ahead_while_earlier_rows_are_taken(monkeypatch, model, tmp_path):
    read, later = [], threading.Event()

    def slow(path, grader, options, drawn, volume):
        if path.name == "00":
            assert later.wait(30)
        read.append(path.name)
        if path.name == "03":
            later.set()
        return f"refused {path.name}"

    monkeypatch.setattr(grading, "framed_knees", slow)
    listed = [listing.Listed(f"{n:02d}", tmp_path / f"{n:02d}") for n in range(12)]
    output = GradeOutput(tmp_path / "o.csv")
    found = list(
        grading.graded(listed, made_grader.bare_grader(), GradeOptions(batch_size=2), output)
    )
    assert [row.file for row in found] == [f"{n:02d}" for n in range(12)]
    assert [row.warning for row in found] == [f"refused {n:02d}" for n in range(12)]
    assert sorted(read) == [row.file for row in found] and read.index("00") >= 3


def test_names_of_pictures_differ():
    taken: set[str] = set()
    names = [
        listing.output_name(name, "left", taken)
        for name in ("a/1.png", "a_1.png", "A/1.jpg", "..", "é.nii.gz")
    ]
    assert names == [
        "a_1_left",
        "a_1_left_2",
        "A_1_left_3",
        "radiograph_left",
        "radiograph_left_2",
    ]
