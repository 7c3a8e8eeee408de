"""Tests of the meaning of the OAI's names."""

import pytest

from xr2mri_jax.io.oai import names


@pytest.mark.parametrize(
    ("text", "visit"),
    [
        ("0.C.2", "V00"),
        ("0.E.1", "V00"),
        ("1.C.2", "V01"),
        ("1.E.1", "V01"),
        ("3.C.2", "V03"),
        ("5.E.1", "V05"),
        ("6.C.1", "V06"),
        ("8.E.1", "V08"),
        ("10.C.1", "V10"),
        ("OAI Image Release 0.C.1", "V00"),
        ("4G1", "V04"),
        ("OAI_00m", "V00"),
        ("96m", "V10"),
        ("12 MONTH", "V01"),
        ("v03", "V03"),
        ("Screening", "V00"),
        ("P01", "V00"),
        ("9.C.1", None),
        ("9000099", None),
        ("20050114", None),
        ("images", None),
        ("13m", None),
    ],
)
def test_visit_of(text, visit):
    assert names.visit_of(text) == visit


@pytest.mark.parametrize(
    ("description", "sequence", "exact"),
    [
        ("SAG_3D_DESS_RIGHT", "dess", True),
        ("SAG_3D_DESS_LEFT", "dess", True),
        ("COR_IW_TSE_LEFT", "cor_iw_tse", True),
        ("SAG_IW_TSE_RIGHT ", "sag_iw_tse", True),
        ("COR_T1_3D_FLASH_RIGHT", "cor_flash", True),
        ("Sagittal DESS we RT", "dess", False),
        ("coronal iw tse fs left", "cor_iw_tse", False),
        ("t1_fl3d FLASH cor R", "cor_flash", False),
        ("COR_MPR_RIGHT", "other", False),
        ("COR_DESS_MPR_RIGHT", "other", False),
        ("MP_LOCATOR_LEFT", "other", False),
        ("SAG_T2_MAP_RIGHT", "other", False),
        ("AX_T1_THIGH", "other", False),
        ("COR_3D_DESS_RIGHT", "other", False),
        ("IW_TSE_RIGHT", "other", False),
    ],
)
def test_sequence_of(description, sequence, exact):
    assert names.sequence_of(description) == (sequence, exact)


@pytest.mark.parametrize(
    ("description", "side"),
    [
        ("SAG_3D_DESS_RIGHT", "right"),
        ("SAG DESS LT", "left"),
        ("AX_T1_THIGH", None),
        ("LEFT AND RIGHT KNEE", None),
        ("brightness", None),
    ],
)
def test_side_of(description, side):
    assert names.side_of(description) == side


@pytest.mark.parametrize(
    ("description", "knee"),
    [
        ("Bilateral PA Fixed Flexion Knee", True),
        ("bilateral pa  fixed flexion KNEE ", True),
        ("PA Right Knee", True),
        ("AP Knees standing", True),
        ("Lateral Right Knee", False),
        ("Skyline knee flexion", False),
        ("PA Right Hand", False),
        ("AP Pelvis", False),
        ("SAG_3D_DESS_RIGHT", False),
    ],
)
def test_is_knee_radiograph(description, knee):
    assert names.is_knee_radiograph(description) is knee


def test_barcode_key_joins_the_long_and_the_short_form():
    assert names.barcode_key("016610142509") == names.barcode_key("10142509") == "10142509"
    assert names.barcode_key("016600341204") == names.barcode_key("00341204") == "341204"
