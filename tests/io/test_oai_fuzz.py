"""Broken tables and archives are read or refused in one line; none ends in a traceback."""

import gzip
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.manifest import read_manifest
from xr2mri_jax.io.oai import extract, read_archive, read_grades, read_release

RELEASE = (
    b"Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription\n"
    b'0.C.2/9000099/2004/00341204,9000099,2004,00341204,"OAI ",Bilateral PA Fixed Flexion Knee\n'
    b"0.E.1/9000099/2004/00399901,9000099,2004,00399901,OAI^MR,SAG_3D_DESS_RIGHT\n"
)
ARCHIVE = (
    b'"src_subject_id"\t"image_file"\t"image_description"\t"visit"\t"accession_number"\n'
    b'"Subject"\t"Address"\t"Description"\t"Visit"\t"Accession"\n'
    b'"9000099"\t"s3://b/submission_1/00m/00341204.tar.gz"\t"SAG_3D_DESS_LEFT"\t"V00"\t"0166"\n'
)
GRADES = b"ID|SIDE|READPRJ|V00XRKL\n9000099|1: Right|15|2: 2\n9000099|2: Left|37|.A\n"
MANIFEST = b"subject,side,visit,xray,mri,kl\n1,left,V00,x.png,m.nii,2\n2,right,24m,y,,\n"


def tar_bytes():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("001", "002"):
            info = tarfile.TarInfo(name)
            info.size = 300
            tar.addfile(info, io.BytesIO(bytes(range(150)) * 2))
    return buffer.getvalue()[:4096]


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5000), st.integers(0, 255)),
        st.tuples(st.just("cut"), st.integers(0, 5000), st.integers(0, 60)),
        st.tuples(st.just("insert"), st.integers(0, 5000), st.sampled_from(b'",\t|\n\r;:./\\\0~')),
        st.tuples(st.just("end"), st.integers(0, 5000), st.just(0)),
    ),
    min_size=1,
    max_size=4,
)


def changed(content, changes):
    data = bytearray(content)
    for kind, position, value in changes:
        at = position % (len(data) + 1)
        if kind == "set" and at < len(data):
            data[at] = value
        elif kind == "cut":
            del data[at : at + value]
        elif kind == "insert":
            data.insert(at, value)
        elif kind == "end":
            del data[at:]
    return bytes(data)


def in_folder(name, reader):
    def read(folder, content):
        (folder / name).write_bytes(content)
        return reader(folder)

    return read


def as_file(name, reader):
    def read(folder, content):
        (folder / name).write_bytes(content)
        return reader(folder / name)

    return read


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (RELEASE, in_folder("contents.csv", read_release)),
        (ARCHIVE, in_folder("image03.txt", read_archive)),
        (GRADES, as_file("kxr_sq_bu00.txt", lambda path: read_grades([path]))),
        (MANIFEST, as_file("manifest.csv", read_manifest)),
    ],
    ids=["release", "archive", "grades", "manifest"],
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=CHANGES)
def test_broken_tables(tmp_path, content, read, changes):
    try:
        read(tmp_path, changed(content, changes))
    except InputError as error:
        assert str(error) and "\n" not in str(error)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=CHANGES, zipped=st.sampled_from(["no", "before", "after"]))
def test_broken_archives(tmp_path, changes, zipped):
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    data = tar_bytes() if zipped == "no" else gzip.compress(tar_bytes(), mtime=0)
    data = changed(tar_bytes() if zipped == "before" else data, changes)
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(data) if zipped == "before" else data)
    try:
        files = extract(archive, folder)
    except InputError as error:
        assert str(error) and "\n" not in str(error)
        files = []
    inside = {path for path in tmp_path.rglob("*") if path.is_file()} - {archive}
    assert inside == set(files)
    for path in files:
        path.unlink()
