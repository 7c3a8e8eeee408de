"""Draws the predictions of one generator for simulated knees and real radiographs."""

import os
from pathlib import Path

import numpy as np
from absl import logging

from xr2mri_jax import datasets
from xr2mri_jax.data.batches import make_iterator
from xr2mri_jax.errors import InputError
from xr2mri_jax.files import atomic_path
from xr2mri_jax.geometry import SIDES, from_canonical
from xr2mri_jax.inference.knee_generator.frame import framed_knee, scale_of
from xr2mri_jax.inference.listing import list_files
from xr2mri_jax.inference.predictor import Predictor, load_predictor
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.io.image import DRAWN
from xr2mri_jax.output_paths import require_ending, require_writable
from xr2mri_jax.preprocess.knee_request import KneeRequest, named_side
from xr2mri_jax.preprocess.knees import one_knee
from xr2mri_jax.preprocess.radiograph import StandardRadiograph, displayed
from xr2mri_jax.presentation.gallery import Case, draw
from xr2mri_jax.presentation.pluralise import pluralise


def write_gallery(
    output: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    xray: str | os.PathLike[str] | None = None,
    dataset: str | None = None,
    data_dir: str | os.PathLike[str] = "workdir/data",
    count: int = 4,
) -> list[str]:
    """Draws simulated knees with their true and predicted volumes, then real knees.

    Args:
      output: PNG file.
      model: as for `load_generator`; its input must be framed knees.
      xray: a real radiograph, or a folder, whose first `count` knees are shown; files without a
        knee are logged as warnings. None for none.
      dataset: simulated knees, of which the test split is shown; None for none.
      data_dir: folder of the prepared dataset.
      count: number of simulated and of real knees.

    Returns:
      The titles of the rows.

    Raises:
      InputError: nothing to draw, a model of another kind, an unusable dataset, no knee in any
        file, or another ending than .png.
    """
    output = Path(output)
    require_ending(output, ".png", "--output")
    require_writable(output.parent, "--output")
    predictor = load_predictor(model)
    if not predictor.boxed:
        raise InputError("--model: expected a generator trained on knee_family")
    cases: list[Case] = []
    if dataset is not None:
        cases += _simulated(predictor, dataset, data_dir, count)
    if xray is not None:
        cases += _real(predictor, Path(xray), output, count)
    if not cases:
        raise InputError("found neither --xray nor --dataset, expected one of them")
    with atomic_path(output) as partial:
        draw(cases).savefig(partial, format="png", facecolor="black", metadata=DRAWN)
    return [case.title for case in cases]


def _simulated(
    predictor: Predictor, dataset: str, data_dir: str | os.PathLike[str], count: int
) -> list[Case]:
    builder = datasets.load_builder(dataset, data_dir)
    fields = ("xray", "mri", "labels", "subject", "side")
    with_examples = make_iterator(builder, "test", batch_size=count, fields=fields)
    batch = next(with_examples)
    with_examples.close()
    cases = []
    for i in range(int(batch["example_mask"].sum())):
        name, side = str(batch["subject"][i]), SIDES[int(batch["side"][i])]
        volume, labels = (
            from_canonical(one, side).array for one in (batch["mri"][i, ..., 0], batch["labels"][i])
        )
        xray = batch["xray"][i, ..., 0]
        xray = xray[:, ::-1] if side == "left" else xray
        cases.append(Case(f"{name}, simulated", xray, volume, labels, side))
        seen = StandardRadiograph(batch["xray"][i], side, {})
        cases.append(_case(f"{name}, generated", predictor, seen, xray))
    return cases


def _real(predictor: Predictor, xray: Path, output: Path, count: int) -> list[Case]:
    """The first `count` knees of the files in `xray`, except the output picture itself."""
    own = output.resolve()
    listed = list_files(xray, lambda path: path.resolve() == own)
    cases: list[Case] = []
    for file in listed:
        if len(cases) == count:
            break
        try:
            radiograph = read_radiograph(file.path)
            knee = one_knee(radiograph, KneeRequest(named=named_side(file.path)))
            seen = framed_knee(knee, predictor.image_shape[0], predictor.contrast)
        except InputError as error:
            logging.warning("not shown: %s: %s", file.name, error)
            continue
        scale = scale_of(seen.record, knee.scale)
        cases.append(_case(f"{file.name}, real", predictor, seen, displayed(seen), scale))
    if not cases:
        raise InputError(f"--xray={xray}: no knee can be shown of {pluralise(len(listed), 'file')}")
    return cases


def _case(
    title: str,
    predictor: Predictor,
    seen: StandardRadiograph,
    shown: np.ndarray,
    scale: float = 1.0,
) -> Case:
    """A row of what the model predicts; `shown` is the radiograph with the mirroring undone."""
    made = predictor.predict(seen, scale)
    labels = None if made.labels is None else from_canonical(made.labels, seen.side).array
    return Case(
        title, shown, from_canonical(made.canonical, seen.side).array, labels, seen.side, scale
    )
