"""Tests of label maps on disk becoming pairs on disk, one by one and by the folder."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import io
from xr2mri_jax.datasets.data_origin import origin_of_mri
from xr2mri_jax.datasets.pairing import pair_source
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, require_same_geometry
from xr2mri_jax.io.manifest import read_manifest
from xr2mri_jax.preprocess.radiograph import standardise_radiograph
from xr2mri_jax.simulation import files as simulated
from xr2mri_jax.simulation import folder
from xr2mri_jax.simulation.files import LEVELS, PairFiles, simulate_file
from xr2mri_jax.simulation.folder import simulate_folder


def test_a_pair_on_disk(maps, tmp_path, knee_labels):
    files = PairFiles.named(tmp_path / "o" / "x.png", tmp_path / "o" / "m.nii.gz")
    record = simulate_file(maps / "a.nii.gz", files)
    assert json.loads(files.record.read_text())["side"] == "right"
    mri = io.read_volume(files.mri)
    require_same_geometry(mri, knee_labels)
    assert origin_of_mri(files.mri) == "simulated"
    assert mri.array.dtype == np.uint16 and LEVELS / 4 < mri.array.max() <= LEVELS
    with Image.open(files.xray) as image:
        assert np.asarray(image).max() > 60000
    # What the record says is what prediction and preparation need.
    spacing, centre = record["radiograph"]["spacing_mm"], record["radiograph"]["centre_px"]
    radiograph = io.read_radiograph(files.xray, tuple(spacing), record["side"])
    assert standardise_radiograph(radiograph, (64, 64), centre).record["outside"]["share"] == 0
    assert record["labels"]["names"][5] == "femur"


def test_nothing_is_written_where_something_is_wrong(maps, tmp_path, monkeypatch):
    files = PairFiles.named(tmp_path / "x.png", tmp_path / "m.nii")
    for arguments, said in (
        ((maps / "b.nii", files), "do not state the side"),
        ((maps / "broken.nii.gz", files), "broken.nii.gz"),
        ((maps / "empty.nii", files), "no table with femur"),
        ((maps / "a.nii.gz", files, "left"), "a.nii.gz: .*medially"),
        ((maps / "a.nii.gz", files, "right", "oai_zib"), "found the label 5"),
        ((maps / "a.nii.gz", files, "right", "auto", -1), "--seed"),
    ):
        with pytest.raises(InputError, match=said):
            simulate_file(*arguments)

    def fail(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(simulated, "write_nifti", fail)
    with pytest.raises(OSError, match="no space"):
        simulate_file(maps / "a.nii.gz", files)
    assert list(tmp_path.iterdir()) == [maps]


@pytest.mark.parametrize("mri", ["maps/a.nii.gz", "maps/../maps/a.nii.gz", "link.nii.gz"])
def test_a_pair_overwrites_no_label_map(maps, tmp_path, mri):
    (tmp_path / "link.nii.gz").symlink_to(maps / "a.nii.gz")
    before = (maps / "a.nii.gz").read_bytes()
    files = PairFiles.named(tmp_path / "x.png", tmp_path / mri)
    with pytest.raises(InputError, match=r"--mri: .* would overwrite .*a\.nii\.gz"):
        simulate_file(maps / "a.nii.gz", files)
    assert (maps / "a.nii.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("xray", "mri", "said"), [("x.jpg", "m.nii", "--xray"), ("x.png", "m.mha", "--mri")]
)
def test_other_endings_are_refused(xray, mri, said):
    with pytest.raises(InputError, match=said):
        PairFiles.named(xray, mri)


@pytest.fixture
def knees(tmp_path):
    path = tmp_path / "knees.csv"
    path.write_text("file,side,subject,kl\na.nii.gz,right,s1,2\nb,2,s1,\n")
    return path


def test_a_folder_becomes_a_manifest_that_pairs(maps, tmp_path, knees):
    output = tmp_path / "out"
    report = simulate_folder(maps, output, knees=knees)
    assert report.done == ("a", "b") and report.kept == ()
    assert set(report.broken) == {"broken.nii.gz", "empty.nii"}
    with (output / "broken.csv").open() as stream:
        assert {row["file"] for row in csv.DictReader(stream)} == set(report.broken)
    pairing = pair_source(read_manifest(output / "manifest.csv"))
    found = {(p.subject, p.side, p.kl) for p in pairing.pairs}
    assert found == {("s1", "right", 2), ("s1", "left", None)}
    assert not pairing.rejections and not pairing.problems
    for one in pairing.pairs:
        assert one.radiograph.spacing == 0.4
        assert one.series.path.is_file() and one.radiograph.path.is_file()


def test_what_is_there_is_kept_and_the_rest_made(maps, tmp_path, knees, monkeypatch):
    output = tmp_path / "out"
    first = simulate_folder(maps, output, knees=knees)
    stamps = {path: path.stat().st_mtime_ns for path in output.glob("*/a.*")}
    (output / "mri" / "b.nii.gz").unlink()
    again = simulate_folder(maps, output, knees=knees)
    assert (again.done, again.kept, again.broken) == (("b",), ("a",), first.broken)
    assert {path: path.stat().st_mtime_ns for path in output.glob("*/a.*")} == stamps
    assert len(read_manifest(output / "manifest.csv").series) == 2
    # Another seed is another simulation.
    calls = []
    monkeypatch.setattr(
        folder, "simulate_file", lambda path, files, **settings: calls.append(path) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        simulate_folder(maps, output, knees=knees, seed=1)
    assert calls == [maps / "a.nii.gz"]


@pytest.fixture
def short(monkeypatch):
    """Simulations whose files hold no pixels: what is made and what is kept is told faster."""
    made = []

    def write(path, files, **settings):
        made.append(path.name)
        files.xray.parent.mkdir(parents=True, exist_ok=True)
        files.mri.parent.mkdir(parents=True, exist_ok=True)
        files.xray.touch()
        files.mri.touch()
        record = {
            "side": settings["side"] or "right",
            "seed": settings["seed"],
            "labels": {
                "table": settings["table"],
                "sha256": simulated.inputs_digest(path, settings["table"]),
            },
            "radiograph": {"spacing_mm": [0.4, 0.4]},
        }
        files.record.write_text(json.dumps(record))
        return record

    monkeypatch.setattr(folder, "simulate_file", write)
    return made


def _edit(path):
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("changed", "again"), [("a.nii.gz", "a.nii.gz"), ("c.raw", "c.mhd"), ("c.mhd", "c.mhd")]
)
def test_a_pair_of_a_map_that_has_changed_is_made_anew(tmp_path, short, changed, again):
    maps = tmp_path / "maps"
    maps.mkdir()
    for name in ("a.nii.gz", "b.nrrd", "c.mhd", "c.raw"):
        (maps / name).write_text(name)
    simulate_folder(maps, tmp_path / "out")
    assert short == ["a.nii.gz", "b.nrrd", "c.mhd"]
    short.clear()
    _edit(maps / changed)
    simulate_folder(maps, tmp_path / "out")
    assert short == [again]


def test_pairs_of_another_folder_or_table_are_made_anew(tmp_path, short):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "001.nii.gz").write_text(name)
    table = tmp_path / "table.csv"
    table.write_text("code,name\n1,femur\n3,tibia\n")
    for source in ("first", "first", "second"):
        simulate_folder(tmp_path / source, tmp_path / "out", table=str(table))
    assert len(short) == 2
    table.write_text("code,name\n3,femur\n1,tibia\n")
    simulate_folder(tmp_path / "second", tmp_path / "out", table=str(table))
    assert len(short) == 3


def test_maps_by_endings_in_any_case(tmp_path, short, caplog):
    maps = tmp_path / "maps"
    (maps / "folder.nii").mkdir(parents=True)
    for name in ("a.NII.GZ", "b.Nrrd", "c.MHA", "d.nii", "._d.nii", ".e.nrrd", "f.txt"):
        (maps / name).write_text(name)
    knees = tmp_path / "knees.csv"
    knees.write_text("file,side,kl\nA,left,2\na.nii.gz,left,3\nB.NRRD,left,1\n")
    report = simulate_folder(maps, tmp_path / "out", knees=knees)
    assert report.done == ("a", "b", "c", "d")
    grades = {row.subject: row for row in read_manifest(tmp_path / "out/manifest.csv").grades}
    assert [(grades[name].side, grades[name].kl) for name in "ab"] == [("left", 3), ("right", None)]
    assert "row 2: no map of the name A" in caplog.text
    assert "row 4: no map of the name B" in caplog.text


def test_folders_without_a_pair_are_refused(maps, tmp_path):
    (maps / "a.nii.gz").unlink()
    with pytest.raises(InputError, match=r"none of 3 maps .*side"):
        simulate_folder(maps, tmp_path / "out")
    with pytest.raises(InputError, match="no files ending"):
        simulate_folder(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="not a folder"):
        simulate_folder(tmp_path / "absent", tmp_path / "out")
    (maps / "b.nrrd").write_bytes(b"NRRD0004")
    with pytest.raises(InputError, match="same name"):
        simulate_folder(maps, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,side\na,both\n", "row 2, column side"),
        ("file,side\na,left\na.nii.gz,left\n", "row 3, column file"),
        ("name,side\na,left\n", "'file' is missing"),
    ],
)
def test_a_wrong_list_of_knees_names_row_and_column(maps, tmp_path, text, said):
    path = tmp_path / "k.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        simulate_folder(maps, tmp_path / "out", knees=path)


def test_doubts_about_the_maps_of_a_folder_are_told(maps, tmp_path, knee_labels):
    """Of maps that are simulated and of those that were before; a sound map has none."""
    gaps = knee_labels.array.astype(np.float32)
    gaps[0, 0] = np.nan
    io.write_nifti(maps / "gaps.nii.gz", Volume(gaps, knee_labels.affine))
    shifted = nib.Nifti1Image(knee_labels.array, knee_labels.affine)
    shifted.set_sform(knee_labels.affine, 2)
    moved = knee_labels.affine.copy()
    moved[:3, 3] += 30
    shifted.set_qform(moved, 1)
    nib.save(shifted, maps / "shifted.nii")
    knees = tmp_path / "knees.csv"
    knees.write_text("file,side\nb.nii,left\n")
    for _ in range(2):
        found = simulate_folder(maps, tmp_path / "out", knees=knees)
        assert set(found.doubts) == {"gaps", "shifted"}
        assert "are not a number (NaN)" in found.doubts["gaps"][0]
        assert "the sform is followed" in found.doubts["shifted"][0]
    assert set(found.kept) >= set(found.doubts)
