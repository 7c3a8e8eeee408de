"""Small made files of every readable kind, which the fuzzer breaks."""

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gdcm
import nibabel as nib
import nrrd
import numpy as np
import pydicom
from PIL import Image
from pydicom import encaps, uid
from pydicom.dataset import Dataset, FileMetaDataset

# JPEG 2000 with its five levels needs 32 pixels each way.
ROWS, COLUMNS, SLICES = 40, 36, 6
_TABLES = {
    "manifest.csv": b"subject,side,visit,xray,mri,kl\n1,left,V00,x.png,m.nii,2\n2,right,24m,y,,\n",
    "contents.csv": (
        b"Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription\n"
        b'0.C.2/9000099/2004/00341204,9000099,2004,00341204,"OAI ",Bilateral PA Fixed Flexion '
        b"Knee\n0.E.1/9000099/2004/00399901,9000099,2004,00399901,OAI^MR,SAG_3D_DESS_RIGHT\n"
    ),
    "image03.txt": (
        b'"src_subject_id"\t"image_file"\t"image_description"\t"visit"\t"accession_number"\n'
        b'"Subject"\t"Address"\t"Description"\t"Visit"\t"Accession"\n'
        b'"9000099"\t"s3://b/submission_1/00m/1.tar.gz"\t"SAG_3D_DESS_LEFT"\t"V00"\t"0166"\n'
    ),
    "kxr_sq_bu00.txt": (
        b"ID|SIDE|READPRJ|V00XRKL|V00XRJSM\n9000099|1: Right|15|2: 2|0\n9000099|2: Left|37|.A|1\n"
    ),
    "places.csv": b"file,side,row,col\nx.dcm,right,1200,800.5\nx.dcm,left,1210,2100\n",
}


class Seed(NamedTuple):
    """One sound input.

    Attributes:
      name: for the report.
      kind: the reader: "radiograph", "volume", "labels", "series", "archive" or a table's file
        name.
      files: content by name; a series has several.
    """

    name: str
    kind: str
    files: dict[str, bytes]


def made_seeds() -> list[Seed]:
    """Every kind of file, with the same bytes in every run.

    See `seeds_of_programs` for the formats of telephones, ITK, 3D Slicer and newer scanners.
    """
    return [
        *_radiographs(),
        *_series(),
        *_volumes(),
        *(Seed(name, name, {name: content}) for name, content in _TABLES.items()),
        Seed("archive", "archive", {"series.tar.gz": _archive()}),
        Seed("archive zip", "archive", {"series.zip": _zip_archive()}),
    ]


def seeds_of_folder(folder: str | Path, largest: int = 3_000_000) -> list[Seed]:
    """Sound inputs from the user's own files under `folder`, with kinds detected by content.

    Files larger than `largest` bytes are left out; the first ten DICOM files with slices (by name)
    of every folder form one series.
    """
    from xr2mri_jax.errors import InputError
    from xr2mri_jax.io import formats

    seeds: list[Seed] = []
    for place in sorted({path.parent for path in Path(folder).rglob("*") if path.is_file()}):
        slices: dict[str, bytes] = {}
        for path in sorted(p for p in place.iterdir() if p.is_file())[:40]:
            if path.stat().st_size > largest:
                continue
            try:
                kind = formats.sniff(path)
            except InputError:
                continue
            if kind == "dicom" and pydicom.dcmread(path, stop_before_pixels=True).get(
                "ImagePositionPatient"
            ):
                slices[path.name] = path.read_bytes()
            elif len(seeds) < 200:
                volumes = ("nifti", "nrrd", "metaimage", "mgh")
                reader = "volume" if kind in volumes else "radiograph"
                seeds.append(Seed(f"own {kind}", reader, {path.name: path.read_bytes()}))
        if len(slices) >= 2:
            seeds.append(Seed("own series", "series", dict(list(slices.items())[:10])))
    return seeds


def image_dataset(pixels: np.ndarray, modality: str, syntax: str, **tags: Any) -> Dataset:
    """A DICOM image of 12 or 16 stored bits, uncompressed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.SOPClassUID = (
        uid.MRImageStorage if modality == "MR" else uid.DigitalXRayImageStorageForPresentation
    )
    dataset.SOPInstanceUID = uid.generate_uid(entropy_srcs=[modality, str(sorted(tags))])
    dataset.Modality = modality
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = 12 if pixels.dtype.itemsize == 2 else 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def dicom_bytes(dataset: Dataset) -> bytes:
    """The dataset as a DICOM file, with valid group lengths and meta information."""
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def made_picture() -> np.ndarray:
    """u16[ROWS, COLUMNS] of 12 bits."""
    values = np.random.default_rng(1).normal(2000, 300, (ROWS, COLUMNS))
    return values.clip(0, 4095).astype(np.uint16)


def _radiographs() -> list[Seed]:
    tags = {"ImagerPixelSpacing": [0.2, 0.2], "ImageLaterality": "R", "WindowCenter": 2000}
    tags |= {"WindowWidth": 3000, "RescaleSlope": 1, "RescaleIntercept": 0}
    picture, found = made_picture(), []
    bare = {
        "explicit": uid.ExplicitVRLittleEndian,
        "implicit": uid.ImplicitVRLittleEndian,
        "deflated": uid.DeflatedExplicitVRLittleEndian,
    }
    for name, syntax in bare.items():
        dataset = image_dataset(picture, "DX", syntax, **tags)
        found.append((f"dicom {name}", dicom_bytes(dataset)))
    inverse = image_dataset(picture, "CR", bare["explicit"], **tags)
    inverse.PhotometricInterpretation = "MONOCHROME1"
    found.append(("dicom monochrome1", dicom_bytes(inverse)))
    for name, syntax in (("rle", uid.RLELossless), ("jpeg 2000", uid.JPEG2000Lossless)):
        dataset = image_dataset(picture, "DX", bare["explicit"], **tags)
        dataset.compress(syntax, generate_instance_uid=False)
        found.append((f"dicom {name}", dicom_bytes(dataset)))
    grey = (picture // 16).astype(np.uint8)
    packed = image_dataset(grey, "DX", bare["explicit"], **tags)
    packed.PixelData = encaps.encapsulate([_image_bytes(grey, "JPEG")])
    packed.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    packed["PixelData"].is_undefined_length = True
    found.append(("dicom jpeg", dicom_bytes(packed)))
    codecs = {"jpeg lossless": "JPEGLosslessProcess14_1", "jpeg-ls": "JPEGLSLossless"}
    for name, codec in codecs.items():
        dataset = image_dataset(picture, "DX", bare["explicit"], **tags)
        _compress_by_gdcm(dataset, codec)
        found.append((f"dicom {name}", dicom_bytes(dataset)))
    for name, values, form in (
        ("png 8", grey, "PNG"),
        ("png 16", picture, "PNG"),
        ("tiff 8", grey, "TIFF"),
        ("tiff 16", picture, "TIFF"),
        ("jpeg", grey, "JPEG"),
    ):
        found.append((name, _image_bytes(values, form)))
    flat = nib.Nifti1Image(grey.T[:, :, None].copy(), np.diag((0.4, 0.4, 1, 1)))
    found.append(("nifti picture", flat.to_bytes()))
    return [Seed(name, "radiograph", {"x": content}) for name, content in found]


def _compress_by_gdcm(dataset: Dataset, syntax: str) -> None:
    """Compresses into a syntax that only GDCM among our decoders can write."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = str(Path(folder) / "plain"), str(Path(folder) / "packed")
        Path(plain).write_bytes(dicom_bytes(dataset))
        reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(plain)
        done = reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        done = done and change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(packed)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not (done and writer.Write()):
            raise RuntimeError(f"GDCM cannot write {syntax}")
        written = pydicom.dcmread(packed)
    # Only the pixels, because the file written by GDCM has new UIDs in every run.
    dataset.file_meta.TransferSyntaxUID = written.file_meta.TransferSyntaxUID
    dataset.PixelData = written.PixelData
    dataset["PixelData"].is_undefined_length = True


def _image_bytes(values: np.ndarray, form: str) -> bytes:
    stream = io.BytesIO()
    options = {"compression": "tiff_lzw"} if form == "TIFF" else {}
    Image.fromarray(values).save(stream, form, **options)
    return stream.getvalue()


def made_voxels(dtype: type) -> np.ndarray:
    """[COLUMNS, ROWS, SLICES], 0..2047."""
    values = np.random.default_rng(2).normal(800, 200, (COLUMNS, ROWS, SLICES))
    return values.clip(0, 2047).astype(dtype)


def _series() -> list[Seed]:
    series = uid.generate_uid(entropy_srcs=["series"])
    seeds: list[Seed] = []
    for name, syntax in (
        ("", None),
        (" jpeg 2000", uid.JPEG2000Lossless),
        (" rle", uid.RLELossless),
    ):
        files = {}
        for k in range(SLICES):
            tags: dict[str, Any] = {
                "SeriesInstanceUID": series,
                "PixelSpacing": [0.36, 0.36],
                "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
                "ImagePositionPatient": [10 - 0.7 * k, -20, 30],
                "InstanceNumber": k + 1,
            }
            plane = np.ascontiguousarray(made_voxels(np.int16)[..., k].T)
            dataset = image_dataset(plane, "MR", uid.ExplicitVRLittleEndian, **tags)
            if syntax:
                dataset.compress(syntax, generate_instance_uid=False)
            files[f"{k + 1:03d}"] = dicom_bytes(dataset)
        seeds.append(Seed(f"series{name}", "series", files))
    return seeds


def _volumes() -> list[Seed]:
    affine = np.array([[0, 0, 0.7, 5], [-0.36, 0, 0, 9], [0, -0.36, 0, 3], [0, 0, 0, 1.0]])
    found = []
    forms: list[tuple[str, Callable, type, bool]] = [
        ("nifti", nib.Nifti1Image, np.int16, False),
        ("nifti gz", nib.Nifti1Image, np.float32, True),
        ("nifti-2", nib.Nifti2Image, np.uint8, False),
    ]
    for name, form, dtype, zipped in forms:
        image = form(made_voxels(dtype), affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        image.header.set_xyzt_units("mm")
        content = image.to_bytes()
        found.append((name, gzip.compress(content, mtime=0) if zipped else content))
    for encoding in ("raw", "gzip"):
        found.append((f"nrrd {encoding}", _nrrd_bytes(affine, encoding)))
    for name, kind in (("mgh", np.int16), ("mgz", np.float32)):
        content = nib.MGHImage(made_voxels(kind), affine).to_bytes()
        found.append((name, gzip.compress(content, mtime=0) if name == "mgz" else content))
    return [Seed(name, "volume", {"v": content}) for name, content in found]


def _nrrd_bytes(affine: np.ndarray, encoding: str) -> bytes:
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": (np.diag((-1, -1, 1)) @ affine[:3, :3]).T,
        "space origin": affine[:3, 3] * (-1, -1, 1),
        "encoding": encoding,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.nrrd"
        nrrd.write(str(path), made_voxels(np.int16), header)
        # Without the comments, one of which contains the time.
        lines = path.read_bytes().split(b"\n", 8)
        return b"\n".join(line for line in lines if not line.startswith(b"#"))


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("001", "002"):
            info = tarfile.TarInfo(name)
            info.size = 300
            tar.addfile(info, io.BytesIO(bytes(range(150)) * 2))
    return gzip.compress(buffer.getvalue()[:4096], mtime=0)


def _zip_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("001", "002"):
            archive.writestr(zipfile.ZipInfo(name), bytes(range(150)) * 2)
    return buffer.getvalue()


def by_name(seeds: Sequence[Seed], name: str) -> Seed:
    """The seed called `name`."""
    return next(seed for seed in seeds if seed.name == name)
