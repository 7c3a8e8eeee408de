"""The suites that measure how long users wait: a command is watched, first calls stand apart."""

import json

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.tools.benchmarks import cube, process_usage, suites
from xr2mri_jax.tools.benchmarks.process_usage import ProcessUsage


def test_a_command_is_watched_to_its_end(tmp_path):
    seen = []
    took = process_usage.run_command(
        ["sample", f"--output={tmp_path / 'k.png'}"], tmp_path / "c", seen.append
    )
    assert (tmp_path / "k.png").is_file()
    assert 0 < seen[-1] <= took.seconds and seen == sorted(seen)
    assert took.processor_s > 0.01 and took.peak_bytes > 2**24
    with pytest.raises(RuntimeError, match="xr2mri sample ended with 2: error: --output"):
        process_usage.run_command(["sample", "--output=k.gif"], tmp_path / "c")


@pytest.fixture
def calls(monkeypatch):
    """The words of commands, each of which takes a second more than the one before."""
    made = []

    def command(words, cache, look=None):
        made.append((list(words), cache))
        flags = dict(word[2:].split("=", 1) for word in words[1:])
        if flags["xray"].endswith("/in"):
            suites.Path(flags["output"]).mkdir()
            for name in ("a.nii.gz", "b.nii.gz", "a_uncertainty.nii.gz"):
                (suites.Path(flags["output"]) / name).touch()
        return ProcessUsage(float(len(made)), 2.0 * len(made), 1000 * len(made))

    def networks(size, repeats):
        assert repeats == 7
        seconds = {"seconds": [0.1, 0.2, 0.3], "median_s": 0.2}
        return {"voxels": [size] * 3, "parameters": 1234, **seconds}

    monkeypatch.setattr(process_usage, "run_command", command)
    monkeypatch.setattr(cube, "run", networks)
    return made


def run(suite, tmp_path, **options):
    suites.run(
        suite, tmp_path / "r.json", batch_size=1, volume_shape=(8, 16, 16), **options
    )  # fmt: skip
    return json.loads((tmp_path / "r.json").read_text())


def test_the_first_call_stands_apart_from_the_further_ones(calls, tmp_path, capsys):
    report = run("latency", tmp_path, repeats=3)
    assert [words[0] for words, _ in calls] == ["predict"] * 4 + ["grade"] * 4
    assert len({cache for _, cache in calls}) == 2
    predict, grade = report["predict"], report["grade"]
    assert (predict["first_s"], predict["seconds"], predict["median_s"]) == (1, [2, 3, 4], 3)
    assert (grade["first_s"], grade["processor_s"], grade["peak_bytes"]) == (5, 14, 8000)
    said = capsys.readouterr().out
    assert "predict: first 1.0 s, then 3.0 s (2.0 to 4.0;" in said
    assert "networks alone, 1,234 parameters, 16 voxels each way: 0.200 s (0.100 to 0.300)" in said


def test_the_networks_alone_are_timed():
    small = {"channels": (4, 4), "blocks": 0}
    decoder = {"channels": (4, 4), "widths": (4, 4), "blocks": (0, 0)}
    found = cube.run(16, 3, {"cae": small, "generator": decoder})
    assert found["voxels"] == [16, 16, 16] and len(found["seconds"]) == 3
    assert 1000 < found["parameters"] < 100_000
    assert 0 < found["minimum_s"] <= found["median_s"] < 1


def test_a_folder_is_predicted_after_a_call_that_is_not_counted(calls, tmp_path, capsys):
    (tmp_path / "real").mkdir()
    for name in "abc":
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "real" / f"{name}.png")
    report = run("folder", tmp_path, repeats=2, images=2, real=tmp_path / "real")
    assert len(calls) == 3 and report["seconds"] == [2, 3]
    assert (report["images"], report["volumes"], report["images_per_s"]) == (2, 2, 2 / 2.5)
    assert "2 real radiographs to 2 volumes: 2.5 s, 0.8 per second" in capsys.readouterr().out
    with pytest.raises(InputError, match="found no files"):
        run("folder", tmp_path, repeats=2, real=tmp_path / "none")
