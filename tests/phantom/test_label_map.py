"""Any label map to tissue properties, MRI and radiograph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom import mri, radiograph
from xr2mri_jax.phantom.label_map import material_volume
from xr2mri_jax.phantom.tissues import CODES, attenuation_table


@pytest.fixture(scope="module")
def block() -> np.ndarray:
    """A femur of 14 voxels in muscle, air around: u8[24, 24, 24]."""
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[2:22, 2:22, 2:22] = CODES["muscle"]
    labels[5:19, 5:19, 5:19] = CODES["femur"]
    return labels


def test_bones_get_a_shell_and_other_tissues_their_value(block):
    table = attenuation_table()
    volume = material_volume(block, (1.0, 1.0, 1.0), table)
    assert volume.dtype == np.float32
    assert volume[12, 12, 12] == pytest.approx(table[CODES["femur"]], rel=1e-4)
    assert volume[12, 12, 5] > 1.5 * table[CODES["femur"]]
    assert volume[12, 12, 3] == pytest.approx(table[CODES["muscle"]], rel=0.05)
    assert volume[0, 0, 0] == pytest.approx(0.0, abs=1e-5)


def test_surroundings_stand_for_label_zero(block):
    table = attenuation_table()
    volume = material_volume(block, (1.0, 1.0, 1.0), table, "muscle")
    assert volume[0, 0, 0] == pytest.approx(table[CODES["muscle"]])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((2, 2, 2), 99, np.uint8), "found code 99"),
        (np.zeros((2, 2), np.uint8), "2 axes"),
        (np.zeros((2, 2, 2), np.float32), "float32"),
    ],
)
def test_bad_labels_raise(labels, message):
    with pytest.raises(InputError, match=message):
        material_volume(labels, (1.0, 1.0, 1.0), attenuation_table())


def test_unknown_surroundings_raise(block):
    with pytest.raises(InputError, match="custard"):
        material_volume(block, (1.0, 1.0, 1.0), attenuation_table(), "custard")


def test_mri_of_a_label_map(block):
    image = np.asarray(mri.simulate_mri(block, (1.0, 1.0, 1.0), jax.random.key(3)))
    assert image.shape == block.shape and image.dtype == np.float32
    assert image.min() >= 0.0 and image.max() <= 1.0
    muscle = image[block == CODES["muscle"]].mean()
    assert muscle > 3.0 * image[8:16, 8:16, 8:16].mean()


def test_radiograph_of_a_label_map_is_bone_bright_and_needs_no_mri(block):
    image = np.asarray(radiograph.simulate_radiograph(block, (2.0, 2.0, 2.0), jax.random.key(3)))
    assert image.shape == (24, 24, 1)
    assert image[7:17, 7:17].mean() > image[3:5, 7:17].mean() + 0.08
    assert image[0, 0, 0] < 0.05


def test_line_integral_follows_beer_and_lambert():
    attenuation = jnp.full((10, 8, 8), 0.02).at[:, 4:, :].set(0.04)
    path = 10 * 2.0 * attenuation[0]
    expected = radiograph.scale(path, (16.0, 16.0))
    image = radiograph.expose(attenuation, 2.0, (16.0, 16.0), jax.random.key(0))
    assert np.asarray(image)[6, 4, 0] > np.asarray(image)[1, 4, 0]
    assert np.corrcoef(np.ravel(image), np.ravel(expected))[0, 1] > 0.98


def test_blur_keeps_a_constant_and_equals_a_direct_sum():
    constant = radiograph.gaussian_blur(jnp.full((9, 7), 3.0), 2.0, (1.0, 1.0))
    np.testing.assert_allclose(constant, 3.0, rtol=1e-6)
    image = jnp.zeros((21, 21)).at[10, 10].set(1.0)
    blurred = jax.jit(lambda im: radiograph.gaussian_blur(im, 2.0, (1.0, 2.0)))(image)
    rows = np.exp(-0.5 * ((np.arange(21) - 10) / 2.0) ** 2)
    columns = np.exp(-0.5 * ((np.arange(21) - 10) / 1.0) ** 2)
    direct = np.outer(rows / rows.sum(), columns / columns.sum())
    np.testing.assert_allclose(blurred, direct, atol=3e-5)


def test_real_label_map_has_a_joint_in_both_images(real_data):
    import nrrd

    path = next((real_data / "knee_labels").glob("*.nrrd"))
    labels, _ = nrrd.read(str(path))
    # Axes of the file: posterior, inferior, right; every fourth voxel is enough here.
    small = np.ascontiguousarray(labels[::6, ::4, ::3])
    spacing = (0.3646 * 6, 0.3646 * 4, 0.7 * 3)
    image = np.asarray(radiograph.simulate_radiograph(small, spacing, jax.random.key(0), "muscle"))[
        ..., 0
    ]
    scan = np.asarray(mri.simulate_mri(small, spacing, jax.random.key(0), "muscle"))
    assert image.shape == small.shape[1:] and scan.shape == small.shape
    cartilage, femur = scan[small == 1].mean(), scan[small == CODES["femur"]].mean()
    assert cartilage > 2.0 * femur
    shaft = (small == CODES["tibia"]).sum(0) > 12
    assert image[shaft].mean() > image[(small > 0).sum(0) == 0].mean() + 0.2
