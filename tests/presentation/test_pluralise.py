"""Tests of counted nouns."""

from xr2mri_jax.presentation.pluralise import pluralise


def test_one_is_singular_and_everything_else_is_not():
    assert [pluralise(n, "knee") for n in (0, 1, 2)] == ["0 knees", "1 knee", "2 knees"]
