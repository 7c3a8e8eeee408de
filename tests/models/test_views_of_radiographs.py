"""Views of a radiograph: where they look, and that their mean is taken."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from xr2mri_jax.models import views


def smooth(height, width):
    noise = np.random.default_rng(0).random((2, height, width))
    return ndimage.gaussian_filter(noise, (0, 3, 3)).astype("f4")[..., None]


def test_the_first_view_is_the_radiograph_and_the_others_are_moved_as_told():
    xray = smooth(40, 50)
    seen = np.asarray(jax.jit(lambda x: views.over_views(lambda v: v, x))(xray))
    assert seen.shape == (len(views.VIEWS), *xray.shape)
    np.testing.assert_array_equal(seen[0], xray)
    for (degrees, scale, down, right), view in zip(views.VIEWS, seen, strict=True):
        # The point that is seen at the middle's place plus the shift is the middle itself.
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
        middle = np.array([19.5, 24.5])
        offset = middle - turn @ (middle + np.array([down * 40, right * 50]))
        for image, found in zip(xray[..., 0], view[..., 0], strict=True):
            wanted = ndimage.affine_transform(image, turn, offset, order=1, mode="nearest")
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_views_balance_each_other():
    assert (
        np.abs(np.mean([(d, s - 1, *shift) for d, s, *shift in views.VIEWS], axis=0)).max() < 1e-9
    )


def test_the_mean_of_the_logits_is_taken():
    xray = smooth(12, 16)

    def classify(x):
        return jnp.stack([jnp.mean(x[:, :6], axis=(1, 2, 3)), jnp.max(x, axis=(1, 2, 3))], axis=1)

    found = jax.jit(lambda x: views.averaged(classify, x))(xray)
    wanted = np.mean([classify(view) for view in views.over_views(lambda v: v, xray)], axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert np.abs(found - classify(xray)).max() > 1e-5
