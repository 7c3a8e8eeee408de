"""The generator that ships from a training run: rounded, with what its radiographs are like."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xr2mri_jax
from xr2mri_jax import datasets, files, output_paths, stages
from xr2mri_jax.data import passes
from xr2mri_jax.data.batches import make_iterator
from xr2mri_jax.datasets.knee_family.make_knee import map_files, prepared_atlas
from xr2mri_jax.datasets.splits import is_held_out
from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation import linear_reading, model_card
from xr2mri_jax.evaluation.calibrated_shape import calibrate
from xr2mri_jax.evaluation.uncertainty import fit
from xr2mri_jax.inference import model_files, novelty
from xr2mri_jax.inference.knee_generator import file_format
from xr2mri_jax.inference.knee_generator.load import SHIPPED
from xr2mri_jax.inference.novelty import NoveltyDetector, deepest_features
from xr2mri_jax.inference.uncertainty import model as uncertainties
from xr2mri_jax.inference.uncertainty.surfaces import SurfaceSpread
from xr2mri_jax.runtime import processor
from xr2mri_jax.simulation import atlas
from xr2mri_jax.simulation.mean_knee import mean_knee_distances
from xr2mri_jax.simulation.reading_examples import jitter_of
from xr2mri_jax.stages.base import Encodes, Surfaces
from xr2mri_jax.training.loaded_model import LoadedModel, load_model

BATCH = 16
# The split that `generator:shape` is watched with.
_HELD_OUT = "validation"
# Share of the patients of the real radiographs whose distances give the novelty score its scale.
_NOVELTY_HELD_OUT = 0.15
# Intervals fitted on simulated knees alone are too narrow for patients. Absolute errors in mm of
# the plates' thickness by the shipped generator that 19 of 20 development pairs do not exceed
# (`evaluate --pairs`), rounded up; and the factor of the surfaces' half-widths with which they
# contain 90 % of these pairs' bone surfaces, with the joints centred.
_PATIENTS_OFF_MM = {
    "femoral_medial": 0.57,
    "femoral_lateral": 0.49,
    "tibial_medial": 0.42,
    "tibial_lateral": 0.57,
    "patellar": 0.86,
}
_PATIENTS_WIDER = 1.5


def ship(
    workdir: str | os.PathLike[str],
    real: str,
    output: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    step: int | None = None,
    maps: str | os.PathLike[str] | None = None,
    trust: float = 1.0,
    reading_knees: int = 0,
    exclude_subjects: Sequence[str] = (),
) -> tuple[LoadedModel, Path]:
    """Makes the generator of a run and writes its files.

    Args:
      workdir: of a generator or joint stage; or a packaged generator of the form "shape", of which
        the mean is made again from `maps`, the reading if `reading_knees` says so, and the
        uncertainty; `step` and `trust` do not apply.
      real: dataset of real radiographs as the generator sees them: an unlike radiograph is told by
        its training split.
      output: a new or empty folder; None: the package's own, whose model is replaced.
      data_dir: where `real` is prepared; None: where the run read its data.
      step: which checkpoint; None: the newest.
      maps: folder of the label maps of `knee_family`; the mean knee of that family replaces the
        mean of the training knees' distances, see `mean_knee.mean_knee_distances`; form "shape".
      trust: see `calibrated_shape.calibrate`; form "shape".
      reading_knees: of a packaged generator, the simulated knees from which a linear reading of the
        radiograph is fitted, see `linear_reading`; it replaces the trained reading. `real`
        takes part. 0: the reading stays.
      exclude_subjects: patients of `real` whose radiographs take no part in the linear reading.

    Returns:
      The model as it ships and its folder.

    Raises:
      InputError: the run or the dataset cannot be used, or the folder holds other files.
    """
    if exclude_subjects and not reading_knees:
        raise InputError(
            f"--exclude_subjects: found {','.join(exclude_subjects)} without --reading_knees, "
            "expected both: only the linear reading uses radiographs of --real by patient"
        )
    if not 0 <= trust <= 1:
        raise InputError(f"--trust: found {trust}, expected 0 to 1")
    folder = Path(output) if output is not None else SHIPPED
    if output is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--output: found {folder}, expected a new or empty folder")
    output_paths.require_writable(folder, "--output")
    if (Path(workdir) / model_files.DESCRIPTION).is_file():
        reading = (reading_knees, real, frozenset(exclude_subjects))
        made = _repackage(Path(workdir), maps, folder, output is None, data_dir, reading)
        return made, folder
    if reading_knees:
        raise InputError(
            f"--reading_knees: found {reading_knees} with the training run {workdir}, expected a "
            "packaged generator: package the run first, then fit the reading of the package"
        )
    model = load_model(workdir, step)
    stage = model.stage
    if not isinstance(stage, Encodes) or not isinstance(stage, Surfaces):
        raise InputError(
            f"{workdir}: found the stage {stage.name!r}, expected a generator or joint stage"
        )
    data = model.config["data"]
    params = {name: model.params[name] for name in ("encoder", "generator")}
    shares: dict[str, list[float]] = {}
    if model.config["model"]["generator"]["form"] == "shape":
        held_out = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
        batches = make_iterator(
            held_out, data["eval_split"], batch_size=BATCH, fields=("xray", "distances")
        )
        params, shares = calibrate(stage, params, batches, trust)
        batches.close()
        if maps is not None:
            params = _with_mean_knee(params, Path(maps), Path(data_dir or data["data_dir"]))
    elif maps is not None:
        raise InputError("--maps: found a generator without components, expected the form shape")
    params = model_files.rounded(params)
    trained, model = model, dataclasses.replace(model, params=params)
    builder = datasets.load_builder(real, data_dir or data["data_dir"])
    novelty_detector, count = _fit_novelty_detector(stage, params, builder)
    watched = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    uncertainty = fit.fit(fit.knees(model, watched, data["eval_split"]))
    if maps is not None:
        uncertainty = _widened_intervals(uncertainty)
    training = {
        "stage": stage.name,
        "dataset": data["dataset"],
        "real_radiographs": real,
        "real_radiographs_described": count,
        "trusted": shares,
        "mean": "training knees" if maps is None else "usual knee of the family",
        "xr2mri_jax": xr2mri_jax.__version__,
    }
    with _output_folder(folder, output is None) as place:
        _write(place, model, novelty_detector, training, uncertainty)
        if output is not None:
            # With the parts of the run that are not packaged, as it was evaluated.
            every = dataclasses.replace(model, params={**trained.params, **params})
            _write_card(place, workdir, every, data_dir)
    return model, folder


def _repackage(
    packaged: Path,
    maps: str | os.PathLike[str] | None,
    folder: Path,
    own: bool,
    data_dir: str | os.PathLike[str] | None,
    reading: tuple[int, str, frozenset[str]],
) -> LoadedModel:
    """Writes a packaged generator with another mean knee, and another reading if asked."""
    reading_knees, real, exclude = reading
    if maps is None or data_dir is None:
        raise InputError(
            f"--workdir={packaged}: found a packaged generator, expected --maps and --data_dir "
            "with it"
        )
    model, novelty_detector = file_format.read(packaged)
    if model.config["model"]["generator"]["form"] != "shape":
        raise InputError("--maps: found a generator without components, expected the form shape")
    described = files.read_json(packaged / model_files.DESCRIPTION)["training"]
    if reading_knees:
        knees = checked_reading_knees(reading_knees)
        builder = datasets.load_builder(real, data_dir)
        model, patients = _read_linearly(model, Path(maps), Path(data_dir), knees, builder, exclude)
        described |= {
            "reading": f"linear, fitted on {reading_knees} simulated knees",
            "reading_real_radiographs": f"{real} {builder.version}",
            "reading_patients_with_both_knees": patients,
            "reading_excluded_patients": len(exclude),
            "trusted": {},
        }
    else:
        params = _with_mean_knee(model.params, Path(maps), Path(data_dir))
        model = dataclasses.replace(model, params=params)
    model = dataclasses.replace(model, params=model_files.rounded(model.params))
    watched = datasets.load_builder(model.config["data"]["dataset"], data_dir)
    uncertainty = _widened_intervals(fit.fit(fit.knees(model, watched, _HELD_OUT)))
    training = {
        **described,
        "mean": "usual knee of the family",
        "mean_of": f"{watched.name} {watched.version}",
        "xr2mri_jax": xr2mri_jax.__version__,
    }
    with _output_folder(folder, own) as place:
        _write(place, model, novelty_detector, training, uncertainty)
    return model


def checked_reading_knees(knees: int) -> int:
    """The number itself; raises InputError if a linear reading needs more knees."""
    if knees <= linear_reading.COEFFICIENTS:
        raise InputError(
            f"--reading_knees: found {knees}, expected more than the "
            f"{linear_reading.COEFFICIENTS} components"
        )
    return knees


def _read_linearly(
    model: LoadedModel, maps: Path, data_dir: Path, knees: int, real: Any, exclude: frozenset[str]
) -> tuple[LoadedModel, int]:
    """The model with a linear reading about the mean knee, and the patients that took part."""
    sizes = model.config["model"]
    changed = {**sizes["generator"], "coefficients": linear_reading.COEFFICIENTS}
    config = {**model.config, "model": {**sizes, "generator": {**changed, "reading": "linear"}}}
    kept = prepared_atlas(map_files(maps), data_dir)
    (size, _) = sizes["cae"]["image_shape"]
    simulated = linear_reading.examples(kept, knees, size, processor.cores())
    bred = atlas.load(kept)

    def mean_knee(view: np.ndarray) -> np.ndarray:
        return mean_knee_distances(bred, jitter_of(view))

    part, patients = linear_reading.fit(
        model.stage, model.params, simulated, real, mean_knee, exclude=exclude
    )
    params = {**model.params, "generator": part}
    stage = stages.make_stage(config)
    return dataclasses.replace(model, config=config, stage=stage, params=params), patients


def _widened_intervals(fitted: uncertainties.Uncertainty) -> uncertainties.Uncertainty:
    """Intervals widened by `_PATIENTS_WIDER`, of thickness to at least `_PATIENTS_OFF_MM`."""
    offsets = dict(fitted.offsets)
    for plate, off in _PATIENTS_OFF_MM.items():
        low, high = offsets.get(f"thickness_{plate}", (0.0, 0.0))
        offsets[f"thickness_{plate}"] = min(low, -off), max(high, off)
    spread = fitted.surfaces
    if spread is not None:
        spread = SurfaceSpread(np.float32(_PATIENTS_WIDER) * spread.half_width)
    return dataclasses.replace(fitted, surfaces=spread, offsets=offsets, widened=True)


@contextlib.contextmanager
def _output_folder(folder: Path, own: bool) -> Iterator[Path]:
    """The folder itself if its files are replaced; otherwise a new one, created atomically."""
    if own:
        yield folder
        return
    with files.atomic_folder(folder) as partial:
        yield partial


def _write(
    place: Path,
    model: LoadedModel,
    novelty_detector: NoveltyDetector,
    training: Mapping[str, Any],
    uncertainty: uncertainties.Uncertainty,
) -> None:
    file_format.write(place, model, novelty_detector, training)
    uncertainties.write(place / uncertainties.NAME, uncertainty, model.params)


def _write_card(
    folder: Path,
    workdir: str | os.PathLike[str],
    model: LoadedModel,
    data_dir: str | os.PathLike[str] | None,
) -> None:
    """The card of the run, with the figures of its last evaluation if that was of this model."""
    data = model.config["data"]
    builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    text = model_card.of_shipped(workdir, model, builder)
    files.write_text(folder / model_card.NAME, text)


def _with_mean_knee(params: Any, maps: Path, data_dir: Path) -> Any:
    """The parameters with the mean knee of a family as the mean."""
    bred = atlas.load(prepared_atlas(map_files(maps), data_dir))
    part = {**params["generator"], "mean": jnp.asarray(mean_knee_distances(bred))}
    return {**params, "generator": part}


def _fit_novelty_detector(stage: Encodes, params: Any, builder: Any) -> tuple[NoveltyDetector, int]:
    features = jax.jit(lambda xray: deepest_features(stage, params, jnp.asarray(xray)))
    found, about = passes.predictions(features, builder, "train", BATCH, "train radiographs")
    chosen = np.array([is_held_out(name, _NOVELTY_HELD_OUT, 0) for name in about["subject"]])
    if chosen.all() or not chosen.any():
        raise InputError(
            f"--real: found {len(set(about['subject']))} patients in the training split, expected "
            "enough for statistics and held-out ones"
        )
    return novelty.fit(found[~chosen], found[chosen]), int((~chosen).sum())
