"""Models from strangers, graders and generators alike: what is damaged is refused in one line."""

import json
import random

import made_generator
import made_grader
import numpy as np
import pytest
from strange_models import CONTENTS, LOADERS, arrays, packed, refused, sealed_weights

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import model_arrays, model_description, model_files
from xr2mri_jax.inference.knee_generator import description as of_generator
from xr2mri_jax.inference.knee_generator import file_format as of_generators
from xr2mri_jax.inference.knee_generator import load as generators
from xr2mri_jax.inference.knee_grader import description as of_grader
from xr2mri_jax.inference.knee_grader import file_format as of_graders
from xr2mri_jax.inference.knee_grader import load as graders

KINDS = {"grader": of_grader.KIND, "generator": of_generator.KIND}
SHIPPED = {"grader": graders.SHIPPED, "generator": generators.SHIPPED}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders by kind of model."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in LOADERS}
    of_graders.write(folders["grader"], made_grader.grader())
    made_generator.write(folders["generator"], made_generator.model())
    return folders


@pytest.fixture(params=list(LOADERS))
def kind(request):
    return request.param


@pytest.fixture
def folder(made, kind, tmp_path):
    for name in ("model.json", "weights.npz"):
        (tmp_path / name).write_bytes((made[kind] / name).read_bytes())
    return tmp_path


def test_every_bit_flip_with_a_meaning_is_refused(folder, kind):
    path = folder / "model.json"
    text, rng, accepted = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        changed = bytearray(text)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed))
        try:
            model_description.read(path, KINDS[kind])
        except InputError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            continue
        accepted += 1  # white space alone
        assert json.loads(changed) == json.loads(text)
    assert accepted < 100


def test_every_bit_flip_of_the_weights_is_refused(folder, kind):
    path = folder / "weights.npz"
    content, rng = path.read_bytes(), random.Random(0)
    for _ in range(20):
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed))
        assert "weights.npz: its SHA-256" in refused(folder, kind)


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
def test_a_description_that_is_no_object_is_refused(folder, kind, content):
    (folder / "model.json").write_bytes(content)
    assert "model.json" in refused(folder, kind)


@pytest.mark.parametrize("damage", CONTENTS)
def test_weights_that_no_model_has_are_refused(folder, kind, damage):
    sealed_weights(folder, CONTENTS[damage](folder))
    assert "weights.npz" in refused(folder, kind)
    assert not (folder / "run").exists()


def test_each_missing_array_and_another_one_are_named(folder, kind):
    stored = arrays(folder)
    for name in stored:
        sealed_weights(folder, packed({k: v for k, v in stored.items() if k != name}))
        assert f"the array {name!r} is missing" in refused(folder, kind)
    sealed_weights(folder, packed({**stored, "more": np.zeros(3)}))
    assert "'more' is not known" in refused(folder, kind)


def test_weights_that_are_not_those_described_or_too_many_are_refused(folder, kind, monkeypatch):
    content = (folder / "weights.npz").read_bytes()
    (folder / "weights.npz").write_bytes(content[:-1])
    assert "SHA-256" in refused(folder, kind)
    monkeypatch.setattr(model_files, "LARGEST", 1000)
    assert "expected at most 1000" in refused(folder, kind)
    (folder / "weights.npz").unlink()
    assert "cannot be read" in refused(folder, kind)


def test_arrays_by_columns_come_back(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3))
    found = model_arrays.read(tmp_path, packed({"a": array}), {"a": ((2, 3), ("float16",))})
    np.testing.assert_array_equal(found["a"], array)


def test_a_missing_and_an_unknown_key_are_named(folder, kind):
    content = json.loads((folder / "model.json").read_text())
    for key in content:
        rest = {k: v for k, v in content.items() if k != key}
        (folder / "model.json").write_text(json.dumps(model_description.sealed(rest)))
        if key != model_description.SEAL:
            assert f"{key!r}: is missing" in refused(folder, kind) or key == "form"
    (folder / "model.json").write_text(json.dumps(model_description.sealed({**content, "x": 1})))
    assert "'x': is not known" in refused(folder, kind)


def test_a_long_description_is_not_read(folder, kind):
    with (folder / "model.json").open("ab") as file:
        file.truncate(1 << 34)
    assert "expected at most" in refused(folder, kind)


def test_the_shipped_models_are_under_their_seal(kind):
    path = SHIPPED[kind] / model_files.DESCRIPTION
    shipped = model_description.read(path, KINDS[kind])
    assert shipped["form"] == KINDS[kind].form
    assert shipped == model_description.sealed(shipped)


@pytest.mark.parametrize(
    ("read", "folder"),
    [
        (of_graders.read, graders.SHIPPED),
        (of_graders.read, graders.SHIPPED_GRADES),
        (of_generators.read, generators.SHIPPED),
    ],
)
def test_the_shipped_weights_have_the_shapes_of_their_networks(read, folder):
    """Loaded by the package they are not compared: they are here."""
    read(folder)


def test_the_packages_own_files_must_be_those_that_were_sealed(folder, kind):
    path = folder / "weights.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="SHA-256"):
        {"grader": of_graders, "generator": of_generators}[kind].read(folder, own=True)
