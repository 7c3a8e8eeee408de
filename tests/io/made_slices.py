"""Made MRI series for the tests of their readers."""

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from xr2mri_jax import io

# Columns grow to the back, rows downwards; the slices' normal points to the patient's right.
SAGITTAL = [0, 1, 0, 0, 0, -1]
SERIES = uid.generate_uid()


def pixels_of(k):
    return (np.arange(12).reshape(3, 4) + 100 * k - 50).astype(np.int16)


def made_slice(path, k, pixels=None, **tags):
    """One slice of a sagittal series, 1.5 mm from the next towards the patient's right."""
    pixels = pixels_of(k) if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = uid.MRImageStorage
    dataset.SOPInstanceUID = uid.generate_uid()
    dataset.SeriesInstanceUID = SERIES
    dataset.SeriesDescription = "SAG 3D DESS"
    dataset.Modality = "MR"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelSpacing = [0.25, 0.5]
    dataset.ImageOrientationPatient = SAGITTAL
    dataset.ImagePositionPatient = [10 - 1.5 * k, -20, 30]
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def made_series(folder, count=5, **changes):
    """Slices 0..count-1 under names in another order; changes: slice number -> its tags."""
    order = np.random.default_rng(0).permutation(count)
    for k in range(count):
        made_slice(folder / f"{order[k]:03d}", k, **changes.get(f"slice{k}", {}))
    return folder


def item(**tags):
    """A dataset of these tags, for a sequence."""
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def made_enhanced(path, groups, shared, pixels, compress=None, **tags):
    """An enhanced MR image.

    Args:
      groups: a frame's functional groups, a dict each: macro -> item or None.
      shared: the shared functional groups.
      pixels: [frames, rows, columns].
    """
    made_slice(path, 0, pixels[0], **tags)
    dataset = pydicom.dcmread(path)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, name)
    dataset.SOPClassUID = uid.EnhancedMRImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"

    def group(macros):
        return item(**{name: Sequence([one]) for name, one in macros.items()})

    dataset.SharedFunctionalGroupsSequence = Sequence([group(shared)])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([group(one) for one in groups])
    if compress:
        dataset.compress(compress)
    dataset.save_as(path, enforce_file_format=True)
    return path


def plain(folder, count=6):
    """A sound series and what is read of it."""
    folder.mkdir()
    for k in range(count):
        made_slice(folder / f"{k:03d}", k)
    return io.read_volume(folder)


def same(volume, expected):
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-9)
