"""Graders from strangers: each broken or hostile file is refused in one line that names it."""

import copy
import hashlib
import io
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import made_grader
import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.knee_grader import description, form, load, weights

SCRIPT = Path(__file__).parents[2] / "launch" / "grade.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grader")
    form.write(folder, made_grader.grader())
    return folder


@pytest.fixture
def folder(made, tmp_path):
    for name in ("model.json", "weights.npz"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    return tmp_path


def refused(folder):
    with pytest.raises(InputError) as caught:
        load.load_grader(folder)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500 and str(folder) in message
    return message


def described(folder, key, value, seal=True):
    """Changes an entry such as calibration.temperature, under a right or the old seal."""
    content = json.loads((folder / "model.json").read_text())
    place = content
    *parents, last = key.split(".")
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    place[int(last) if isinstance(place, list) else last] = value
    content = description.sealed(content) if seal else content
    (folder / "model.json").write_text(json.dumps(content))


def sealed_weights(folder, content):
    (folder / "weights.npz").write_bytes(content)
    described(folder, "weights_sha256", hashlib.sha256(content).hexdigest())


def arrays(folder):
    with np.load(folder / "weights.npz") as stored:
        return {name: stored[name] for name in stored.files}


def packed(stored, **options):
    stream = io.BytesIO()
    np.savez_compressed(stream, **options, **stored)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("calibration.temperature", 0.0),
        ("calibration.temperature", float("nan")),
        ("calibration.temperature", -1),
        ("calibration.temperature", "1.5"),
        ("calibration.temperature", True),
        ("calibration.thresholds", []),
        ("calibration.thresholds", {}),
        ("calibration.thresholds.1.probability", 1.5),
        ("calibration.thresholds.1.probability", None),
        ("calibration.thresholds.0", {}),
        ("calibration.reliability", {}),
        ("calibration.reliability.count", []),
        ("calibration.reliability.count", [float("inf"), 1]),
        ("calibration.reliability.frequency", [2.0, 0.1]),
        ("calibration.error_before", -0.1),
        ("calibration.knees", 0),
        ("calibration.subjects", 1.5),
        ("calibration.more", 1),
        ("calibration", None),
        ("features.distance_one", 0),
        ("features.distance_one", float("inf")),
        ("features", []),
        ("grades", [0, 1]),
        ("grades", [2, 0]),
        ("grades", [0, 2, 4]),
        ("grades", "02"),
        ("contrast", {}),
        ("contrast.percentiles", [99, 1]),
        ("contrast.percentiles", [1, float("nan")]),
        ("contrast.clahe", {"clip_limit": 0, "kernel_mm": 16}),
        ("contrast.clahe", 3),
        ("views", 1),
        ("training", []),
        ("training.step", [1]),
        ("network", 3),
        ("network.kind", "other"),
        ("network.channels", [10**9] * 4),
        ("network.channels", [4, 4, 8]),
        ("network.convolutions", [1] * 10**4),
        ("network.image_shape", [32, 0]),
        ("network.image_shape", []),
        ("network.dropout", float("nan")),
        ("network.classes", 3),
        ("network.classes", 0),
        ("network.levels", [9]),
        ("weights_sha256", 3),
        ("form", 1),
        ("form", None),
    ],
)
def test_a_value_that_no_grader_has_is_named(folder, key, value):
    described(folder, key, value)
    assert key.split(".")[0] in refused(folder)


def test_a_missing_and_an_unknown_key_are_named(folder):
    content = json.loads((folder / "model.json").read_text())
    for key in content:
        rest = {k: v for k, v in content.items() if k != key}
        (folder / "model.json").write_text(json.dumps(description.sealed(rest)))
        if key != description.SEAL:
            assert f"{key!r}: is missing" in refused(folder) or key == "form"
    described(folder, "calibration", content["calibration"])
    (folder / "model.json").write_text(json.dumps(description.sealed({**content, "x": 1})))
    assert "'x': is not known" in refused(folder)


def test_every_bit_flip_with_a_meaning_is_refused(folder):
    before, text = form.read(folder), (folder / "model.json").read_bytes()
    rng, accepted = random.Random(0), 0
    for _ in range(300):
        changed = bytearray(text)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        (folder / "model.json").write_bytes(bytes(changed))
        try:
            found = form.read(folder)
        except InputError as error:
            assert "\n" not in str(error)
            continue
        accepted += 1  # white space alone
        assert json.loads(changed) == json.loads(text)
        assert (found.calibration, found.training) == (before.calibration, before.training)
    assert accepted < 100


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"\xff\xfe\x00",
        b"1e999",
    ],
    ids=["empty", "cut", "list", "deep list", "deep object", "no text", "number"],
)
def test_a_description_that_is_no_object_is_refused(folder, content):
    (folder / "model.json").write_bytes(content)
    assert "model.json" in refused(folder)


def a_pickle(folder, name):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(folder / "run"),)

    stored = arrays(folder)
    stored[name] = np.array([Evil()], object)
    return packed(stored, allow_pickle=True)


def changed(folder, name, change):
    stored = arrays(folder)
    stored[name] = change(stored[name])
    return packed(stored)


def with_member(folder, name, content):
    stored = arrays(folder)
    stored.pop(name)
    stream = io.BytesIO(packed(stored))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def header(shape, dtype="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


MEAN = "features/mean"
CONTENTS = {
    "not a zip": lambda f: b"not a zip",
    "empty": lambda f: b"",
    "a pickle": lambda f: pickle.dumps({"a": 1}),
    "a single array": lambda f: header((3,)),
    "cut": lambda f: (f / "weights.npz").read_bytes()[:-300],
    "a pickled array": lambda f: a_pickle(f, MEAN),
    "no array": lambda f: with_member(f, MEAN, b"text"),
    "a deep header": lambda f: with_member(f, MEAN, header((3,))[:10] + b"(" * 5000),
    "without data": lambda f: with_member(f, MEAN, header(arrays(f)[MEAN].shape)),
    "with more data": lambda f: with_member(f, MEAN, header(arrays(f)[MEAN].shape) + bytes(10**6)),
    "a bomb": lambda f: with_member(f, MEAN, header((10**9,)) + bytes(1 << 26)),
    "another shape": lambda f: changed(f, MEAN, lambda a: a[:-1]),
    "another dtype": lambda f: changed(f, MEAN, lambda a: a.astype(np.float64)),
    "not finite": lambda f: changed(f, MEAN, lambda a: a * np.nan),
    "nothing varies": lambda f: changed(f, "features/deviation", lambda a: a * 0),
    "cannot be inverted": lambda f: changed(f, "features/factor", lambda a: a * 0),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_weights_that_no_grader_has_are_refused(folder, kind, monkeypatch):
    sealed_weights(folder, CONTENTS[kind](folder))
    assert "weights.npz" in refused(folder)
    assert not (folder / "run").exists()


def test_each_missing_array_and_another_one_are_named(folder):
    stored = arrays(folder)
    for name in stored:
        sealed_weights(folder, packed({k: v for k, v in stored.items() if k != name}))
        assert f"the array {name!r} is missing" in refused(folder)
    sealed_weights(folder, packed({**stored, "more": np.zeros(3)}))
    assert "'more' is not known" in refused(folder)


def test_weights_that_are_not_those_described_or_too_many_are_refused(folder, monkeypatch):
    content = (folder / "weights.npz").read_bytes()
    (folder / "weights.npz").write_bytes(content[:-1])
    assert "SHA-256" in refused(folder)
    monkeypatch.setattr(form, "LARGEST", 1000)
    assert "more than 1000 bytes" in refused(folder)
    (folder / "weights.npz").unlink()
    assert "cannot be read" in refused(folder)


def test_arrays_by_columns_come_back(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3))
    found = weights.read(tmp_path, packed({"a": array}), {"a": ((2, 3), ("float16",))})
    np.testing.assert_array_equal(found["a"], array)


def test_the_shipped_grader_is_under_its_seal():
    shipped = description.read(load.SHIPPED / form.DESCRIPTION)
    assert shipped["form"] == description.FORM
    assert copy.deepcopy(shipped) == description.sealed(shipped)


def test_the_command_ends_with_one_line_and_code_2(folder):
    described(folder, "calibration.temperature", 0.0)
    xray = folder / "knee.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(xray)
    command = [sys.executable, str(SCRIPT), f"--xray={xray}", f"--output={folder / 'a.csv'}"]
    done = subprocess.run(
        [*command, f"--model={folder}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "calibration.temperature: found 0.0, expected a number in" in done.stderr
    assert not (folder / "a.csv").exists()
