"""Tests of the reader of NIMH Data Archive packages and of the extraction of their archives."""

import dataclasses
import gzip
import io
import tarfile

import pytest

from xr2mri_jax.datasets.pairing import pair_source
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.oai import extract, opened, read_archive
from xr2mri_jax.io.records import MriSeries, RadiographFile, Source
from xr2mri_jax.io.sources import layout_of, read_source

KNEES = "Bilateral PA Fixed Flexion Knee"
IMAGE_COLUMNS = (
    "subjectkey",
    "src_subject_id",
    "image_file",
    "image_description",
    "study",
    "visit",
    "accession_number",
)
XRAY_COLUMNS = ("src_subject_id", "visit", "side", "examtype", "barcode")
GRADE_COLUMNS = ("src_subject_id", "visit", "readprj", "side", "xrkl", "barcode")
ADDRESS = "s3://NDAR_Central_1/submission_12345/00m/0.C.2/{subject}/20040914/{name}.tar.gz"


def write_nda(path, columns, rows):
    """A table as the archive writes it: quoted, tab separated, a second row of descriptions."""
    lines = [columns, [f"Description of {column}" for column in columns], *rows]
    text = "\n".join("\t".join(f'"{cell}"' for cell in line) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")


def write_tar(path, members):
    """A tar.gz of (name, content) or TarInfo entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def image(subject, name, description, visit="V00", study="OAI Image Release 0.C.2", accession=None):
    address = ADDRESS.format(subject=subject, name=name)
    return ("K", subject, address, description, study, visit, accession or "0166" + name)


def package(root, images, xrays=(), grades=(), present=True):
    root.mkdir(parents=True, exist_ok=True)
    write_nda(root / "image03.txt", IMAGE_COLUMNS, images)
    if xrays:
        write_nda(root / "oai_xrmeta01.txt", XRAY_COLUMNS, xrays)
    if grades:
        write_nda(root / "oai_kxrsemiquant01.txt", GRADE_COLUMNS, grades)
    for entry in images if present else ():
        relative = entry[2].partition("submission_12345/")[2]
        write_tar(root / "image03" / relative, [("./001", b"pixels")])
    return root


def test_tables_are_joined_by_barcode(tmp_path):
    root = package(
        tmp_path / "nda",
        [
            image("9000099", "00341204", KNEES),
            image("9000099", "10142509", "SAG_3D_DESS_RIGHT"),
            image("9000099", "10142510", "AX_T1_THIGH"),
        ],
        [("9000099", "V00", "3", KNEES, "016600341204")],
        [("9000099", "V00", "15", "1", "2", "016600341204")],
    )
    assert layout_of(root) == "archive"
    source = read_source(root)
    (film,), (scan,), (grade,) = source.radiographs, source.series, source.grades
    assert (film.subject, film.visit, film.side, film.problem) == ("9000099", "V00", None, "")
    assert film.path == root / "image03/00m/0.C.2/9000099/20040914/00341204.tar.gz"
    assert (scan.sequence, scan.exact, scan.side, scan.barcode) == (
        "dess",
        True,
        "right",
        "016610142509",
    )
    assert (grade.knee, grade.kl) == (("9000099", "right", "V00"), 2)
    assert source.ignored == {"AX_T1_THIGH": 1}
    assert source.problems == ()


@pytest.mark.parametrize("place", ["packages/1217891", "1217891/tables", "OAI_00m/1217891"])
def test_a_package_named_by_seven_digits_is_found_but_participants_are_not_searched(
    tmp_path, place
):
    root = tmp_path / "nda"
    package(root / place, [image("9000099", "00341204", KNEES)])
    # Neither below a release nor elsewhere are the folders of participants searched.
    for hidden in ("0.C.2/9000099", "files/9000100/20040914"):
        package(root / hidden, [image("9000099", "00000001", KNEES)])
    assert layout_of(root) == "archive"
    (film,) = read_archive(root).radiographs
    assert film.barcode == "016600341204"


def test_description_side_and_visit_from_the_xray_table(tmp_path):
    root = package(
        tmp_path / "nda",
        [image("9000099", "00341204", "X-Ray", visit="", study="")],
        [("9000099", "V03", "2", "Unilateral PA Knee", "00341204")],
    )
    (film,) = read_archive(root).radiographs
    assert (film.side, film.visit) == ("left", "V03")


@pytest.mark.parametrize(
    ("visit", "study", "expected"),
    [("V05", "0.C.2", "V05"), ("", "OAI Image Release 6.C.1", "V06"), ("", "", "V00")],
)
def test_visit_by_column_then_release_then_path(tmp_path, visit, study, expected):
    root = package(tmp_path / "nda", [image("1", "00000001", KNEES, visit, study)])
    assert read_archive(root).radiographs[0].visit == expected


def test_a_scan_repeated_after_new_year_is_the_later_one(tmp_path):
    columns = (*IMAGE_COLUMNS, "interview_date")
    dates = ("12/28/2004", "01/05/2005", "2005-01-04", "soon", "")
    rows = [
        (*image("1", f"1000000{number}", "SAG_3D_DESS_RIGHT"), date)
        for number, date in enumerate(dates)
    ]
    write_nda(tmp_path / "image03.txt", columns, rows)
    source = read_archive(tmp_path)
    found = [scan.date for scan in source.series]
    assert found == ["2004-12-28", "2005-01-05", "2005-01-04", "", ""]
    (note,) = source.problems
    assert "row 6, column interview_date: found 'soon', expected MM/DD/YYYY" in note
    present = tuple(dataclasses.replace(scan, problem="") for scan in source.series)
    film = RadiographFile("1", "V00", tmp_path)
    (pair,) = pair_source(Source((film,), present)).pairs
    assert pair.series.barcode == "016610000001"


def test_unknown_visit(tmp_path):
    entry = ("K", "1", "files/00000001.tar.gz", KNEES, "", "", "1")
    root = package(tmp_path / "nda", [entry], present=False)
    with pytest.raises(InputError, match="row 3, column visit: found ''"):
        read_archive(root)
    assert read_archive(root, visit="V10").radiographs[0].visit == "V10"


def test_archive_not_downloaded_is_a_problem_and_elsewhere_is_found(tmp_path):
    images = [image("1", "00000001", "SAG_3D_DESS_LEFT"), image("2", "00000002", KNEES)]
    root = package(tmp_path / "nda", images, present=False)
    write_tar(root / "9/20040914/00000002.tar.gz", [("001", b"x")])
    (root / "9").rename(root / "image03")
    source = read_archive(root)
    assert "row 3" in source.series[0].problem and "is not under" in source.series[0].problem
    assert source.radiographs[0].path == root / "image03/20040914/00000002.tar.gz"


def test_grades_that_lead_nowhere_are_counted(tmp_path):
    root = package(
        tmp_path / "nda",
        [image("1", "00000001", KNEES)],
        [("1", "V00", "3", KNEES, "016600000001"), ("1", "V00", "3", KNEES, "016600000009")],
        [
            ("1", "V00", "15", "1", "2", "016600000001"),
            ("1", "V00", "15", "2", "2", "016600000009"),
            ("2", "V00", "15", "2", "2", "016600000001"),
        ],
    )
    assert read_archive(root).problems == (
        "1 grades have a barcode that oai_xrmeta01.txt does not list",
        "2 grades have a barcode of which image03.txt lists no radiograph",
    )


def test_images_listed_in_two_packages_count_once(tmp_path):
    package(tmp_path / "a", [image("1", "00000001", KNEES)])
    package(tmp_path / "b", [image("1", "00000001", KNEES)])
    source = read_archive(tmp_path)
    assert len(source.radiographs) == 1 and "listed twice" in source.problems[0]


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_archive(tmp_path / "none")
    with pytest.raises(InputError, match=r"found no image03\.txt"):
        read_archive(tmp_path)
    root = package(tmp_path / "nda", [image("", "00000001", KNEES)])
    with pytest.raises(InputError, match="row 3, column src_subject_id"):
        read_archive(root)
    for address in ("s3://bucket/../../etc/passwd", "", "s3://b/" + "y" * 300):
        package(tmp_path / "nda", [("K", "1", address, KNEES, "", "V00", "1")], present=False)
        with pytest.raises(InputError, match="column image_file"):
            read_archive(root)


def series(path):
    return MriSeries("1", "V00", "right", path, "dess")


def radiograph(path):
    return RadiographFile("1", "V00", path)


def test_opened_extracts_and_cleans_up(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", [("./9/001", b"one"), ("./9/002", b"two" * 700)])
    scratch = tmp_path / "scratch"
    with opened(series(path), scratch) as folder:
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
            "001": b"one",
            "002": b"two" * 700,
        }
    assert list(scratch.iterdir()) == []


def test_opened_gives_one_file_and_plain_paths_as_they_are(tmp_path):
    path = write_tar(tmp_path / "a.tgz", [("001", b"one")])
    with opened(radiograph(path), tmp_path / "scratch") as file:
        assert file.read_bytes() == b"one"
    plain = tmp_path / "001"
    plain.write_bytes(b"x")
    with opened(radiograph(plain), tmp_path / "other") as file:
        assert file == plain
    assert not (tmp_path / "other").exists()


def test_opened_cleans_up_after_an_error(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", [("001", b"one"), ("002", b"two")])
    with (
        pytest.raises(InputError, match="found 2 files, expected one radiograph"),
        opened(radiograph(path), tmp_path / "scratch"),
    ):
        pass
    with pytest.raises(RuntimeError, match="mine"), opened(series(path), tmp_path / "scratch"):
        raise RuntimeError("mine")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_opened_refuses_a_record_with_a_problem(tmp_path):
    record = RadiographFile("1", "V00", tmp_path, problem="row 3: not there")
    with pytest.raises(InputError, match="row 3: not there"), opened(record, tmp_path):
        pass


def special(name, kind):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("001", b"x"), ("../evil", b"x")], "leads out"),
        ([("001", b"x"), ("/tmp/evil", b"x")], "leads out"),
        ([("001", b"x"), ("a/../../evil", b"x")], "leads out"),
        ([("001", b"x"), ("a\\evil", b"x")], "leads out"),
        ([("001", b"x"), special("link", tarfile.SYMTYPE)], "link or device"),
        ([("001", b"x"), special("hard", tarfile.LNKTYPE)], "link or device"),
        ([("001", b"x"), special("pipe", tarfile.FIFOTYPE)], "link or device"),
        ([("a/001", b"x"), ("b/001", b"x")], "files in 2 folders"),
        ([("001", b"x"), ("001", b"y")], "cannot be extracted"),
        ([], "found no file"),
        ([("001", b"x" * 2000)], "more than 1000 bytes"),
    ],
)
def test_unsafe_and_useless_archives_leave_nothing_behind(tmp_path, members, message):
    archive = write_tar(tmp_path / "a.tar.gz", members)
    folder = tmp_path / "out" / "inner"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=message) as caught:
        extract(archive, folder, max_bytes=1000)
    assert "a.tar.gz" in str(caught.value)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def raw_tar(sizes):
    """The bytes of a tar without compression, with incompressible-like members of these sizes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"{number:03d}")
            info.size = size
            tar.addfile(
                info, io.BytesIO(bytes((7 * index + number) % 251 for index in range(size)))
            )
    return buffer.getvalue()


def test_every_truncation_of_the_tar_is_refused(tmp_path):
    whole = raw_tar([700, 512, 100])
    assert len(whole) == 10240  # three members end at 3584: the rest is the end of the archive
    for length in [*range(0, 3584 + 512, 128), 3584 + 511]:
        for suffix, data in ((".tar", whole[:length]), (".tar.gz", gzip.compress(whole[:length]))):
            path = tmp_path / f"a{suffix}"
            path.write_bytes(data)
            with pytest.raises(InputError, match=r"a\.tar"):
                extract(path, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".tar", ".gz"}


def test_every_truncation_of_the_gzip_is_refused(tmp_path):
    whole = gzip.compress(raw_tar([700, 512, 100]), mtime=0)
    path = tmp_path / "a.tar.gz"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.tar\.gz"):
            extract(path, tmp_path)
    path.write_bytes(whole)
    assert [file.stat().st_size for file in extract(path, tmp_path)] == [700, 512, 100]


def test_a_flipped_bit_is_refused(tmp_path):
    whole = gzip.compress(raw_tar([3000, 512]), mtime=0, compresslevel=0)
    path = tmp_path / "a.tar.gz"
    for position in range(600, 3000, 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(InputError, match=r"a\.tar\.gz"):
            extract(path, tmp_path)


def test_no_archive_at_all(tmp_path):
    path = tmp_path / "a.tar.gz"
    with pytest.raises(InputError, match="No such file"):
        extract(path, tmp_path)
    path.write_bytes(b"not a tar archive" * 100)
    with pytest.raises(InputError, match="no tar archive"):
        extract(path, tmp_path)
