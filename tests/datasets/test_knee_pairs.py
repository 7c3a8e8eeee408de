"""Collections of files in all layouts become paired datasets, and every knee is accounted for."""

import csv
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import command_process
import numpy as np
import pytest
from made_collections import write_archive, write_manifest, write_release
from made_knees import FILM_SPACING, MadeKnees, make_knees
from made_subjects import PAIRED, MadeSubject, subjects
from pair_checks import check_equal, check_everybody, check_places, correlation, report_of
from PIL import Image
from sas_table import SAS_TABLE

from xr2mri_jax import datasets
from xr2mri_jax.datasets.knee_pairs.make_pairs import Settings, make_pairs
from xr2mri_jax.datasets.knee_pairs.options import PairOptions
from xr2mri_jax.datasets.knee_pairs.plan import make_plan
from xr2mri_jax.datasets.workers import on_one_thread
from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import SIDES, from_canonical
from xr2mri_jax.io import write_nifti
from xr2mri_jax.tools.benchmarks.phantom_files import CENTRES
from xr2mri_jax.tools.benchmarks.prepare import SubjectFiles, measure, table

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
OPTIONS = PairOptions(visit_tolerance=12, max_broken=0.4, split_shares={"train": 0.6, "test": 0.4})


@pytest.fixture(scope="session")
def knees(tmp_path_factory) -> MadeKnees:
    return make_knees(tmp_path_factory.mktemp("knees"))


@pytest.fixture(scope="session")
def sas(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sas") / "kxr_sq_bu00.sas7bdat"
    path.write_bytes(SAS_TABLE)
    return path


def arguments(source: Path, data_dir: Path, *flags: str) -> list[str]:
    """The arguments as users give them."""
    parts = ["--dataset=knee_pairs/smoke"]
    parts += [f"--source={source}", f"--data_dir={data_dir}", "--num_workers=1"]
    parts += ["--visit_tolerance=12", "--max_broken=0.4", "--split_shares=train=0.6,test=0.4"]
    return [*map(str, parts), *flags]


def prepare(source: Path, data_dir: Path, *flags: str) -> str:
    """Runs the command and returns what it says."""
    done = command_process.run("prepare", *arguments(source, data_dir, *flags))
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_an_image_release(knees, sas, tmp_path):
    expected = subjects()
    write_release(tmp_path / "oai", knees, expected)
    said = prepare(tmp_path / "oai", tmp_path / "data", f"--grades={sas}", "--num_workers=2")
    assert "20 pairs of radiograph and dess MRI from 12 subjects" in said
    assert "48 knees and visits seen: 22 in pairs, 26 rejected" in said
    assert "9 of 29 pairs could not be used:" in said and "9000113_right_V00: " in said
    builder = datasets.load_builder("knee_pairs/smoke", tmp_path / "data")
    examples = check_everybody(builder, expected)
    check_places(knees, examples, expected, tolerance_mm=5.0)
    plan = make_plan(tmp_path / "oai", dataclasses.replace(OPTIONS, grades=(str(sas),)))
    (task,) = [
        task
        for tasks in plan.tasks.values()
        for task in tasks
        if task.radiograph.subject == "9000103"
    ]
    work = functools.partial(make_pairs, Settings((16, 32, 32), OPTIONS.contrast))
    for outcome in on_one_thread(work, task):
        check_equal(examples["9000103", outcome.key.split("_")[1]], outcome)
    made = json.loads((builder.data_path / "preparation.json").read_text())
    assert made["options"]["visit_tolerance"] == 12 and made["versions"]["numpy"]
    assert made["source"] == str(tmp_path / "oai")
    assert [Path(path).name for path in made["tables"]["source"]][:1] == ["contents.csv"]
    assert list(made["tables"]["grades"]) == [str(sas)]
    assert not [path for path in builder.data_path.parent.iterdir() if "incomplete" in path.name]
    with pytest.raises(InputError, match=r"prepared with --visit_tolerance=12, asked for 0"):
        datasets.prepare("knee_pairs/smoke", tmp_path / "data")


def test_an_archive(knees, sas, tmp_path):
    expected = subjects()
    (tmp_path / "nda").mkdir()
    write_archive(tmp_path / "nda", knees, expected)
    report = tmp_path / "report.csv"
    flags = (f"--grades={sas}", f"--report={report}")
    prepare(tmp_path / "nda", tmp_path / "data", *flags)
    builder = datasets.load_builder("knee_pairs/smoke", tmp_path / "data")
    examples = check_everybody(builder, expected)
    check_places(knees, examples, expected, tolerance_mm=5.0)
    assert report.read_text() == (builder.data_path / "report.csv").read_text()


def test_a_manifest_with_given_places_single_knees_and_spacings(knees, sas, tmp_path):
    expected = tuple(subject for subject in subjects())
    manifest = write_manifest(tmp_path / "own", knees, expected)
    more = add_other_files(manifest, knees)
    places = manifest.with_name("places.csv")
    prepare(manifest, tmp_path / "data", f"--grades={sas}", f"--places={places}")
    builder = datasets.load_builder("knee_pairs/smoke", tmp_path / "data")
    examples = check_everybody(builder, expected + more)
    check_places(
        knees, {knee: x for knee, x in examples.items() if knee[0] < "9000200"}, expected, 0.01
    )
    # The joint of a single knee's image is found; it was put in its middle.
    single = examples["9000201", "right"]["record"]["radiograph"]
    np.testing.assert_allclose(single["centre_px"], [199.5, 159.5], atol=4)
    # Its bone was dark in the file and is bright in the dataset.
    same_knee = examples["9000103", "right"]
    assert single["knee"]["inverted"]
    assert not same_knee["record"]["radiograph"]["knee"]["inverted"]
    assert correlation(examples["9000201", "right"]["xray"], same_knee["xray"]) > 0.7
    assert examples["9000202", "left"]["record"]["radiograph"]["spacing_mm"] == [*FILM_SPACING]


def add_other_files(manifest: Path, knees: MadeKnees) -> tuple[MadeSubject, ...]:
    """A PNG of one knee with dark bone, an MRI as NIfTI, a film whose spacing the table tells."""
    film, (row, column) = knees.films[0], map(round, knees.place(0, "right").centre_px)
    crop = film.image[row - 200 : row + 200, column - 160 : column + 160]
    Image.fromarray(255 - (crop >> 8).astype(np.uint8)).save(manifest.with_name("crop.png"))
    source = from_canonical(knees.cases[0, "right"]["mri"][..., 0], "right", CENTRES["right"])
    write_nifti(manifest.with_name("knee.nii.gz"), source)
    film_row, film_column = knees.place(1, "left").centre_px
    with manifest.open("a") as file:
        file.write(f"9000201;R;V00;crop.png;knee.nii.gz;1;DESS;{FILM_SPACING[0]}\n")
        film_file, scan = knees.film(1, "no_spacing"), knees.series(1, "left", "dess")
        file.write(f"9000202;L;;{film_file};{scan};;;{film.spacing[0]}\n")
    with manifest.with_name("places.csv").open("a") as file:
        file.write(f"{film_file},left,{film_row},{film_column}\n")
    only = {("right", "V00"): PAIRED}
    return (
        MadeSubject("9000201", 0, None, {}, only, kl={"right": 1}),
        MadeSubject("9000202", 1, None, {}, {("left", ""): PAIRED}),
    )


def test_killed_and_started_again_on_beam_the_records_are_those_of_one_process(knees, tmp_path):
    chosen = [s for s in subjects() if s.name in ("9000103", "9000106", "9000108", "9000110")]
    write_release(tmp_path / "oai", knees, tuple(chosen))
    data_dir = tmp_path / "data"
    script = REPOSITORY / "launch" / "prepare.py"
    running = subprocess.Popen(
        [sys.executable, script, *arguments(tmp_path / "oai", data_dir)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started = data_dir / "knee_pairs" / "smoke"
    while not list(started.glob("*incomplete*")):
        assert running.poll() is None
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert not (started / "1.0.0").exists()
    said = prepare(tmp_path / "oai", data_dir, "--beam_runner=DirectRunner")
    assert "2 of 6 pairs could not be used" in said
    assert [path.name for path in started.iterdir()] == ["1.0.0"]
    beam = datasets.load_builder("knee_pairs/smoke", data_dir)
    options = {field.name: getattr(OPTIONS, field.name) for field in dataclasses.fields(OPTIONS)}
    alone = datasets.prepare(
        "knee_pairs/smoke", tmp_path / "alone", source=tmp_path / "oai", options=options
    )
    for split in alone.info.splits:
        for first, second in zip(
            alone.as_data_source(split), beam.as_data_source(split), strict=True
        ):
            for name, value in first.items():
                np.testing.assert_array_equal(value, second[name])
    assert report_of(alone) == report_of(beam)


def test_the_benchmark_of_preparation_measures_every_kind_of_work(knees):
    sides = {side: knees.series(0, side, "dess") for side in SIDES}
    report = measure([SubjectFiles(knees.film(0, "plain"), sides)], 4, 2, "smoke")
    kinds = {"planning", "decoding", "localising", "standardising", "encoding", "writing"}
    assert report["pairs"] == 4 and set(report["share"]) == kinds
    assert sum(report["share"].values()) == pytest.approx(1)
    assert min(report["work_s"].values()) > 0
    assert report["seconds_per_pair"] == pytest.approx(report["seconds"] / 4)
    assert 0 < report["processor_s_per_pair"] < report["seconds"]
    assert all(2**26 < peak < 2**31 for peak in report["worker_peak_bytes"])
    assert "4 pairs on 2 workers" in table(report)


def test_too_many_broken_pairs_end_the_run_and_the_report_says_how_far_it_came(knees, tmp_path):
    chosen = [s for s in subjects() if s.name in ("9000103", "9000109", "9000110")]
    write_release(tmp_path / "oai", knees, tuple(chosen))
    report = tmp_path / "report.csv"
    with pytest.raises(InputError, match=r"1 of 6 pairs unusable, expected at most 5\.0%"):
        datasets.prepare(
            "knee_pairs/smoke",
            tmp_path / "data",
            source=tmp_path / "oai",
            report=report,
            options={"split_shares": {"train": 1.0, "test": 0.0}},
        )
    with report.open(newline="") as file:
        reasons = {(row["subject"], row["reason"]) for row in csv.DictReader(file)}
    assert ("9000109", "spacing_unknown") in reasons and ("9000110", "not_reached") in reasons
    assert not list((tmp_path / "data").rglob("*array_record*"))


def test_a_collection_without_a_pair_or_with_places_of_other_files_is_refused(knees, tmp_path):
    chosen = [s for s in subjects() if s.name in ("9000107", "9000120")]
    write_release(tmp_path / "oai", knees, tuple(chosen))
    with pytest.raises(InputError, match=r"found no pair of radiograph and MRI.*no_radiograph"):
        make_plan(tmp_path / "oai", OPTIONS, tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"rejected"}
    chosen = [s for s in subjects() if s.name == "9000103"]
    write_release(tmp_path / "other", knees, tuple(chosen))
    places = tmp_path / "places.csv"
    places.write_text("file,side,row,col\nelsewhere.dcm,left,1,2\n")
    with pytest.raises(InputError, match=r"--places=.*places of other files.*elsewhere\.dcm"):
        options = PairOptions(places=str(places), split_shares={"train": 1.0})
        make_plan(tmp_path / "other", options)


@pytest.mark.parametrize("option", ["source", "folder", "places", "splits", "grades"])
def test_the_report_overwrites_no_input(tmp_path, option):
    table = tmp_path / "manifest.csv"
    table.write_text("subject,side,xray,mri\n")
    (tmp_path / "link.csv").symlink_to(table)
    given = {"source": table, "folder": tmp_path}.get(option, tmp_path / "elsewhere")
    options = {} if option in ("source", "folder") else {option: str(table)}
    options = {name: (value,) if name == "grades" else value for name, value in options.items()}
    with pytest.raises(InputError, match=r"--report: .*link.csv would overwrite .*manifest.csv"):
        datasets.prepare("knee_pairs", tmp_path / "data", 1, given, options, tmp_path / "link.csv")
    assert table.read_text().startswith("subject")


def test_subjects_may_be_split_by_a_file_but_not_into_two(knees, tmp_path):
    chosen = [s for s in subjects() if s.name in ("9000103", "9000106")]
    write_release(tmp_path / "oai", knees, tuple(chosen))
    splits = tmp_path / "splits.csv"
    splits.write_text("subject,split\n9000103,mine\n9000106,other\n9000999,mine\n")
    plan = make_plan(tmp_path / "oai", PairOptions(splits=str(splits)))
    assert plan.splits.subjects == {"mine": ("9000103",), "other": ("9000106",)}
    assert {name: len(tasks) for name, tasks in plan.tasks.items()} == {"mine": 1, "other": 1}
    assert [len(task.pairs) for task in plan.tasks["mine"]] == [2]
    splits.write_text("subject,split\n9000103,mine\n9000106,other\n9000103,other\n")
    with pytest.raises(InputError, match="subject '9000103' is in split"):
        make_plan(tmp_path / "oai", PairOptions(splits=str(splits)))
    splits.write_text("subject,split\n9000103,mine\n")
    with pytest.raises(InputError, match="subject '9000106' is in none of the splits"):
        make_plan(tmp_path / "oai", PairOptions(splits=str(splits)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_shares": {"all": 1.0}}, "found the name 'all'"),
        ({"sequence": "t2star"}, "sequence is 't2star'"),
        ({"visit_tolerance": -1}, "--visit_tolerance: found -1"),
        ({"duplicates": "both"}, "--duplicates: found 'both'"),
        ({"visit": "first"}, "--visit: found 'first'"),
        ({"spacing": 0.0}, "--spacing: found 0.0"),
        ({"clahe": (0.0, 8.0)}, "--clahe: found 0.0,8.0"),
        ({"max_broken": 2.0}, "--max_broken: found 2.0"),
        ({"split_shares": {"train": 0.5}}, "their sum is 0.5"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        PairOptions(**options)
