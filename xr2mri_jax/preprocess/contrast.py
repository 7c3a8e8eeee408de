"""The contrast settings of radiographs: a dataset option that is stored in runs and models."""

from collections.abc import Mapping, Sequence
from typing import Any

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST
from xr2mri_jax.preprocess.record import with_defaults


def contrast_with_clahe(clahe: Sequence[float] | None) -> dict[str, Any]:
    """The contrast settings for `standardise_radiograph`: the default with adaptive equalisation.

    Args:
      clahe: (clip limit, tile size in mm) of the equalisation, or None for none.

    Raises:
      InputError: not two numbers above 0.
    """
    if clahe is None:
        return dict(DEFAULT_CONTRAST)
    if len(clahe) != 2 or not min(clahe) > 0:
        raise InputError(
            f"--clahe: found {','.join(map(str, clahe))}, expected a clip limit and a tile size in "
            "mm, both above 0"
        )
    settings = {"clip_limit": float(clahe[0]), "kernel_mm": float(clahe[1])}
    return {**DEFAULT_CONTRAST, "clahe": settings}


def contrast_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The contrast settings of a run's training radiographs, from its stored config.

    Runs older than the key `data.contrast` have the default settings.
    """
    stored = config.get("data", {}).get("contrast")
    return (
        dict(DEFAULT_CONTRAST)
        if stored is None
        else with_defaults("contrast", stored, DEFAULT_CONTRAST)
    )
