"""A generator of random numbers whose mean knee is made of balls, and its folder."""

import jax
import numpy as np

from xr2mri_jax import stages
from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.knee_generator import file_format
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.stages import cae, generator
from xr2mri_jax.training import config as recipe
from xr2mri_jax.training.loaded_model import LoadedModel

CAE = {"preset": "compact", "image_shape": (32, 32), "channels": (4, 4, 4), "hidden_channels": 3}
GENERATOR = {
    "form": "shape",
    "volume_shape": (16, 32, 32),
    "surfaces": 9,
    "coefficients": 2,
    "surface_width": 4,
}
# (d, h, w) and radius in mm of the balls that stand for bones.
BALLS = {
    "femur": ((0, -28, 0), 22),
    "femoral_outer": ((0, -28, 0), 26),
    "tibia": ((0, 28, 0), 22),
    "tibial_outer": ((0, 28, 0), 26),
    "patella": ((-40, -28, 0), 14),
    "patellar_outer": ((-40, -28, 0), 17),
}


def mean_knee():
    axis = (np.arange(8) + 0.5) * 16 - 64
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    mean = np.full((9, 8, 8, 8), 7.5, np.float32)
    for name, (centre, radius) in BALLS.items():
        away = np.sqrt(((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0))
        mean[NAMES.index(name)] = away - radius
    return mean


def model():
    """A loaded generator of step 7."""
    config = recipe.plain(recipe.default("generator"))
    config["model"] = {"cae": cae.full_spec(CAE), "generator": generator.full_spec(GENERATOR)}
    config["data"]["dataset"] = "knee_family/default"
    stage = stages.make_stage(config)
    shapes = jax.eval_shape(lambda: stage.create(jax.random.key(0)))[0]
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda s: 0.1 * random.standard_normal(s.shape).astype("f4"), shapes)
    params["generator"]["mean"] = mean_knee()
    params["generator"]["basis"] *= 0.01
    return LoadedModel(config, stage, params, {}, 7)


def write(folder, made):
    """Writes the files of a generator; its novelty detector is fitted to noise."""
    random = np.random.default_rng(1)
    novelty_detector = novelty.fit(random.normal(size=(40, 6)), random.normal(size=(20, 6)))
    file_format.write(folder, made, novelty_detector, {"dataset": "knee_family/default"})
    return folder
