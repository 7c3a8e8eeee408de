"""Which cases of an evaluation are in the viewer, and what it shows of each."""

import base64
import dataclasses
import gzip
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.evaluation import property_errors, viewer_cases
from xr2mri_jax.evaluation.volume_store import VolumeStore
from xr2mri_jax.phantom.surfaces import NAMES

SHAPE = (8, 16, 16)


def test_a_spread_has_failures_median_and_best():
    order = list(range(1000, 2000))
    chosen = viewer_cases.spread(order, 50)
    assert len(chosen) == len(set(chosen)) == 50
    assert chosen[: viewer_cases.FAILURES] == order[: viewer_cases.FAILURES]
    assert {order[500], order[-1]} <= set(chosen) and chosen == sorted(chosen)
    assert np.diff(chosen).max() < 40
    assert viewer_cases.spread(order[:7], 50) == order[:7]


def test_labels_come_from_a_split_that_has_them():
    examples = [{"labels": np.full((*SHAPE, 1), i, np.uint8)} for i in range(3)]
    found = property_errors.labels_of({"test": examples}, "test")
    assert found(2).shape == SHAPE and found(2).max() == 2
    assert property_errors.labels_of({"test": [{"mri": examples[0]["labels"]}]}, "test") is None


@pytest.fixture
def source():
    """Two cases; the model's surfaces are one ball of bone, in the upper half."""
    d, h, w = np.meshgrid(*(np.linspace(-64, 64, 16) for _ in range(3)), indexing="ij")
    ball = np.sqrt(d**2 + (h + 25) ** 2 + w**2) - 30
    distances = np.stack([ball if name == "femur" else np.full_like(d, 9.0) for name in NAMES])
    about = {"index": [7, 9], "subject": ["a", "b"], "side": ["left", "right"], "kl": ["2", "0"]}
    found = SimpleNamespace(
        values={"model": {"psnr": np.array([20.0, 10.0])}},
        cases=about,
        xrays=np.full((2, 16, 16, 1), 0.5, np.float32),
    )
    with VolumeStore(2) as store:
        real = np.full((2, *SHAPE, 1), 0.5, np.float32)
        real[:, :, :8] = 1.0  # superior
        mask = np.ones_like(real)
        mask[:, :2] = 0  # anterior
        store.put(np.arange(2), real * 0.5, real, mask)
        labels = np.ones(SHAPE, np.uint8)
        yield viewer_cases.Source(found, store, lambda i: labels, lambda xray: distances)


def written(folder, name):
    """The content of a case's file."""
    text = (folder / "cases" / f"{name}.js").read_text()
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def voxels(layer):
    """u8[r, a, s] of a packed layer."""
    codes = np.frombuffer(gzip.decompress(base64.b64decode(layer["data"])), np.uint8)
    return codes.reshape(layer["shape"], order="F")


def test_cases_are_written_worst_first(source, tmp_path):
    viewer, names = viewer_cases.write(tmp_path, source)
    assert [case.name for case in viewer.cases] == ["case-9", "case-7"]
    assert names == ["case-7", "case-9"]
    assert viewer.chosen[0] == ("Worst, 10.00 dB", "case-9")
    assert viewer.chosen[-1] == ("Best, 20.00 dB", "case-7")
    assert list(viewer.gallery) == ["case-9", "case-7"]
    content = written(tmp_path, "case-7")
    assert content["title"] == "Case 7, left knee, grade 2, 20.00 dB"
    kinds = {layer["kind"]: layer for layer in content["layers"]}
    assert set(kinds) == {"prediction", "truth", "true_labels", "labels"}
    truth, labels = (voxels(kinds[kind]) for kind in ("truth", "labels"))
    # Axes r, a, s: superior is bright, the two anterior planes were not acquired.
    assert (truth[:, :6, 8:] == 255).all() and (truth[:, :6, :8] == 128).all()
    assert (truth[:, 6:] == 0).all() and kinds["truth"]["field"]
    assert labels[:, :, 8:].any() and not labels[:, :, :5].any()
    assert [surface["name"] for surface in content["surfaces"]] == ["femur"]


def test_a_left_knee_is_shown_as_it_lies_in_the_patient(source, tmp_path):
    """So that the viewer's letters R and L, which follow +x, are those of the patient."""
    lateral = np.zeros((2, *SHAPE, 1), np.float32)
    lateral[..., :5, :] = 1.0  # of a right knee, whose lateral side is the patient's right
    source.found.xrays[..., :5, :] = 1.0
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, :, :5] = 5
    near = source.distances(None)
    shifted = np.roll(near, -4, axis=-1)
    with VolumeStore(2) as store:
        store.put(np.arange(2), lateral, lateral, np.ones_like(lateral))
        changed = dataclasses.replace(
            source, store=store, labels=lambda i: labels, distances=lambda xray: shifted
        )
        viewer_cases.write(tmp_path, changed)
    for name, sign in (("case-7", -1), ("case-9", 1)):  # left, right
        content = written(tmp_path, name)
        for layer in content["layers"]:
            affine = np.array(layer["affine"])
            place = affine[0, :3] @ np.argwhere(voxels(layer) > 1).mean(axis=0) + affine[0, 3]
            assert sign * place > 10, (name, layer["kind"])
        (surface,) = content["surfaces"]
        vertices = np.frombuffer(gzip.decompress(base64.b64decode(surface["vertices"])), "<i2")
        assert sign * vertices.reshape(-1, 3)[:, 0].mean() > 0
        png = Image.open(io.BytesIO(base64.b64decode(content["radiograph"]["png"])))
        bright = np.argwhere(np.asarray(png) == 255)[:, 1].mean()
        assert sign * (7.5 - bright) > 0  # the patient's right is at the left
