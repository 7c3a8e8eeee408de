"""The benchmark suite `gpu`: batch sizes until memory is full, what is left out, imports."""

import json
import subprocess
import sys

import pytest

from xr2mri_jax.tools.benchmarks import gpu, gpu_cases, gpu_layers, gpu_throughput, suites
from xr2mri_jax.tools.benchmarks.gpu_budget import Budget

# Not installed on the machine with the GPU.
MISSING = ("grain", "tensorflow_datasets", "torch", "ml_collections", "tensorboardX", "pydicom")


def test_without_time_every_row_is_named_as_left_out(tmp_path, monkeypatch, capsys):
    find_spec = gpu.importlib.util.find_spec
    monkeypatch.setattr(
        gpu.importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    monkeypatch.setattr(gpu, "Budget", lambda seconds: Budget(0.0))
    output = tmp_path / "gpu.json"
    suites.run("gpu", output, repeats=1, volume_shape=(8, 8, 8), seconds=1)
    report = json.loads(output.read_text())
    assert report["tiny"] and report["backend"] == "cpu"
    assert all(found["flops_per_s"] > 0 for found in report["peak"].values())
    assert {row["stopped"] for row in report["throughput"]} == {"time"}
    assert len(report["throughput"]) == len(report["torch_rows"]) == 12
    assert {row["stopped"] for row in report["torch_rows"]} == {gpu.NO_TORCH}
    assert len(report["left_out"]) == len(set(report["left_out"])) == 12 + 2 + 3
    table = output.with_suffix(".md").read_text()
    assert table in capsys.readouterr().out
    assert "Tiny sizes" in table and "left out, no time: quality, bfloat16: 6 steps" in table
    assert "| PyTorch, generator, training, bfloat16 | not measured: no torch | | | |" in table


def test_batch_sizes_double_until_memory_is_full(monkeypatch):
    measured = gpu_throughput._measured

    def full(case, mode, size, compiled, least):
        if size == 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes")
        return measured(case, mode, size, compiled, 0.01)

    monkeypatch.setattr(gpu_throughput, "_measured", full)
    case = gpu_cases.make("generator", "float32", gpu_cases.TINY)
    row = gpu_throughput.rows(case, "inference", "float32", gpu_cases.TINY, Budget(60))
    assert row["stopped"] == "out of memory at batch 2" and list(row["by_batch"]) == [1]
    one = row["by_batch"][1]
    assert one["examples_per_s"] == pytest.approx(1e3 / one["ms"]) and one["flops"] > 1e4
    assert gpu_cases._doubled(16, 512) == (16, 32, 64, 128, 256, 512)


def test_layers_are_those_of_the_network_with_the_work_of_their_shapes():
    case = gpu_cases.make("generator", "float32", gpu_cases.TINY)
    found = {name: (module, shapes) for name, module, shapes in gpu_layers._layers(case, 2)}
    assert {"lift0/plane/conv", "up0", "level0_block0/down", "output"} < set(found)
    module, (shape,) = found["output"]
    assert shape.shape == (2, 8, 8, 4 * 3)
    *_, flops = gpu_layers._compiled(module, [shape], gpu_cases.TINY.options)
    product = 2 * (2 * 8 * 8) * 12 * 32
    # Forward pass and both gradients.
    assert 3 * product <= flops < 4 * product


def test_another_error_than_full_memory_is_not_hidden(monkeypatch):
    monkeypatch.setattr(gpu_throughput, "_compiled", lambda *_: 1 / 0)
    case = gpu_cases.make("cae", "float32", gpu_cases.TINY)
    with pytest.raises(ZeroDivisionError):
        gpu_throughput.rows(case, "training", "float32", gpu_cases.TINY, Budget(60))


def test_the_suite_needs_no_datasets_and_no_torch():
    blocked = f"import sys; sys.modules.update(dict.fromkeys({MISSING!r}))"
    modules = "xr2mri_jax.tools.benchmarks.gpu, xr2mri_jax.commands.benchmark"
    subprocess.run([sys.executable, "-c", f"{blocked}; import {modules}"], check=True)
