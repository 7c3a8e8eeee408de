"""What names a patient in an input is in no byte of any output, unless it is asked for."""

import gzip
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from array_record.python.array_record_module import ArrayRecordReader
from command_process import run
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from xr2mri_jax import samples

# By tag. A word of each name is enough to find it, in either case.
PLANTED = {
    "PatientName": "Plantedname^Zora",
    "PatientID": "PLANTID77123",
    "PatientBirthDate": "19471103",
    "OtherPatientIDs": "OTHERPLANT9",
    "PatientAddress": "Plantedstreet",
    "PatientComments": "PLANTEDCOMMENT",
    "InstitutionName": "Plantedclinic",
    "InstitutionAddress": "Plantedtown",
    "ReferringPhysicianName": "Plantedreferrer",
    "OperatorsName": "Plantedoperator",
    "StationName": "PLANTSTATION",
    "AccessionNumber": "ACC5550199",
    "StudyID": "STUDY5550",
    "StudyDescription": "PLANTEDSTUDY",
    "StudyDate": "20110713",
    "StudyInstanceUID": "1.2.826.0.1.3680043.99.4242.1",
    "DeviceSerialNumber": "SERIAL775577",
}
PRIVATE, NESTED, TEXT = "PRIVATEPLANT", "NESTEDPLANT", "TEXTPLANT"
WORDS = [*PLANTED.values(), PRIVATE, NESTED, TEXT, "Plantedname", "Zora"]
# What `--keep_identity` carries over.
KEPT = ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID")


def write_dicom(path: Path, pixels: np.ndarray, spacing: float) -> None:
    """A radiograph u16[h, w] with everything that is planted."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    made = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    for keyword, value in PLANTED.items():
        setattr(made, keyword, value)
    made.add_new((0x0009, 0x0010), "LO", "OWNER")
    made.add_new((0x0009, 0x1001), "LO", PRIVATE)
    item = Dataset()
    item.RequestedProcedureDescription = NESTED
    made.RequestAttributesSequence = [item]
    made.Modality, made.ImageLaterality = "DX", "R"
    made.Rows, made.Columns = pixels.shape
    made.ImagerPixelSpacing = [spacing, spacing]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelRepresentation, made.PixelData = 0, pixels.tobytes()
    made.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def pixels():
    """The sample, u16[h, w]."""
    with Image.open(samples.KNEE) as image:
        return np.asarray(image.convert("L")).astype(np.uint16) * 257


@pytest.fixture(scope="module")
def xray(pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "knee.dcm"
    write_dicom(path, pixels, 0.5)
    return path


def parts(name: str, content: bytes):
    """A file's bytes, and all that is packed in them."""
    yield name, content
    if content[:2] == b"\x1f\x8b":
        yield from parts(f"{name}, unpacked", gzip.decompress(content))
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from parts(f"{name}/{member}", archive.read(member))
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            yield f"{name}, text", repr(image.info).encode()
    elif content[128:132] == b"DICM":
        found = pydicom.dcmread(io.BytesIO(content))
        yield f"{name}, tags", str(found).encode()


def all_parts(folder: Path):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.name.encode()
            yield from parts(str(path.relative_to(folder)), path.read_bytes())
            if ".array_record-" in path.name:
                reader = ArrayRecordReader(str(path))
                for number, record in enumerate(reader.read_all()):
                    yield f"{path.name} {number}", record
                reader.close()


def found_in(folder: Path, said: str, words=WORDS) -> list[tuple[str, str]]:
    """Where the words are: in files, in their names, on the screen."""
    places = [*all_parts(folder), ("the screen", said.encode())]
    assert len(places) > 1, "nothing was written"
    return [
        (place, word)
        for place, content in places
        for word in words
        if word.lower().encode() in content.lower()
    ]


def ran(*words) -> str:
    ended = run(*words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def predicted(xray, folder, *flags) -> str:
    return ran(
        "predict",
        f"--xray={xray}",
        f"--output={folder / 'v.nii.gz'}",
        f"--labels={folder / 'l.nii.gz'}",
        f"--meshes={folder / 'meshes'}",
        f"--dicom_dir={folder / 'dicom'}",
        *flags,
    )


def test_the_search_finds_what_is_there(xray):
    found = {word for _, word in found_in(xray.parent, "")}
    assert found == set(WORDS) - {TEXT}


def test_predict_carries_nothing(xray, tmp_path):
    assert not found_in(tmp_path, predicted(xray, tmp_path))
    names = {path.name for path in tmp_path.rglob("*")}
    assert {"v.nii.gz", "v.png", "v.json", "l.nii.gz", "l.json", "femur.stl"} <= names
    assert len(list((tmp_path / "dicom").iterdir())) > 10


def test_identity_is_in_the_dicom_series_alone_and_no_more_of_it(xray, tmp_path):
    said = predicted(xray, tmp_path, "--keep_identity")
    found = found_in(tmp_path, said)
    assert {PLANTED[keyword] for keyword in KEPT} <= {word for _, word in found}
    assert all(place.startswith("dicom/") for place, _ in found)
    assert not {PRIVATE, NESTED, PLANTED["PatientComments"], PLANTED["PatientAddress"]} & {
        word for _, word in found
    }


def test_grade_carries_nothing(xray, pixels, tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.dcm").write_bytes(xray.read_bytes())
    text = PngInfo()
    text.add_text("Patient", TEXT, zip=True)
    Image.fromarray((pixels // 257).astype(np.uint8)).save(source / "b.png", pnginfo=text)
    flags = f"--output={output / 'g.csv'}", f"--html={output / 'g.html'}"
    assert not found_in(output, ran("grade", f"--xray={source}", *flags))
    assert {"g.csv", "g.html", "g_pictures"} == {path.name for path in output.iterdir()}
    assert list(output.rglob("*.png"))


def test_prepare_carries_nothing(labels, tmp_path):
    source, data = tmp_path / "in", tmp_path / "data"
    source.mkdir()
    made = f"--xray={source / 'x.png'}", f"--mri={source / 'm.nii.gz'}"
    ran("simulate", f"--labels={labels}", "--side=right", *made)
    with Image.open(source / "x.png") as image:
        simulated = np.asarray(image).astype(np.uint16)
    record = (source / "x.json").read_text()
    spacing = float(record.partition('"spacing_mm": [')[2].split(",")[0])
    write_dicom(source / "x.dcm", simulated, spacing)
    scan = nib.load(source / "m.nii.gz")
    scan.header["descrip"] = PLANTED["PatientName"]
    scan.header["aux_file"] = PLANTED["PatientID"]
    nib.save(nib.Nifti1Image(np.asarray(scan.dataobj), scan.affine, scan.header), source / "m.nii")
    row = "s1,right,V00,x.dcm,m.nii,2,single"
    (source / "manifest.csv").write_text(f"subject,side,visit,xray,mri,kl,view\n{row}\n")
    said = ran(
        "prepare",
        "--dataset=knee_pairs/smoke",
        f"--data_dir={data}",
        f"--source={source / 'manifest.csv'}",
        "--num_workers=1",
        "--split_shares=train=1",
        f"--report={data / 'report.csv'}",
    )
    assert not found_in(data, said)
    assert list(data.rglob("*.array_record-*"))
