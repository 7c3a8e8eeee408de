"""Models from strangers: the damage that is done to the two files, and how it is refused."""

import hashlib
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import model_description
from xr2mri_jax.inference.knee_generator.load import load_generator
from xr2mri_jax.inference.knee_grader.load import load_grader

LOADERS = {"grader": load_grader, "generator": load_generator}


def refused(folder, kind):
    """The line with which a model of the folder is refused."""
    with pytest.raises(InputError) as caught:
        LOADERS[kind](folder)
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
    content = model_description.sealed(content) if seal else content
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
