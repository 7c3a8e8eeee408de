"""The benchmark suite `generator`: its report, its flags, and the PyTorch twin's equality.

PyTorch is the extra [bench] and not part of the tests' environment: the twin is compared only
where it is installed.
"""

import importlib.util
import json
import sys
import time
from functools import partial

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.models.generator import make
from xr2mri_jax.tools.benchmarks import generator, operations, suites, timing

SHAPE = (16, 16, 16)
SIZES = {"channels": (3, 4, 3, 2), "widths": (6, 5, 4, 3), "blocks": (1, 2, 0, 1)}


def _without_torch(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )


def test_without_torch_the_report_says_so_and_has_jax(monkeypatch):
    _without_torch(monkeypatch)
    report = generator.run(SHAPE, repeats=2, batch_size=2, overrides=SIZES)
    assert report["torch"] == generator.MISSING
    assert set(report["seconds"]) == {"jax forward", "jax training step"}
    assert all(len(times["seconds"]) == 2 for times in report["seconds"].values())
    assert "ratios" not in report
    assert report["spec"]["volume_shape"] == SHAPE
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["versions"]["jax"]
    json.dumps(report, allow_nan=False)
    table = generator.table(report)
    assert generator.MISSING in table and "jax training step" in table


def test_the_command_writes_its_report(monkeypatch, tmp_path, capsys):
    _without_torch(monkeypatch)
    output = tmp_path / "report.json"
    small = partial(generator.run, overrides=SIZES)
    monkeypatch.setattr(generator, "run", small)
    suites.run("generator", output, repeats=1, batch_size=1, volume_shape=["16", "16", "16"])
    written = json.loads(output.read_text())
    assert written["suite"] == "generator" and written["training_batch_size"] == 1
    assert "jax forward" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite": "speed"}, "--suite: found 'speed'"),
        ({"output": ""}, "--output is missing"),
        ({"output": "b.txt"}, "--output: found b.txt, expected a name ending in .json"),
        ({"repeats": 0}, "--repeats: found 0"),
        ({"batch_size": 0}, "--batch_size: found 0"),
        ({"volume_shape": ["16", "x", "16"]}, "--volume_shape: found 16,x,16"),
        ({"volume_shape": ["16", "16"]}, "--volume_shape: found 16,16"),
        ({"volume_shape": [16, 20, 16]}, "expected multiples of"),
    ],
)
def test_flags_that_cannot_be_used_are_refused(tmp_path, change, message):
    values = {
        "suite": "generator",
        "output": tmp_path / "report.json",
        "repeats": 1,
        "batch_size": 1,
        "volume_shape": SHAPE,
        **change,
    }
    suite, output = values.pop("suite"), values.pop("output")
    with pytest.raises(InputError, match=message):
        suites.run(suite, output, **values)


def test_functions_take_turns():
    order = []
    functions = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    seconds = timing.interleaved(functions, repeats=3, warmup=1)
    assert order == ["a", "b", "a", "b", "a", "b", "a", "b"]
    times = seconds["a"]
    assert times["minimum_s"] == min(times["seconds"])
    assert times["median_s"] == sorted(times["seconds"])[1]
    assert 0 <= times["processor_s"] < 1


def test_functions_in_processes_of_their_own():
    makers = {"short": partial(partial, time.sleep, 0.0), "long": partial(partial, time.sleep, 0.2)}
    seconds = timing.in_processes(makers, repeats=3, warmup=1)
    assert len(seconds["short"]["seconds"]) == 3
    assert seconds["short"]["median_s"] < 0.2 <= seconds["long"]["minimum_s"] < 2
    assert seconds["long"]["processor_s"] < 0.1
    with pytest.raises(RuntimeError, match="'broken' ended"):
        timing.in_processes({"broken": partial(partial, sys.exit, 1)}, repeats=1)


def test_the_two_upsamplings_are_the_same_operation():
    cases = operations._cases(make({"volume_shape": SHAPE, **SIZES}).spec)
    results = []
    for name in ("upsampling by phases", "upsampling by dilation"):
        function, arrays, _ = cases[name]
        results.append(np.asarray(function(*arrays)))
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


def test_the_torch_twin_is_the_same_model():
    pytest.importorskip("torch", reason="torch (extra [bench]) is not installed")
    report = generator.run(SHAPE, repeats=1, batch_size=2, overrides=SIZES)
    assert report["agreement"]["largest output difference"] < 1e-5
    assert report["agreement"]["largest relative gradient difference"] < 1e-3
    assert set(report["ratios"]) == {"forward", "training step"}
    assert "torch training step" in report["seconds"]
    assert any(name.startswith("torch plane") for name in report["operations"]["seconds"])
