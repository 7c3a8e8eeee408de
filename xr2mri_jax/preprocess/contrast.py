"""The contrast of radiographs: an option of the datasets that travels with runs and models."""

from collections.abc import Mapping, Sequence
from typing import Any

from xr2mri_jax.errors import InputError
from xr2mri_jax.preprocess.radiograph import DEFAULT_CONTRAST
from xr2mri_jax.preprocess.record import with_defaults


def contrast_with_clahe(clahe: Sequence[float] | None) -> dict[str, Any]:
    """The contrast that `standardise_radiograph` takes: its default, and adaptive equalisation.

    Args:
      clahe: (clip limit, size of the tiles in mm) of the equalisation, or None for none.

    Raises:
      InputError: not two numbers above 0.
    """
    if clahe is None:
        return dict(DEFAULT_CONTRAST)
    if len(clahe) != 2 or not min(clahe) > 0:
        raise InputError(
            f"--clahe: found {','.join(map(str, clahe))}, expected a clip limit and the tiles' "
            "size in mm, both above 0"
        )
    settings = {"clip_limit": float(clahe[0]), "kernel_mm": float(clahe[1])}
    return {**DEFAULT_CONTRAST, "clahe": settings}


def contrast_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The contrast of the radiographs that a run is trained on, by its stored config.

    Runs that are older than the entry `data.contrast` were made with the default one.
    """
    stored = config.get("data", {}).get("contrast")
    return (
        dict(DEFAULT_CONTRAST)
        if stored is None
        else with_defaults("contrast", stored, DEFAULT_CONTRAST)
    )
