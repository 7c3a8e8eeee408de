"""The DICOM modules shared by all slices of a derived MR series (PS3.3 A.4, MR Image).

MR Image Storage is the class that viewers reformat in three planes and that carries the geometry
slice by slice. Secondary Capture has no place for it, and few programs read the enhanced
multi-frame classes. Image Type DERIVED, SECONDARY, SYNTHETIC, research mode as scanning sequence
and the descriptions state that no scanner made these pixels. The attribute Synthetic Data
(0008,001C) is left out: most programs are older, and dciodvfy of 2022 reports it as an error.
"""

import dataclasses
import datetime

from pydicom import DataElement, Dataset, config, uid
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

import xr2mri_jax
from xr2mri_jax.errors import InputError
from xr2mri_jax.io.dicom_tags import get, named

SOFTWARE = "xr2mri_jax"
# Far from the series numbers of scanners and workstations.
SERIES_NUMBER = 9001

# Copied by --keep_identity: the Patient, Patient Study and General Study modules, because a derived
# series belongs to the study of its source (PS3.3 C.7.1.1, C.7.2.2, C.7.2.1).
IDENTITY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "OtherPatientIDsSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
)
_EMPTY_ALLOWED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# Value representations whose format programs rely on.
_FORMAL = ("DS", "IS", "DA", "TM", "DT", "AS", "UI")
_CODES = {"left": "L", "right": "R"}


@dataclasses.dataclass(frozen=True)
class SeriesLabel:
    """What the headers say about a series.

    Attributes:
      series: Series Description, at most 64 characters.
      derivation: Derivation Description, at most 1024 characters: how the pixels were made.
      comment: Image Comments.
      synthetic: whether the content was synthesised rather than acquired.
    """

    series: str = "Derived volume - not for diagnosis"
    derivation: str = "Resampled or processed from another series."
    comment: str = "Research only, not for diagnosis."
    synthetic: bool = False


def shared_header(
    label: SeriesLabel, side: str | None, source: Dataset | None, keep_identity: bool
) -> Dataset:
    """The header without pixels, position and number of a slice, with new UIDs.

    Args:
      label: what the headers say.
      side: "left", "right", or None if unknown.
      source: header of the DICOM image that the volume was derived from, if any.
      keep_identity: copies patient and study from `source`, except broken tags (see `left_out`),
        and refers to it; otherwise nothing of it is copied, not even its UID, which would lead
        back to the patient.

    Raises:
      InputError: the identity is to be kept, but there is no source, or one without a study.
    """
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    now = datetime.datetime.now()
    _add_identity(header, now, source if keep_identity else None, keep_identity)
    _add_series(header, now, label, side)
    _add_equipment(header, now)
    _add_image(header, now, label)
    _add_scan(header)
    if source is not None:
        if keep_identity:
            _add_reference(header, source)
        if str(get(source, "LossyImageCompression") or "") == "01":
            header.LossyImageCompression = "01"  # set for ever (PS3.3 C.7.6.1.1.5)
    return header


def require_identity(source: Dataset | None) -> Dataset:
    """Returns `source`; raises InputError if it is None or belongs to no study."""
    if source is None:
        raise InputError("--keep_identity: the radiograph is not a DICOM file, expected one")
    if not get(source, "StudyInstanceUID") or _copy(source, "StudyInstanceUID") is None:
        raise InputError(
            "--keep_identity: StudyInstanceUID (0020,000D) is absent in the radiograph or not an "
            "identifier, expected a file with patient and study"
        )
    return source


def left_out(source: Dataset) -> tuple[str, ...]:
    """A clause for each tag of IDENTITY that a series cannot carry, such as a decimal comma."""
    broken = [
        keyword
        for keyword in IDENTITY
        if keyword in source and _has_content(source, keyword) and _copy(source, keyword) is None
    ]
    return tuple(
        f"{named(keyword)} has a format that DICOM does not allow: left out of the DICOM series"
        for keyword in broken
    )


def _has_content(source: Dataset, keyword: str) -> bool:
    try:
        with config.disable_value_validation():
            return bool(source.get(keyword))
    except Exception:  # present, but cannot be decoded
        return True


def _copy(source: Dataset, keyword: str) -> DataElement | None:
    """The element in a valid form; None if it is broken and cannot be written.

    Numbers, dates, times, ages and identifiers must have a valid format; texts may be too long.
    """
    try:
        # Otherwise pydicom would log invalid values.
        with config.disable_value_validation():
            element = source[keyword]
        value = str(element.value) if element.VR == "PN" else element.value
        mode = config.RAISE if element.VR in _FORMAL else config.IGNORE
        copied = DataElement(element.tag, element.VR, value, validation_mode=mode)
        if element.VR in ("DS", "IS"):
            several = [value] if isinstance(value, str | int | float) else list(value)
            [float(one) for one in several]
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, False
        write_data_element(stream, copied, ["utf_8"])
    except Exception:  # pydicom raises errors of every class for broken values
        return None
    return copied


def _add_identity(
    header: Dataset, now: datetime.datetime, source: Dataset | None, keep: bool
) -> None:
    if keep:
        source = require_identity(source)
        for keyword in IDENTITY:
            element = _copy(source, keyword) if get(source, keyword) else None
            if element is not None:
                header.add(element)
            elif keyword in _EMPTY_ALLOWED:
                setattr(header, keyword, "")
        return
    header.StudyInstanceUID = uid.generate_uid()
    header.PatientName = "Anonymous^Derived"
    # Archives file by the ID: two anonymous patients must not get the same one.
    header.PatientID = "ANON" + header.StudyInstanceUID[-12:].replace(".", "0")
    header.PatientBirthDate = header.PatientSex = ""
    header.StudyID = "1"
    header.AccessionNumber = header.ReferringPhysicianName = ""
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = "Nothing copied from the source's header"
    header.StudyDate, header.StudyTime = _date(now), _time(now)


def _add_series(
    header: Dataset, now: datetime.datetime, label: SeriesLabel, side: str | None
) -> None:
    header.Modality = "MR"
    header.SeriesInstanceUID = uid.generate_uid()
    header.FrameOfReferenceUID = uid.generate_uid()
    header.SeriesNumber = SERIES_NUMBER
    header.SeriesDescription = label.series
    header.SeriesDate, header.SeriesTime = _date(now), _time(now)
    header.BodyPartExamined = "KNEE"
    header.PatientPosition = ""
    header.PositionReferenceIndicator = ""
    # Knees are paired: the tag is required, and empty if the side is unknown.
    header.Laterality = "" if side is None else _CODES[side]


def _add_equipment(header: Dataset, now: datetime.datetime) -> None:
    header.Manufacturer = header.ManufacturerModelName = SOFTWARE
    header.SoftwareVersions = xr2mri_jax.__version__
    item = Dataset()
    item.Manufacturer = item.ManufacturerModelName = SOFTWARE
    item.SoftwareVersions = xr2mri_jax.__version__
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = "Made this derived series; research software, no medical device"
    item.PurposeOfReferenceCodeSequence = [_code("109102", "Processing Equipment")]
    header.ContributingEquipmentSequence = [item]


def _add_image(header: Dataset, now: datetime.datetime, label: SeriesLabel) -> None:
    header.SOPClassUID = uid.MRImageStorage
    header.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    if label.synthetic:
        header.ImageType = [*header.ImageType, "SYNTHETIC"]
    header.DerivationDescription = label.derivation
    header.ImageComments = label.comment
    header.BurnedInAnnotation = "NO"
    header.LossyImageCompression = "00"
    header.ContentDate = header.InstanceCreationDate = _date(now)
    header.ContentTime = header.InstanceCreationTime = _time(now)
    header.PatientOrientation = ""


def _add_scan(header: Dataset) -> None:
    """The MR Image module: no scan took place, so tags that describe a scan stay empty."""
    header.ScanningSequence = "RM"  # research mode
    header.SequenceVariant = "NONE"
    header.ScanOptions = ""
    header.MRAcquisitionType = "3D"
    for keyword in ("RepetitionTime", "EchoTime", "EchoTrainLength", "AcquisitionNumber"):
        setattr(header, keyword, None)


def _add_reference(header: Dataset, source: Dataset) -> None:
    if _copy(source, "SOPInstanceUID") is None or _copy(source, "SOPClassUID") is None:
        return
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [
        _code("121322", "Source image for image processing operation")
    ]
    header.SourceImageSequence = [item]


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _date(now: datetime.datetime) -> str:
    return now.strftime("%Y%m%d")


def _time(now: datetime.datetime) -> str:
    return now.strftime("%H%M%S")
