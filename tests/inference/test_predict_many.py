"""Tests of predicting many radiographs: rows, resuming, refusals, names."""

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import made_generator
import nibabel
import numpy as np
import pytest
from made_uncertainty import uncertainty
from PIL import Image

from xr2mri_jax import samples
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import many_resume
from xr2mri_jax.inference import predict_many as many
from xr2mri_jax.inference.earlier_outputs import RUN
from xr2mri_jax.inference.listing import list_table
from xr2mri_jax.inference.many_options import COLUMNS, TABLE, ManyOptions
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.inference.row_file import RowFile


@pytest.fixture
def loaded(monkeypatch, fake_model):
    monkeypatch.setattr(many, "load_predictor", lambda model: Predictor(fake_model, source=model))


@pytest.fixture
def folder(tmp_path):
    """A single knee, a film of two, a file without a knee, one that is no picture."""
    knee = np.asarray(Image.open(samples.KNEE).convert("L"))
    place = tmp_path / "in"
    (place / "more").mkdir(parents=True)
    Image.fromarray(knee).save(place / "single.png")
    film = np.concatenate([knee, np.full((len(knee), 40), knee.min()), knee[:, ::-1]], axis=1)
    Image.fromarray(film.astype(np.uint8)).save(place / "more" / "film.png")
    noise = np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8)
    Image.fromarray(noise).save(place / "noise.png")
    (place / "text.png").write_text("no picture")
    return place


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    # The apostrophe keeps spreadsheets from taking a cell for a formula.
    return [{name: cell.removeprefix("'") for name, cell in row.items()} for row in rows]


def test_every_knee_and_every_refusal_has_a_row(loaded, folder, tmp_path):
    output = tmp_path / "out"
    rows = many.predict_many(ManyOptions(folder, output, spacing=0.5))
    assert rows == rows_of(output / TABLE)
    film, other, noise, single, text = rows
    assert [row["file"] for row in (film, other)] == ["more/film.png"] * 2
    assert [film["side"], other["side"]] == ["right", "left"]
    assert (noise["volume"], text["volume"]) == ("", "")
    assert "no knee was found" in noise["error"]
    assert text["error"] and "Error" not in text["error"]
    for row in (film, other, single):
        assert row["error"] == ""
        assert row["spacing_mm"] == "0.5000"
        image = nibabel.load(output / row["volume"])
        record = json.loads((output / row["volume"].replace(".nii.gz", ".json")).read_text())
        assert np.asarray(image.dataobj).max() > 0
        assert record["knee"]["side"] == row["side"]
        assert record["source"]["file"].endswith(row["file"])
    assert {path.name for path in output.glob("*.png")} == set()


def test_a_run_that_was_cut_off_is_continued(loaded, folder, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    options = ManyOptions(folder, output)
    whole = many.predict_many(options)
    assert f"{output / TABLE}: 3 knees synthesised, 2 refused - " in capsys.readouterr().out
    # As a killed run leaves it: some rows in the partial table, one volume gone.
    kept = [row for row in whole if row["file"] != "noise.png"]
    (output / TABLE).unlink()
    with pytest.raises(KeyboardInterrupt), RowFile(output / TABLE, COLUMNS) as table:
        table.write(*([row[column] for column in COLUMNS] for row in kept))
        raise KeyboardInterrupt
    (output / next(row["volume"] for row in whole if row["file"] == "single.png")).unlink()
    worked = []
    of_file = many._of_file

    def noted(one, *rest):
        worked.append(one.name)
        return of_file(one, *rest)

    monkeypatch.setattr(many, "_of_file", noted)
    again = many.predict_many(options)
    assert sorted(worked) == ["noise.png", "single.png"]
    assert sorted(map(str, again)) == sorted(map(str, whole))
    said = "1 knee synthesised, 2 kept from an earlier run, 2 refused - "
    assert said in capsys.readouterr().out
    worked.clear()
    assert len(many.predict_many(options)) == len(whole)
    assert worked == []
    Image.open(folder / "single.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        folder / "single.png"
    )
    (changed,) = [r for r in many.predict_many(options) if r["file"] == "single.png"]
    assert worked == ["single.png"]
    assert changed["side"] != next(r["side"] for r in whole if r["file"] == "single.png")


@pytest.mark.parametrize(
    "name",
    [" a.png", "a\n.png", "a.png ", "=a.png", "'=a.png", "a\u202e.png", os.fsdecode(b"\xe9.png")],
)
def test_files_of_odd_names_are_kept_too(loaded, folder, tmp_path, monkeypatch, name):
    """And none takes the place of another whose name the table shows alike."""
    source = tmp_path / "odd"
    source.mkdir()
    names = {name, name.strip()}
    for one in names:
        shutil.copyfile(folder / "single.png", source / one)
        os.utime(source / one, (1e9, 1e9))
    options = ManyOptions(source, tmp_path / "out")
    first = many.predict_many(options)
    assert len({row["volume"] for row in first} - {""}) == len(names)
    monkeypatch.setattr(many, "_of_file", lambda *_: pytest.fail("predicted again"))
    again = many.predict_many(options)
    assert sorted(row["volume"] for row in again) == sorted(row["volume"] for row in first)


@pytest.mark.parametrize("more", ["knee.dcm", "knee.jpg", "knee!.png"])
def test_a_new_file_of_the_same_name_takes_no_others_volume(loaded, folder, tmp_path, more):
    single = Image.open(folder / "single.png").convert("L")
    place = tmp_path / "names"
    place.mkdir()
    single.save(place / "knee.png")
    options = ManyOptions(place, tmp_path / "out")
    (first,) = many.predict_many(options)
    before = (options.output / first["volume"]).read_bytes()
    single.point(lambda value: value // 2).save(place / more, format="PNG")
    rows = many.predict_many(options)
    assert {row["file"] for row in rows} == {"knee.png", more}
    assert len({row["volume"].lower() for row in rows}) == 2
    assert first in rows
    assert (options.output / first["volume"]).read_bytes() == before


def test_a_folder_of_other_options_is_refused(loaded, folder, tmp_path):
    many.predict_many(ManyOptions(folder, tmp_path / "out"))
    with pytest.raises(InputError, match=r"made with pictures=False, found True now, expected"):
        many.predict_many(ManyOptions(folder, tmp_path / "out", pictures=True))
    (tmp_path / "out" / RUN).write_text("{")
    with pytest.raises(InputError, match=r"predictions.json: cannot be read as JSON"):
        many.predict_many(ManyOptions(folder, tmp_path / "out"))


def test_a_folder_of_another_input_is_refused(loaded, folder, tmp_path, monkeypatch):
    """Its files of the same names would replace the results of the first one."""
    output, other = tmp_path / "out", tmp_path / "other"
    first = many.predict_many(ManyOptions(folder, output))
    other.mkdir()
    knee = Image.open(folder / "single.png").point(lambda value: value // 2)
    knee.save(other / "single.png")
    held = {path: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(InputError, match=r"made with xray='.*in', found '.*other' now, expected"):
        many.predict_many(ManyOptions(other, output))
    assert {path: path.read_bytes() for path in output.iterdir()} == held
    monkeypatch.chdir(tmp_path)
    assert many.predict_many(ManyOptions(Path("in"), output)) == first
    # Earlier versions did not note the input.
    noted = json.loads((output / RUN).read_text())
    del noted["xray"]
    (output / RUN).write_text(json.dumps(noted))
    assert len(many.predict_many(ManyOptions(other, output))) == 1


def test_a_knee_of_which_a_file_is_missing_is_predicted_again(folder, tmp_path, monkeypatch):
    made = Predictor(made_generator.model(), uncertainty=(uncertainty(), ""))
    monkeypatch.setattr(many, "load_predictor", lambda model: made)
    for name in ("more/film.png", "noise.png", "text.png"):
        (folder / name).unlink()
    options = ManyOptions(
        folder,
        tmp_path / "out",
        labels=tmp_path / "labels",
        meshes=tmp_path / "meshes",
        pictures=True,
        page=tmp_path / "page",
    )
    first = many.predict_many(options)
    own = {tmp_path / "out" / name for name in (RUN, TABLE)}
    written = [
        path
        for place in ("out", "labels", "meshes", "page/cases")
        for path in (tmp_path / place).rglob("*")
        if path.is_file() and path not in own
    ]
    names = {path.name for path in written}
    (row,) = first
    stem = row["volume"].removesuffix(".nii.gz")
    assert names >= {
        f"{stem}{end}"
        for end in (".nii.gz", ".json", ".png", "_uncertainty.nii.gz", "_confidence.nii.gz")
    } | {"femur.stl"}
    (kept,) = many_resume.finished_rows(options, made).values()
    assert kept == first
    for path in written:
        path.rename(tmp_path / "away")
        assert many_resume.finished_rows(options, made) == {}, path
        (tmp_path / "away").rename(path)
    record = tmp_path / "out" / f"{stem}.json"
    before = record.read_text()
    record.write_text(before[:-9])
    assert many.predict_many(options) == first
    assert record.read_text() == before


def test_a_folder_of_another_model_is_refused(folder, fake_model, tmp_path, monkeypatch):
    """The path alone does not tell: a run trained again, or calibrated since, has the same one."""

    def load_as(model, spread=None):
        made = Predictor(model, source="run", uncertainty=(spread, ""))
        monkeypatch.setattr(many, "load_predictor", lambda _: made)

    monkeypatch.chdir(tmp_path)
    options = ManyOptions(folder, tmp_path / "out", "run")
    load_as(fake_model)
    rows = many.predict_many(options)
    assert json.loads((tmp_path / "out" / RUN).read_text())["model"] == str(tmp_path / "run")
    assert many.predict_many(dataclasses.replace(options, model=str(tmp_path / "run"))) == rows
    other = SimpleNamespace(**{**vars(fake_model), "params": {"scale": np.float32(0.25)}})
    load_as(other)
    with pytest.raises(InputError, match=r"made with weights_sha256='\w{64}', found '\w{64}' now"):
        many.predict_many(options)
    load_as(fake_model, uncertainty(with_surfaces=False))
    with pytest.raises(InputError, match=r"made with uncertainty_sha256=None, found '\w{64}' now"):
        many.predict_many(options)


def test_a_file_that_failed_for_lack_of_memory_is_predicted_again(
    loaded, folder, tmp_path, monkeypatch
):
    options, found = ManyOptions(folder, tmp_path / "out"), many.predict_found
    failed = []

    def scarce(predictor, knee):
        if knee.place.side == "left" and not failed:
            failed.append(knee)
            raise MemoryError
        return found(predictor, knee)

    monkeypatch.setattr(many, "predict_found", scarce)
    first = many.predict_many(options)
    (row,) = (row for row in first if row["error"].startswith("MemoryError"))
    again = many.predict_many(options)
    assert len(again) == len(first) and not any("Memory" in row["error"] for row in again)
    volumes = [one["volume"] for one in again if one["file"] == row["file"]]
    assert volumes and all(volumes)
    kept = [one for one in first if one["file"] != row["file"]]
    assert all(one in again for one in kept)


def test_a_table_states_sides_and_spacings(loaded, folder, tmp_path):
    table = folder / "knees.csv"
    table.write_text(
        "File,side,spacing\nmore/film.png,left,0.4\nmore/film.png,R,0.45\nabsent.png,,\n"
    )
    rows = many.predict_many(ManyOptions(table, tmp_path / "out", spacing=9.0))
    assert [row["side"] for row in rows] == ["left", "right", ""]
    assert [row["spacing_mm"] for row in rows] == ["0.4000", "0.4500", ""]
    (record,) = (tmp_path / "out").glob("*film_left.json")
    assert json.loads(record.read_text())["knee"]["side_source"] == "the table's side"
    assert "absent.png" in rows[2]["error"] or "no such file" in rows[2]["error"].lower()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\n", "found no rows"),
        ("name\na.png\n", "file"),
        ("file,side\na.png,top\n", r"row 2, column side: found 'top', expected left, right"),
        ("file,side\na.png,left\n,left\n", r"row 3, column file: found '', expected a radiog"),
        ("file,spacing\na.png,-1\n", r"row 2, column spacing: found '-1', expected a positive"),
        ("file,spacing\na.png,nan\n", r"row 2, column spacing: found 'nan'"),
        ("file,side\na.png,\na.png,left\n", r"found a.png twice"),
        ("file,side\na.png,left\na.png,L\n", r"found a.png twice"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "knees.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        list_table(path)


def test_nothing_to_predict_is_an_error_with_the_reasons(loaded, folder, tmp_path):
    for name in ("single.png", "more/film.png"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"none of 2 files could be used.*noise.png: no knee"):
        many.predict_many(ManyOptions(folder, tmp_path / "out"))
    assert len(rows_of(tmp_path / "out" / TABLE)) == 2


def test_what_cannot_be_asked_for(loaded, folder, tmp_path):
    with pytest.raises(InputError, match=r"--spacing: found 0"):
        ManyOptions(folder, tmp_path / "out", spacing=0.0)
    with pytest.raises(InputError, match=r"--labels: found .*the folder of the volumes"):
        ManyOptions(folder, tmp_path / "out", labels=tmp_path / "out")
    with pytest.raises(InputError, match=r"--labels, --meshes: the model predicts no surfaces"):
        many.predict_many(ManyOptions(folder, tmp_path / "out", labels=tmp_path / "l"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output: .*file"):
        many.predict_many(ManyOptions(folder, tmp_path / "file"))


def test_a_full_disk_ends_the_run_and_keeps_whole_rows(loaded, folder, tmp_path, monkeypatch):
    written = many.write_prediction

    def full(files, prediction):
        if "single" in files.volume.name:
            raise OSError(28, "No space left on device", str(files.volume))
        written(files, prediction)

    monkeypatch.setattr(many, "write_prediction", full)
    with pytest.raises(OSError, match="No space left"):
        many.predict_many(ManyOptions(folder, tmp_path / "out"))
    assert not (tmp_path / "out" / TABLE).exists()
    names = [row["file"] for row in rows_of(tmp_path / "out" / "predictions.csv.partial")]
    assert names == ["more/film.png", "more/film.png", "noise.png"]
