"""Suite `gpu`: throughput, share of the peak and quality on one accelerator, within a time budget.

Without an accelerator everything runs in tiny sizes on the CPU, and the report says so: its numbers
then only show that the suite works.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any

import jax

from xr2mri_jax.tools.benchmarks import (
    gpu_cases,
    gpu_layers,
    gpu_quality,
    gpu_throughput,
    timing,
)
from xr2mri_jax.tools.benchmarks.gpu_budget import Budget

# Shares of the time.
_WEIGHTS = {"torch": 1.5, "training": 1.5, "inference": 0.7, "quality": 2.0, "layers": 1.0}
NO_TORCH = "not measured: no torch"
NO_TWIN = "not measured: no PyTorch twin of this network"


def run(seconds: float = 540.0, tiny: bool = False) -> dict[str, Any]:
    """Measures on the first device of JAX.

    PyTorch comes first; for JAX, training in bfloat16, quality, layers, inference, then float32.
    Each row gets a share of the remaining time.

    Args:
      seconds: time for everything, including compilation; rows without time are listed. A single
        compilation in progress may exceed it.
      tiny: tiny sizes; without an accelerator always.

    Returns:
      JSON-able: "machine", "device", "tiny", "torch", "peak" by dtype, "throughput", "torch_rows",
      "layers", "quality", "left_out" (names of rows without time), "seconds".
    """
    budget = Budget(seconds)
    tiny = tiny or jax.default_backend() == "cpu"
    sizes = gpu_cases.TINY if tiny else gpu_cases.FULL
    has_torch = importlib.util.find_spec("torch") is not None
    machine = timing.machine()
    report: dict[str, Any] = {
        "suite": "gpu",
        "machine": machine,
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "tiny": tiny,
        "torch": machine["versions"]["torch"] if has_torch else NO_TORCH,
        "peak": {
            dtype: gpu_layers.peak(dtype, 128 if tiny else 8192) for dtype in gpu_cases.DTYPES
        },
        "throughput": [],
        "torch_rows": [],
        "layers": [],
        "quality": {},
    }
    jobs = _jobs(report, sizes)
    for place, (weight, job) in enumerate(jobs):
        job(budget.share(weight / sum(following for following, _ in jobs[place:])))
    report["left_out"] = budget.left_out
    report["seconds"] = seconds - budget.left()
    return report


def _jobs(report: dict[str, Any], sizes: gpu_cases.Sizes) -> list[tuple[float, Any]]:
    """(weight, function of a budget that adds to the report), the most important first.

    Rows of PyTorch that cannot be measured are added to the report at once.
    """

    def throughput(name: str, mode: str, dtype: str) -> Any:
        def job(budget: Budget) -> None:
            case = gpu_cases.make(name, dtype, sizes)
            row = gpu_throughput.rows(case, mode, dtype, sizes, budget)
            top = report["peak"][dtype]["flops_per_s"]
            for one in row["by_batch"].values():
                one["share_of_peak"] = one["flops"] / (one["ms"] / 1e3) / top
            report["throughput"].append(row)

        return job

    def beside(name: str, mode: str, dtype: str) -> Any:
        def job(budget: Budget) -> None:
            from xr2mri_jax.tools.benchmarks import gpu_torch

            report["torch_rows"].append(gpu_torch.rows(name, mode, dtype, sizes, budget))

        return job

    def layers(name: str, dtype: str) -> Any:
        def job(budget: Budget) -> None:
            case, top = gpu_cases.make(name, dtype, sizes), report["peak"][dtype]
            report["layers"] += gpu_layers.rows(case, dtype, sizes, top["flops_per_s"], budget)

        return job

    def quality(budget: Budget) -> None:
        steps, batch_size = (6, 2) if report["tiny"] else (300, 16)
        report["quality"] = gpu_quality.run(sizes, steps, batch_size, budget)

    training, inference = gpu_throughput.MODES
    jobs: list[tuple[float, Any]] = []
    modes = [(mode, dtype) for dtype in gpu_cases.DTYPES for mode in (training, inference)]
    # PyTorch first: it releases its memory, which JAX does not.
    for mode, dtype in modes:
        for name in gpu_cases.NAMES:
            missing = _missing(report["torch"], name)
            if missing is None:
                jobs.append((_WEIGHTS["torch"], beside(name, mode, dtype)))
            else:
                row = {"network": name, "mode": mode, "dtype": dtype, "by_batch": {}}
                report["torch_rows"].append({**row, "stopped": missing})
    for mode, dtype in modes:
        jobs += [(_WEIGHTS[mode], throughput(name, mode, dtype)) for name in gpu_cases.NAMES]
        if (mode, dtype) == modes[0]:
            jobs.append((_WEIGHTS["quality"], quality))
            jobs += [(_WEIGHTS["layers"], layers(name, dtype)) for name in gpu_cases.NAMES]
    return jobs


def _missing(torch: str, name: str) -> str | None:
    """The reason why PyTorch cannot be measured for a network, or None."""
    if torch == NO_TORCH:
        return NO_TORCH
    from xr2mri_jax.tools.benchmarks import gpu_torch

    if name not in gpu_torch.TWINS:
        return NO_TWIN
    if jax.default_backend() != "cpu" and gpu_torch.device().type == "cpu":
        return "not measured: torch sees no GPU"
    return None


def table(report: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    versions = report["machine"]["versions"]
    where = f"{report['device']} ({report['backend']}), jax {versions['jax']}"
    lines = [f"# Suite gpu: {where}", "", f"PyTorch: {report['torch']}. {report['seconds']:.0f} s."]
    if report["tiny"]:
        lines.append("Tiny sizes: these figures show only that the suite works.")
    for dtype, found in report["peak"].items():
        lines.append(f"Measured peak, {dtype}: {found['flops_per_s'] / 1e12:.3g} TFLOP/s.")
    lines += ["", "| | batch | examples/s | ms | share of peak |", "|---|---|---|---|---|"]
    for kind in ("throughput", "torch_rows"):
        for row in report[kind]:
            lines += _throughput_lines(row, "JAX" if kind == "throughput" else "PyTorch")
    lines += [
        "",
        "| layer, forward and backward | input | ms | share of peak |",
        "|---|---|---|---|",
    ]
    for row in report["layers"]:
        name = f"{row['network']}/{row['layer']}, {row['dtype']}"
        share = f"{100 * row['share_of_peak']:.2g} %"
        lines.append(f"| {name} | {row['input']} | {row['ms']:.3g} | {share} |")
    lines += ["", *_quality_lines(report["quality"]), ""]
    lines += [f"- left out, no time: {name}" for name in report["left_out"]]
    return "\n".join(lines)


def _throughput_lines(row: Mapping[str, Any], framework: str) -> list[str]:
    name = f"{framework}, {row['network']}, {row['mode']}, {row['dtype']}"
    lines = []
    for size, one in row["by_batch"].items():
        share = f"{100 * one['share_of_peak']:.2g} %" if "share_of_peak" in one else "-"
        cells = f"{size} | {one['examples_per_s']:.4g} | {one['ms']:.4g} | {share}"
        lines.append(f"| {name} | {cells} |")
    return [*lines, f"| {name} | {row['stopped']} | | | |"]


def _quality_lines(quality: Mapping[str, Any]) -> list[str]:
    lines = [f"Generator trained for {quality['steps']} steps of {quality['batch_size']}:"]
    for dtype, found in quality["by_dtype"].items():
        lines.append(
            f"- {dtype}: training loss {found['training_loss']:.5f}, "
            f"held out {found['held_out_loss']:.5f}"
        )
    if "held_out_ratio" in quality:
        lines.append(f"- held out, bfloat16 / float32: {quality['held_out_ratio']:.4f}")
    return lines
