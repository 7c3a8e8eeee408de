"""Made files in the formats of telephones, 3D Slicer, ITK and newer scanners."""

import gzip
import io
import struct
import zlib
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from xr2mri_jax.tools.fuzzing.seeds import (
    COLUMNS,
    ROWS,
    SLICES,
    Seed,
    dicom_bytes,
    image_dataset,
    made_picture,
    made_voxels,
)

_DIRECTIONS = "(-0.36,0,0) (0,0,-0.36) (0,0.7,0)"
_MATRIX = "-1 0 0 0 0 -1 0 1 0"


def program_seeds() -> list[Seed]:
    """Pictures, volumes and label maps, with the same bytes in every run."""
    return [*_pictures(), *_dicom(), *_volumes(), *_labels()]


# --- pictures


def _pictures() -> list[Seed]:
    grey = (made_picture() // 16).astype(np.uint8)
    smooth = np.add.outer(np.arange(ROWS), np.arange(COLUMNS)).astype(np.uint8) * 3
    image, small = Image.fromarray(smooth), Image.fromarray(smooth[::4, ::4])
    palette = Image.fromarray(grey, "P")
    palette.putpalette([v for k in range(256) for v in (255 - k,) * 3])
    rgb = Image.fromarray(smooth).convert("RGB")
    pages = {"save_all": True, "append_images": [small]}
    found = [
        ("mpo", _saved(rgb, "MPO", save_all=True, append_images=[small.convert("RGB")])),
        ("jpeg cmyk", _saved(rgb.convert("CMYK"), "JPEG", quality=95)),
        ("jpeg rgb progressive", _saved(rgb, "JPEG", quality=95, progressive=True)),
        ("png palette", _saved(palette, "PNG")),
        ("png 1 bit", _saved(Image.fromarray(grey > 128), "PNG")),
        ("tiff of pages", _saved(image, "TIFF", compression="tiff_lzw", **pages)),
        ("tiff palette", _saved(palette, "TIFF", compression="tiff_adobe_deflate")),
        ("tiff cmyk", _saved(rgb.convert("CMYK"), "TIFF")),
        ("bmp", _saved(image, "BMP")),
        ("jpeg 2000", _saved(Image.fromarray(made_picture()), "JPEG2000")),
        ("webp", _saved(image, "WEBP", lossless=True)),
        ("gif", _saved(image, "GIF")),
        ("pgm", _saved(Image.fromarray(made_picture()), "PPM")),
        ("tiff float", _saved(Image.fromarray(smooth.astype(np.float32)), "TIFF")),
        *((f"png 16 x {n}", _deep_png(n)) for n in (2, 3, 4)),
    ]
    return [Seed(name, "radiograph", {"x": content}) for name, content in found]


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _deep_png(channels: int) -> bytes:
    """Grey in channels of 16 bits; the last of an even number is opaque."""
    array = np.stack([made_picture() * 16] * channels, axis=-1)
    if channels % 2 == 0:
        array[..., -1] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in array.astype(">u2"))
    colour = {2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", COLUMNS, ROWS, 16, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


# --- DICOM


def _dicom() -> list[Seed]:
    grey = (made_picture() // 16).astype(np.uint8)
    painted = image_dataset(grey, "DX", uid.ExplicitVRLittleEndian, ImagerPixelSpacing=[0.2, 0.2])
    painted.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        descriptor = f"{colour}PaletteColorLookupTableDescriptor"
        setattr(painted, descriptor, [256, 0, 16])
        painted[descriptor].VR = "US"
        table = (np.arange(256) * 257).astype("<u2").tobytes()
        setattr(painted, f"{colour}PaletteColorLookupTableData", table)
    return [
        Seed("dicom palette", "radiograph", {"x": dicom_bytes(painted)}),
        Seed("dicom with shutter", "radiograph", {"x": dicom_bytes(_displayed())}),
        Seed("enhanced", "volume", {"v": dicom_bytes(_enhanced())}),
    ]


def _displayed() -> Dataset:
    """A radiograph with padding, a shutter, a VOI LUT of 8 bits and an overlay in its pixels."""
    pixels = made_picture()
    pixels[:3] = 0
    pixels[9, 5:20] |= np.uint16(1 << 13)
    dataset = image_dataset(pixels, "DX", uid.ExplicitVRLittleEndian, ImagerPixelSpacing=[0.2, 0.2])
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 0, 0
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        dataset[keyword].VR = "US"
    dataset.ShutterShape = ["RECTANGULAR", "CIRCULAR"]
    dataset.ShutterLeftVerticalEdge, dataset.ShutterRightVerticalEdge = 2, COLUMNS - 1
    dataset.ShutterUpperHorizontalEdge, dataset.ShutterLowerHorizontalEdge = 2, ROWS - 1
    dataset.CenterOfCircularShutter, dataset.RadiusOfCircularShutter = [20, 18], 22
    dataset.PatientOrientation = ["R", "F"]
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 8])
    table.add_new("LUTData", "OW", (np.arange(4096) // 16).astype(np.uint8).tobytes())
    dataset.VOILUTSequence = pydicom.Sequence([table])
    for element, value in ((0x10, ROWS), (0x11, COLUMNS), (0x100, 16), (0x102, 13)):
        dataset.add_new((0x6000, element), "US", value)
    return dataset


def _enhanced() -> Dataset:
    """An enhanced multi-frame MR image."""
    planes = np.ascontiguousarray(made_voxels(np.int16).transpose(2, 1, 0))
    dataset = image_dataset(planes[0], "MR", uid.ExplicitVRLittleEndian)
    dataset.SOPClassUID = uid.EnhancedMRImageStorage
    dataset.SeriesInstanceUID = uid.generate_uid(entropy_srcs=["enhanced"])
    dataset.NumberOfFrames = SLICES
    dataset.PixelData = planes.astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"

    def group(**macros: dict[str, Any]) -> Dataset:
        item = Dataset()
        for macro, tags in macros.items():
            inner = Dataset()
            for name, value in tags.items():
                setattr(inner, name, value)
            setattr(item, macro, pydicom.Sequence([inner]))
        return item

    shared = group(
        PlaneOrientationSequence={"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
        PixelMeasuresSequence={"PixelSpacing": [0.36, 0.36], "SliceThickness": 0.7},
    )
    frames = [
        group(PlanePositionSequence={"ImagePositionPatient": [10 - 0.7 * k, -20, 30]})
        for k in range(SLICES)
    ]
    dataset.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames)
    return dataset


# --- volumes with a header of text, and in two files


def _meta(data_file: str = "LOCAL", kind: str = "MET_SHORT", **changes: str) -> bytes:
    fields = {
        **{"ObjectType": "Image", "NDims": "3", "BinaryData": "True"},
        **{"BinaryDataByteOrderMSB": "False", "CompressedData": "False"},
        **{"TransformMatrix": _MATRIX, "Offset": "10 20 30", "ElementSpacing": "0.36 0.36 0.7"},
        **{"DimSize": f"{COLUMNS} {ROWS} {SLICES}", "ElementType": kind},
        **changes,
        "ElementDataFile": data_file,
    }
    return "".join(f"{name} = {value}\n" for name, value in fields.items()).encode()


def _nrrd_header(kind: str, encoding: str, more: str, layers: int = 0) -> bytes:
    sizes, none = (f"{layers} ", "none ") if layers else ("", "")
    return (
        f"NRRD0005\ntype: {kind}\ndimension: {4 if layers else 3}\n"
        f"space: left-posterior-superior\nsizes: {sizes}{COLUMNS} {ROWS} {SLICES}\n"
        f"space directions: {none}{_DIRECTIONS}\nendian: little\nencoding: {encoding}\n"
        f"space origin: (5,9,3)\n{more}"
    ).encode()


def _volumes() -> list[Seed]:
    voxels = made_voxels(np.int16)
    raw = voxels.astype("<i2").tobytes(order="F")
    text = "\n".join(map(str, voxels.ravel(order="F"))).encode()
    part = len(raw) // SLICES
    slices = {f"s{k}.raw": raw[k * part : (k + 1) * part] for k in range(SLICES)}
    names = "".join(f"{name}\n" for name in slices)
    pair = nib.Nifti1Pair(voxels, np.diag((-0.36, -0.36, 0.7, 1)))
    pair.header.set_xyzt_units("mm")
    pair.set_qform(pair.affine, 1)
    files = {name: io.BytesIO() for name in ("header", "image")}
    pair.to_file_map({name: nib.FileHolder(fileobj=stream) for name, stream in files.items()})
    pattern = f"data file: s%d.raw 0 {SLICES - 1} 1\n"
    found: list[tuple[str, dict[str, bytes]]] = [
        ("mha", {"a.mha": _meta() + raw}),
        ("mha packed", {"a.mha": _meta(CompressedData="True") + zlib.compress(raw)}),
        ("mha text", {"a.mha": _meta(BinaryData="False") + text}),
        ("mhd", {"a.mhd": _meta("b.raw"), "b.raw": raw}),
        ("mhd of slices", {"a.mhd": _meta("LIST") + names.encode(), **slices}),
        (
            "nhdr gzip",
            {
                "a.nhdr": _nrrd_header("int16", "gzip", "data file: b.raw.gz\n"),
                "b.raw.gz": gzip.compress(raw, mtime=0),
            },
        ),
        ("nhdr of slices", {"a.nhdr": _nrrd_header("int16", "raw", pattern), **slices}),
        ("nrrd text", {"a.nrrd": _nrrd_header("int16", "ascii", "\n") + text}),
        ("nifti pair", {"a.hdr": files["header"].getvalue(), "a.img": files["image"].getvalue()}),
    ]
    return [Seed(name, "volume", content) for name, content in found]


# --- label maps


def _labels() -> list[Seed]:
    labels = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    labels[4:30, 22:38], labels[4:30, 2:18] = 1, 2
    names = ("Femur", "Tibia", "Femoral Cartilage")
    segments = "".join(
        f"Segment{k}_ID:=S{k}\nSegment{k}_Name:={name}\nSegment{k}_LabelValue:={k % 2 + 1}\n"
        f"Segment{k}_Layer:={k // 2}\nSegment{k}_Extent:=0 35 0 39 0 5\n"
        for k, name in enumerate(names)
    )
    layers = np.stack([labels, (labels == 1) & (np.arange(ROWS)[:, None] < 26)]).astype(np.uint8)
    one = _nrrd_header("uint8", "gzip", segments.replace("Layer:=1", "Layer:=0") + "\n")
    two = _nrrd_header("uint8", "gzip", segments + "\n", layers=2)
    nifti = nib.Nifti1Image(labels, np.diag((-0.36, -0.36, 0.7, 1)))
    nifti.header.set_xyzt_units("mm")
    table = (
        b"<CaretExtension><VolumeInformation><LabelTable>"
        b'<Label Key="1"><![CDATA[femur_left]]></Label><Label Key="2"><![CDATA[tibia_left]]>'
        b"</Label></LabelTable></VolumeInformation></CaretExtension>"
    )
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension(0, table))
    found = {
        "slicer labels": one + gzip.compress(labels.tobytes(order="F"), mtime=0),
        "slicer layers": two + gzip.compress(layers.tobytes(order="F"), mtime=0),
        "nifti labels": gzip.compress(nifti.to_bytes(), mtime=0),
        "mha labels": _meta(kind="MET_UCHAR") + labels.tobytes(order="F"),
    }
    return [Seed(name, "labels", {"l": content}) for name, content in found.items()]
