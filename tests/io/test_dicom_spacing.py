"""Pixel spacing by a radiograph's DICOM header, whose tags may disagree."""

import pytest
from made_dicom import made

from xr2mri_jax import io


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"ImagerPixelSpacing": [0.1, 0.2], "PixelSpacing": [0.3, 0.4]}, (0.1, 0.2)),
        ({"ImagerPixelSpacing": [0, 0], "PixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"PixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"PixelSpacing": [0, 0]}, None),
        ({"NominalScannedPixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"PixelSpacing": [0, 0], "NominalScannedPixelSpacing": [0.3, 0.4]}, (0.3, 0.4)),
        ({"PixelSpacing": [0.1, 0.2], "NominalScannedPixelSpacing": [0.3, 0.4]}, (0.1, 0.2)),
        ({"PixelSpacing": ""}, None),
    ],
)
def test_spacing(tmp_path, tags, expected):
    path = made(tmp_path / "x", **tags)
    assert io.read_radiograph(path).spacing == expected
    assert io.read_radiograph(path, spacing=0.7).spacing == (0.7, 0.7)


@pytest.mark.parametrize(
    ("pixel", "calibrated", "taken"),
    [
        ([0.3, 0.3], None, "former"),
        ([0.3, 0.3], "FIDUCIAL", "latter"),
        ([0.05, 0.05], "GEOMETRY", "latter"),
        ([0.143, 0.3], None, "former"),
        ([0.143, 0.143], None, None),
        ([0.1431, 0.1431], None, None),  # rounded otherwise
        ([0.12, 0.12], None, "latter"),  # corrected for a magnification of 1.19
        ([0.12, 0.143], None, "latter"),
        ([0.1, 0.1], "GEOMETRY", None),
        ([0, 0], None, None),
    ],
)
def test_two_spacings_that_disagree_are_a_doubt(tmp_path, pixel, calibrated, taken):
    tags = {"ImagerPixelSpacing": [0.143, 0.143], "PixelSpacing": pixel}
    if calibrated:
        tags["PixelSpacingCalibrationType"] = calibrated
    found = io.read_radiograph(made(tmp_path / "x", **tags))
    if taken is None:
        assert found.doubts == ()
        return
    (doubt,) = found.doubts
    assert "ImagerPixelSpacing (0018,1164) is [0.143, 0.143]" in doubt
    assert f"PixelSpacing (0028,0030) is [{pixel[0]:g}, {pixel[1]:g}]" in doubt
    assert doubt.endswith(f"the {taken} is taken")
    assert found.spacing == tuple(pixel if taken == "latter" else [0.143, 0.143])


@pytest.mark.parametrize(
    ("film", "tags", "doubted"),
    [
        ([0.2, 0.2], {}, True),
        ([0.5, 0.5], {}, True),
        ([0.1, 0.1], {}, True),
        ([0.174, 0.174], {}, False),
        ([0.1742, 0.1742], {}, False),  # rounded otherwise
        ([0.2, 0.2], {"PixelSpacingCalibrationType": "FIDUCIAL"}, False),
        ([0.1, 0.1], {"PixelSpacingCalibrationType": "FIDUCIAL"}, True),
        ([0.2, 0.2], {"ImagerPixelSpacing": [0.174, 0.174]}, False),
    ],
)
def test_another_spacing_of_a_scanned_film_is_a_doubt(tmp_path, film, tags, doubted):
    tags = {"NominalScannedPixelSpacing": film, "PixelSpacing": [0.174, 0.174], **tags}
    found = io.read_radiograph(made(tmp_path / "x", **tags))
    assert found.spacing == (0.174, 0.174)
    assert len(found.doubts) == doubted
    for doubt in found.doubts:
        assert f"NominalScannedPixelSpacing (0018,2010) is [{film[0]:g}, {film[1]:g}]" in doubt
        assert "PixelSpacing (0028,0030) is [0.174, 0.174]" in doubt
        assert doubt.endswith("the latter is taken")


@pytest.mark.parametrize(
    ("pixel", "taken", "doubted"),
    [
        (0.25, 0.25, False),  # the factor explains it
        (0.251, 0.25, False),
        (0.3, 0.25, False),  # not corrected
        (0.2, 0.2, True),
        (0.4, 0.25, True),
    ],
)
def test_a_factor_of_magnification_beside_two_spacings(tmp_path, pixel, taken, doubted):
    tags = {"ImagerPixelSpacing": [0.3, 0.3], "PixelSpacing": [pixel, pixel]}
    tags["EstimatedRadiographicMagnificationFactor"] = 1.2
    found = io.read_radiograph(made(tmp_path / "x", **tags))
    assert found.spacing == pytest.approx((taken, taken))
    assert len(found.doubts) == doubted
