"""Tests of NRRD volumes."""

import nrrd
import numpy as np
import pytest

from xr2mri_jax import io
from xr2mri_jax.errors import InputError

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
HEADER = {
    "space": "left-posterior-superior",
    "space directions": [[0, 0.5, 0], [0, 0, -0.25], [-1.5, 0, 0]],
    "space origin": [10, 20, 30],
}


def saved(path, array=ARRAY, **changes):
    header = {k: v for k, v in {**HEADER, **changes}.items() if v is not None}
    nrrd.write(str(path), array, header)
    return path


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
    ],
)
def test_every_space_becomes_ras(tmp_path, space, signs):
    volume = io.read_volume(saved(tmp_path / "x.nrrd", space=space).rename(tmp_path / "x"))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.int16
    place = np.array([10 - 3 * 1.5, 20 + 0.5, 30 - 2 * 0.25]) * signs
    np.testing.assert_allclose(volume.world([1, 2, 3]), place)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": "scanner-xyz"}, "space is scanner-xyz"),
        ({"space": None, "space origin": None, "space directions": None}, "space is none"),
        ({"space origin": None}, "space origin absent"),
        ({"space directions": None}, "space directions absent"),
        ({"space units": ["mm", "mm", "um"]}, "expected mm"),
        ({"space units": ["ly", "ly", "ly"]}, "unknown unit, expected mm"),
    ],
)
def test_incomplete_geometry_is_refused(tmp_path, changes, said):
    with pytest.raises(InputError, match=said) as caught:
        io.read_volume(saved(tmp_path / "odd.nrrd", **changes))
    assert "odd.nrrd" in str(caught.value)


def test_other_files_of_the_format_are_refused(tmp_path):
    directions = [*HEADER["space directions"], [None] * 3]
    path = saved(tmp_path / "x.nrrd", ARRAY[..., None], **{"space directions": directions})
    np.testing.assert_array_equal(io.read_volume(path).array, ARRAY)
    with pytest.raises(InputError, match="expected a radiograph"):
        io.read_radiograph(path)
    path = saved(tmp_path / "y.nrrd", np.stack([ARRAY] * 2, -1), **{"space directions": directions})
    with pytest.raises(InputError, match="4 axes with 2 layers"):
        io.read_volume(path)
    cut = saved(tmp_path / "cut.nrrd")
    cut.write_bytes(cut.read_bytes()[:-30])
    with pytest.raises(InputError, match="cut"):
        io.read_volume(cut)


def test_space_units_in_mm_are_accepted(tmp_path):
    volume = io.read_volume(saved(tmp_path / "x.nrrd", **{"space units": ["mm", "mm", "mm"]}))
    assert volume.spacing == (0.5, 0.25, 1.5)


def test_real_labels(real_data):
    (path,) = (real_data / "knee_labels").glob("*_bones_cart_men_fib-label.nrrd")
    volume = io.read_volume(path)
    header = nrrd.read_header(str(path))
    assert volume.shape == (384, 384, 160)
    assert volume.array.dtype == np.uint8
    assert volume.orientation == ("P", "I", "R")
    np.testing.assert_allclose(volume.spacing, (0.3646, 0.3646, 0.70), atol=1e-4)
    corner = np.array([383, 0, 159])
    lps = header["space origin"] + corner @ header["space directions"]
    np.testing.assert_allclose(volume.world(corner), lps * [-1, -1, 1], atol=1e-9)
    # A right knee: the fibula (8) lies to the right of the tibia (6), the patella (7) in front.
    middle = {
        k: volume.world(np.argwhere(volume.array[::4, ::4, ::4] == k) * 4) for k in (5, 6, 7, 8)
    }
    middle = {k: places.mean(axis=0) for k, places in middle.items()}
    assert middle[8][0] > middle[6][0] + 10
    assert middle[7][1] > middle[5][1] + 10
    assert middle[5][2] > middle[6][2] + 10


def in_hex(path, data, change=lambda digits: digits):
    raw = saved(path, data, encoding="raw").read_bytes()
    head, voxels = raw[: raw.index(b"\n\n") + 2], raw[raw.index(b"\n\n") + 2 :]
    digits = "\n".join(voxels[k : k + 10].hex() for k in range(0, len(voxels), 10)) + "\n"
    path.write_bytes(head.replace(b"encoding: raw", b"encoding: hex") + change(digits).encode())
    return path


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<f4", ">f8"])
def test_data_in_hexadecimal_digits(tmp_path, dtype):
    volume = io.read_volume(in_hex(tmp_path / "x.nrrd", ARRAY.astype(dtype)))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda digits: digits[:-5], "found 46 bytes"),
        (lambda digits: digits + "00", "found 49 bytes"),
        (lambda digits: digits[:-2], "not hexadecimal digits"),
        (lambda digits: "xy" + digits, "not hexadecimal digits"),
        (lambda digits: "é" + digits, "not hexadecimal digits"),
    ],
)
def test_other_digits_are_refused(tmp_path, change, said):
    with pytest.raises(InputError, match=rf"x\.nrrd: .*{said}"):
        io.read_volume(in_hex(tmp_path / "x.nrrd", ARRAY, change))
