"""Graders of a few thousand random numbers, a run's folder of one, and a made dataset."""

import dataclasses
import types

import jax
import numpy as np

from xr2mri_jax import stages, workdir
from xr2mri_jax.inference import novelty
from xr2mri_jax.inference.knee_grader import file_format
from xr2mri_jax.inference.knee_grader.file_format import Calibration, KneeGrader
from xr2mri_jax.inference.knee_grader.network import Network
from xr2mri_jax.models import classifiers
from xr2mri_jax.preprocess.contrast import contrast_with_clahe
from xr2mri_jax.training import config as recipe

SIZE = 32
NETWORK = {
    "kind": "siamese_gap",
    "image_shape": [SIZE, SIZE],
    "channels": [4, 4, 8, 8],
    "convolutions": [1, 1, 1, 1],
}
ROWS = [
    {"sensitivity_wanted": w, "probability": p, "sensitivity": w, "specificity": 1 - w / 2}
    for w, p in ((0.8, 0.6), (0.9, 0.5), (0.95, 0.4))
]
BINS = {"count": [4.0, 6.0], "probability": [0.3, 0.7], "frequency": [0.25, 0.8]}


def config():
    """The resolved config of a run of a small network."""
    made = recipe.plain(recipe.default("siamese_gap"))
    made["model"]["classifier"] = dict(NETWORK)
    made["data"].update(dataset="made", data_dir="", held_out=0.5, grades=[0, 2])
    return stages.resolve(made)


def arrays(seed=0, resolved=None):
    """Params and batch statistics; shapes alone are compiled, which is faster."""
    stage = stages.make_stage(config() if resolved is None else resolved)
    shapes = jax.eval_shape(stage.create, jax.random.key(0))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(x.dtype), shapes[0])
    state = jax.tree.map(lambda x: rng.uniform(0.5, 1.5, x.shape).astype(x.dtype), shapes[1])
    return params, state


def bare_grader():
    """Without calibration and novelty detector."""
    params, state = map(file_format.rounded, arrays())
    spec = config()["model"]["classifier"]
    return KneeGrader(spec, (0, 2), params, state, contrast_with_clahe(None), {"step": 3})


def grader():
    """A complete one; its novelty detector is fitted to noise."""
    bare = bare_grader()
    noise = np.random.default_rng(1).random((24, SIZE, SIZE, 1), np.float32)
    features = Network(bare, 24)(noise)[1]
    return KneeGrader(
        bare.network,
        bare.grades,
        bare.params,
        bare.model_state,
        bare.contrast,
        bare.training,
        Calibration(1.5, ROWS, BINS, 0.1, 0.05, 10, 6),
        novelty.fit(features[:16], features[16:]),
    )


def grader_of_five(seed=3):
    """A whole one of grades 0 to 4 with an ordinal head, for the same radiographs as `grader`."""
    one, network = grader(), {**NETWORK, "classes": 5, "head": "ordinal"}
    rng = np.random.default_rng(seed)
    head = {"kernel": rng.normal(0, 1, (24, 4)), "bias": rng.normal(0, 1, 4)}
    return dataclasses.replace(
        one,
        network=classifiers.full_spec(network),
        grades=(0, 1, 2, 3, 4),
        params={**one.params, "head": file_format.rounded(head)},
        calibration=dataclasses.replace(one.calibration, set_limits=[0.6] * 5),
    )


def write_run(folder, resolved=None):
    """A run's folder with a checkpoint of step 3."""
    resolved = config() if resolved is None else resolved
    params, state = arrays(resolved=resolved)
    stored = {"params": params, "ema_params": params, "model_state": state, "step": np.asarray(3)}
    workdir.write_config(folder, resolved)
    workdir.write_step(folder, 3, stored, {"input": [], "record": {}}, resolved, 1)
    return folder


class Source:
    """Stands for a prepared dataset: 60 noisy radiographs whose level tells their grade."""

    def __init__(self, folder, grades=(0, 2)):
        random = np.random.default_rng(0)
        self.data_dir = self.data_path = folder
        self.examples = []
        for i in range(60):
            kl = int(random.choice(grades))
            level = 0.4 + 0.1 * kl + random.normal(0, 0.1)
            image = np.clip(level + random.normal(0, 0.2, (SIZE, SIZE, 1)), 0, 1)
            self.examples.append(
                {
                    "xray": (65535 * image).astype(np.uint16),
                    "kl": kl,
                    "side": i % 2,
                    "subject": f"s{i // 2}".encode(),
                }
            )
        features = dict.fromkeys(("xray", "kl", "side", "subject"))
        counts = {"train": types.SimpleNamespace(num_examples=60)}
        self.info = types.SimpleNamespace(
            full_name="made", version="1.0.0", features=features, splits=counts
        )

    def as_data_source(self, split, decoders=None):
        return self.examples
