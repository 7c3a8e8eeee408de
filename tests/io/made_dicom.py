"""Made DICOM files for the tests of their readers."""

import numpy as np
import pydicom
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset

PIXELS = np.array([[0, 10, 20], [100, 1000, 4095]], np.uint16)
BARE = uid.ExplicitVRLittleEndian


def made(path, pixels=PIXELS, syntax=BARE, preamble=True, compress=None, **tags):
    """Writes a 12-bit DX image; tags of value None are left out, a pair is (VR, value)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = uid.generate_uid()
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.shape[2:] == (3,) else 1
    dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = 12 if pixels.dtype.itemsize == 2 else 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        elif isinstance(value, tuple):
            with pydicom.config.disable_value_validation():
                dataset.add_new(tag_for_keyword(name), *value)
        else:
            setattr(dataset, name, value)
    if compress:
        dataset.compress(compress)
    if preamble:
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    else:
        del dataset.file_meta
        pydicom.dcmwrite(
            path, dataset, implicit_vr=syntax == uid.ImplicitVRLittleEndian, little_endian=True
        )
    return path


def look_up_table(first, entries, bits=16):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = entries
    item["LUTData"].VR = "US"
    return [item]
