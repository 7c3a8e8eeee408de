"""The uncertainty of a model: its tables, its file, and what a prediction gets of it."""

import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest
from made_generator import mean_knee
from made_uncertainty import uncertainty

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.inference.export import OutputFiles, write_prediction
from xr2mri_jax.inference.joint_fit import spaces
from xr2mri_jax.inference.predictor import Predictor
from xr2mri_jax.inference.shapes import label_volume
from xr2mri_jax.inference.uncertainty import model, voxels
from xr2mri_jax.inference.uncertainty.of_prediction import TRACED_OFF_MM, with_uncertainty
from xr2mri_jax.metrics.intervals import LEVEL
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.thickness import mean_thickness
from xr2mri_jax.phantom.tissues import CODES

PARAMS = {"encoder": {"w": np.arange(6, dtype=np.float32)}, "generator": {"b": np.ones(2)}}


def test_half_widths_are_those_of_bin_place_and_likely_structure():
    made = uncertainty().voxels
    volume = np.full((8, 16, 16), 0.01, np.float32)
    volume[:, :8] = 0.9
    found = made.half_width(volume)
    assert found.shape == volume.shape and found.dtype == np.float32
    assert found[4, 2, 2] == pytest.approx(0.2) and found[4, 13, 2] == pytest.approx(0.1)
    # A structure that is certain in the bright bins widens there by its factor, and never beyond 1.
    kinds = len(made.of_structure)
    seen, factors = np.zeros_like(made.seen_in_bin), np.zeros(kinds, np.float32)
    seen[1, -6:], factors[1] = 50.0, np.log(3.0)
    wider = dataclasses.replace(made, of_structure=factors, seen_in_bin=seen)
    again = wider.half_width(volume)
    assert again[4, 2, 2] == pytest.approx(0.6, rel=1e-3)
    assert again[4, 13, 2] == pytest.approx(0.1 * 3 ** (1 / kinds), rel=1e-3)
    factors[1] = 9.0
    widest = dataclasses.replace(made, of_structure=factors, seen_in_bin=seen)
    assert widest.half_width(volume).max() == 1.0


def test_features_are_bins_and_blocks():
    volume = np.zeros((16, 64, 64), np.float32)
    volume[3, 40, 50] = 1.0
    levels, place = voxels.features(volume)
    assert levels.min() == 0 and levels[3, 40, 50] == voxels.BINS - 1
    assert levels[3, 41, 50] == 5 and levels[3, 43, 50] == 0  # dark beside what is bright
    assert place[0, 0, 0] == 0 and place[3, 40, 50] == (3 * 32 + 20) * 32 + 25


def test_confidence_is_even_at_a_surface_and_certain_far_from_it():
    spread = uncertainty(mm=2.0).surfaces
    distances = surfaces.resized(mean_knee(), (64, 64, 64))
    labels = surfaces.labels(distances)
    found = spread.confidence(distances, labels)
    femur = distances[NAMES.index("femur")]
    at = (np.abs(femur) < 0.3) & (labels == labels[32, 18, 32])
    assert at.any() and 0.3 < found[at].mean() < 0.7
    deep = femur < -6
    assert deep.any() and found[deep].min() > 0.95
    # The half-width holds LEVEL of the logistic errors.
    chance = spread._shares(np.full_like(distances, -2.0))["femur"]
    np.testing.assert_allclose(chance, (1 + LEVEL) / 2, atol=1e-4)
    likely = spread.probabilities(distances)
    total = sum(chance for code, chance in likely.items() if code)
    assert total.min() >= 0 and np.quantile(total, 0.999) <= 1.05
    with pytest.raises(InputError, match="found distances"):
        spread.confidence(distances[:3], labels)


def test_bone_and_the_outer_surface_of_its_cartilage_are_one_doubt_about_the_background():
    """Bare bone, where both surfaces are the same: as certain on either side."""
    spread = uncertainty(mm=2.0).surfaces
    distances = np.full((len(NAMES), 8, 8, 8), 300.0, np.float32)
    away = np.array([-3, -2, -1, -0.5, 0.5, 1, 2, 3], np.float32)
    for name in ("femur", "femoral_outer"):
        distances[NAMES.index(name)] = away[:, None, None]
    labels = surfaces.labels(distances)
    assert (labels[4:] == 0).all() and (labels[:4] == CODES["femur"]).all()
    found = spread.confidence(distances, labels)
    np.testing.assert_allclose(found, found[::-1], atol=1e-6)
    assert (np.diff(found[4:, 0, 0]) > 0).all() and found[4, 0, 0] > 0.5
    # A cartilage that may be there adds its doubt; another bone multiplies.
    distances[NAMES.index("femoral_outer")] -= 0.4
    thicker = spread.probabilities(distances)[0]
    chance = 1 / (1 + np.exp(np.log(19) * np.array([0.1, 0.6, 1.6, 2.6]) / 2))
    np.testing.assert_allclose(thicker[4:, 0, 0], 1 - chance, rtol=1e-5)
    distances[NAMES.index("fibula")] = 0.0
    both = spread.probabilities(distances)[0]
    np.testing.assert_allclose(both, thicker / 2, rtol=1e-5)


@pytest.mark.parametrize("with_surfaces", [True, False])
def test_the_file_belongs_to_its_weights(tmp_path, with_surfaces):
    made = uncertainty(with_surfaces)
    assert model.read(tmp_path, PARAMS, with_surfaces) == (None, "")
    model.write(tmp_path / model.NAME, made, PARAMS)
    found, doubt = model.read(tmp_path, PARAMS, with_surfaces)
    assert doubt == "" and found.knees == 5 and found.offsets == made.offsets
    np.testing.assert_allclose(found.voxels.of_bin, made.voxels.of_bin, atol=1e-3)
    assert found.record({})["fitted_on"] == "5 held-out knees of the training's dataset"
    model.write(tmp_path / model.NAME, dataclasses.replace(made, widened=True), PARAMS)
    widened, _ = model.read(tmp_path, PARAMS, with_surfaces)
    assert widened.record({})["fitted_on"].endswith(
        "then widened to cover the generator's development pairs"
    )
    with np.load(tmp_path / model.NAME) as arrays:
        earlier = {name: arrays[name] for name in arrays if name != "widened"}
    np.savez(tmp_path / model.NAME, allow_pickle=False, **earlier)
    found, _ = model.read(tmp_path, PARAMS, with_surfaces)
    assert not found.widened
    assert found.fitted is None
    split = model.FittedSplit("knee_family/default", "validation")
    model.write(tmp_path / model.NAME, dataclasses.replace(made, fitted=split), PARAMS)
    fitted, _ = model.read(tmp_path, PARAMS, with_surfaces)
    assert fitted.fitted == split
    assert fitted.record({})["fitted_on"].endswith("(knee_family/default, split validation)")
    plain, named = (model.identity(dataclasses.asdict(one)) for one in (found, fitted))
    assert plain != named  # the identity of what is known of the split is part of it
    other = {**PARAMS, "generator": {"b": np.ones(2) + 1e-3}}
    found, doubt = model.read(tmp_path, other, with_surfaces)
    assert found is None and "was fitted to other weights" in doubt


def test_a_split_with_too_long_a_name_is_refused():
    with pytest.raises(InputError, match="split of the held-out knees: found 300 bytes"):
        model.FittedSplit("knees", "s" * 300)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / model.NAME
    model.write(path, uncertainty(), PARAMS)
    with pytest.raises(InputError, match="array 'half_width' is not known"):
        model.read(tmp_path, PARAMS, has_surfaces=False)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"uncertainty\.npz: cannot be read as \.npz"):
        model.read(tmp_path, PARAMS, has_surfaces=True)
    model.write(path, uncertainty(mm=0.0), PARAMS)
    with pytest.raises(InputError, match="half_width: found 0 or less"):
        model.read(tmp_path, PARAMS, has_surfaces=True)


@pytest.fixture
def plain(fake_model, knee_pixels):
    return Predictor(fake_model)(Radiograph(knee_pixels, (1.0, 1.0), "left"))


def test_a_prediction_without_uncertainty_stays_as_it_is(plain):
    assert with_uncertainty(plain, None) is plain


def test_files_pictures_and_record_of_a_volume(fake_model, knee_pixels, tmp_path):
    predictor = Predictor(fake_model, uncertainty=(uncertainty(with_surfaces=False), ""))
    made = predictor(Radiograph(knee_pixels, (1.0, 1.0), "left"))
    write_prediction(OutputFiles.beside(tmp_path / "o.nii.gz", "x.png"), made)
    volume, spread = (nib.load(tmp_path / f"o{end}.nii.gz") for end in ("", "_uncertainty"))
    np.testing.assert_allclose(spread.affine, volume.affine)
    assert spread.shape == volume.shape
    # Bright voxels are off by more, in the patient's frame as in the canonical one.
    values, widths = np.asarray(volume.dataobj), np.asarray(spread.dataobj)
    bright = values > 0.95
    assert bright.any() and widths[bright].min() > widths[values < 0.02].max()
    record = json.loads((tmp_path / "o.json").read_text())["uncertainty"]
    assert record["level"] == LEVEL and record["intervals"] == {}
    assert record["files"] == [str(tmp_path / "o_uncertainty.nii.gz")]


def test_numbers_have_intervals_and_labels_a_confidence(plain, tmp_path):
    knee = dataclasses.replace(plain, distances=mean_knee(), scale=2.0)
    made = with_uncertainty(knee, uncertainty())
    about = made.record["uncertainty"]["intervals"]
    plate = about["thickness_femoral_medial"]
    assert plate["high"] - plate["mm"] == pytest.approx(2 * 0.25)
    assert plate["mm"] - plate["low"] == pytest.approx(2 * 0.5)
    assert plate["mm"] == pytest.approx(2 * mean_thickness(mean_knee())["femoral_medial"])
    space = about["joint_space_medial"]["mm"]
    assert space == pytest.approx(2 * spaces(mean_knee())["medial"])
    assert made.record["uncertainty"]["surface_mm"]["femur"] == pytest.approx(4.0)
    assert made.confidence.shape == made.labels.shape
    files = OutputFiles.beside(tmp_path / "o.nii.gz", "x.png")
    write_prediction(files.with_shapes(tmp_path / "l.nii.gz", None, "x.png"), made)
    assert {path.name for path in tmp_path.iterdir()} == {
        "o.nii.gz", "o.json", "o.png", "o_uncertainty.nii.gz", "l.nii.gz", "l.json",
        "l_confidence.nii.gz",
    }  # fmt: skip


def test_the_recorded_thickness_is_that_of_the_scaled_label_map(plain):
    """A ball with a shell, whose thickness follows from its volume in the patient's label map."""
    at = (np.arange(32) + 0.5) * 4 - 64
    d, h, w = np.meshgrid(at, at, at, indexing="ij")
    distances = np.full((len(NAMES), 32, 32, 32), 7.5, np.float32)
    for name, radius in (("patella", 20.0), ("patellar_outer", 22.5)):
        ball = np.sqrt((d + 30) ** 2 + h**2 + w**2) - radius
        distances[NAMES.index(name)] = np.clip(ball, -7.5, 7.5)
    knee = dataclasses.replace(plain, distances=distances, scale=0.75)
    codes = surfaces.labels(surfaces.resized(distances, (128, 128, 128), order=3))
    labels = label_volume(codes, "left", knee.scale)
    bone, both = (
        np.isin(labels.array, [CODES[name] for name in names]).sum() * np.prod(labels.spacing)
        for names in (["patella"], ["patella", "patellar_cartilage"])
    )
    shell = np.cbrt(0.75 * both / np.pi) - np.cbrt(0.75 * bone / np.pi)
    assert shell == pytest.approx(0.75 * 2.5, abs=0.05)
    found = with_uncertainty(knee, uncertainty()).record["uncertainty"]["intervals"]
    assert found["thickness_patellar"]["mm"] == pytest.approx(shell, abs=0.1)


def test_a_traced_joint_space_has_the_interval_of_traced_ones(plain):
    fitted = {"after_mm": {"medial": 4.0, "lateral": 1.5}}
    record = {**plain.record, "joint_space": fitted}
    knee = dataclasses.replace(plain, distances=mean_knee(), record=record)
    about = with_uncertainty(knee, uncertainty()).record["uncertainty"]["intervals"]
    assert about["joint_space_medial"]["low"] == pytest.approx(4.0 - TRACED_OFF_MM["medial"])
    assert about["joint_space_lateral"]["low"] == 0.0
    assert about["joint_space_lateral"]["high"] == pytest.approx(1.5 + TRACED_OFF_MM["lateral"])
    # They were fitted on other knees than the model's own intervals, and say so.
    stated = {name for name, one in about.items() if "20 real pairs" in one.get("fitted_on", "")}
    assert stated == {"joint_space_medial", "joint_space_lateral"} < set(about)


def test_a_doubt_about_the_file_is_in_every_record(fake_model, knee_png):
    from xr2mri_jax.inference.predict import predict_knee
    from xr2mri_jax.io import read_radiograph
    from xr2mri_jax.preprocess.knee_request import KneeRequest

    predictor = Predictor(fake_model, uncertainty=(None, "uncertainty.npz was fitted to others"))
    request = KneeRequest("right", spacing=1.0, force=True)
    made = predict_knee(predictor, read_radiograph(knee_png), request)
    assert "uncertainty.npz was fitted to others" in made.warnings
    assert made.half_width is None and "uncertainty" not in made.record
