"""What was decided while reading is said, in the report and on the screen; echoes are chosen."""

import csv
import shutil

import numpy as np
import pydicom
import pytest
from made_knees import FILM_SHAPE, FILM_SPACING, SEED, SHAPE, SLICES

from xr2mri_jax import datasets
from xr2mri_jax.phantom.bilateral import simulate_bilateral
from xr2mri_jax.phantom.case import simulate_case
from xr2mri_jax.tools.benchmarks.phantom_files import dess_volume, write_film, write_series

FILM = "ViewPosition (0018,5101) is LL, expected AP or PA"
ECHOES = "2 echoes (EchoTime (0018,0081) 5, 30 ms), the first is taken (--echo chooses)"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Films with an odd header, and a right knee's MRI: of two echoes, and of the second alone."""
    root = tmp_path_factory.mktemp("collection")
    film = simulate_bilateral(SEED, 0, FILM_SHAPE, FILM_SPACING)
    for subject in "abc":
        (root / subject).mkdir()
        write_film(root / subject / "film", film.image, film.spacing)
        change(root / subject / "film", root / subject / "film", ViewPosition="LL")
    volume = dess_volume(simulate_case(SEED, 0, SHAPE), slices=SLICES)
    write_series(root / "plain", volume, "SAG_3D_DESS_RIGHT")
    for name in ("both", "second"):
        (root / name).mkdir()
    for path in sorted((root / "plain").iterdir()):
        change(path, root / "both" / path.name, EchoTime=5)
        # Fluid and fat stay bright in the second echo, the rest gets darker.
        for target in ("both", "second"):
            change(path, root / target / f"{path.name}e2", lambda a: a // 64 * a // 64, EchoTime=30)
    (root / "pairs.csv").write_text(
        "subject,side,xray,mri,view\na,right,a/film,both,bilateral\n"
        "b,right,b/film,second,bilateral\nc,right,c/film,plain,bilateral\n"
    )
    return root


def change(source, target, pixels=None, **tags):
    dataset = pydicom.dcmread(source)
    for name, value in tags.items():
        setattr(dataset, name, value)
    if pixels is not None:
        stored = np.frombuffer(dataset.PixelData, np.uint16)
        dataset.PixelData = pixels(stored.astype(np.int64)).clip(0, 65535).astype("<u2").tobytes()
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.save_as(target)


def prepared(collection, folder, **options):
    """(the report's rows by subject, the examples by subject, what the screen shows)."""
    builder = datasets.prepare(
        "knee_pairs/smoke",
        folder / "data",
        source=collection / "pairs.csv",
        options={"split_shares": {"train": 1.0}, "max_broken": 0.5, **options},
    )
    with open(builder.data_path / "report.csv", newline="") as file:
        rows = {row["subject"]: row for row in csv.DictReader(file)}
    found = {example["subject"].decode(): example for example in builder.as_data_source("train")}
    return rows, found, builder.report


def test_the_first_echo_is_taken_and_said(collection, tmp_path):
    rows, found, screen = prepared(collection, tmp_path)
    assert rows["a"]["status"] == "paired"
    assert rows["a"]["detail"] == f"film: {FILM}; both: {ECHOES}"
    assert rows["c"]["detail"] == f"film: {FILM}"
    np.testing.assert_array_equal(found["a"]["mri"], found["c"]["mri"])
    assert "3 of 3 pairs are used with doubts:" in screen
    assert f"  a_right: film: {FILM}; both: {ECHOES}" in screen.splitlines()
    assert ECHOES in found["a"]["record"].decode() and FILM in found["a"]["record"].decode()


def test_another_echo_is_chosen_and_must_be_there(collection, tmp_path):
    rows, found, _ = prepared(collection, tmp_path, echo=2, max_broken=0.7)
    assert rows["a"]["detail"] == f"film: {FILM}"
    assert rows["c"]["reason"] == rows["b"]["reason"] == "mri_broken"
    said = "plain: --echo is 2, expected 1 to 1, the number of echoes"
    assert rows["c"]["detail"].endswith(said)
    _, alone, _ = prepared(collection, tmp_path / "first")
    np.testing.assert_array_equal(found["a"]["mri"], alone["b"]["mri"])
    assert np.abs(found["a"]["mri"].astype(int) - alone["a"]["mri"]).max() > 5000


@pytest.mark.parametrize("tag", ["Laterality", "ImageLaterality", "SeriesDescription"])
def test_an_mri_of_the_other_knee_by_its_header_is_rejected(collection, tmp_path, tag):
    source = tmp_path / "collection"
    for name, side in (("told", "RIGHT"), ("other", "LEFT")):
        (source / name).mkdir(parents=True)
        for path in (collection / "plain").iterdir():
            change(path, source / name / path.name, **{tag: side})
    for subject in "ab":
        shutil.copytree(collection / subject, source / subject)
    (source / "pairs.csv").write_text(
        "subject,side,xray,mri,view\n"
        "a,right,a/film,told,bilateral\nb,right,b/film,other,bilateral\n"
    )
    rows, found, _ = prepared(source, tmp_path)
    assert (rows["a"]["status"], rows["b"]["reason"]) == ("paired", "mri_broken")
    said = "other: its header says left, expected right as in the collection's table"
    assert rows["b"]["detail"].endswith(said)
    assert set(found) == {"a"}
