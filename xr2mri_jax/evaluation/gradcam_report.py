"""Writes Grad-CAM results of a split: average maps, single knees, the random-weights check."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from xr2mri_jax import datasets, files, output_paths
from xr2mri_jax.evaluation import gradcam
from xr2mri_jax.evaluation.gradcam import GradedMaps
from xr2mri_jax.models.gradcam import GradCam
from xr2mri_jax.presentation.heat_picture import combined, overlaid, scaled, strip
from xr2mri_jax.training.loaded_model import load_best

NUMBERS = "gradcam.json"
_PICTURES = ("average_kl[0-9].png", "knees_kl[0-9].png")


def write(
    workdir: str | os.PathLike[str],
    split: str,
    output: str | os.PathLike[str],
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Writes average_klG.png and knees_klG.png for each grade, and gradcam.json.

    Each row of a picture shows the radiograph, then the radiograph with the combined map of all
    blocks, then with the map of each block from first to last. All knees are shown as right knees,
    with the lateral side at the left.

    Args:
      workdir: run of siamese_gap; uses the same checkpoint as launch/evaluate.py.
      split: the split to use.
      output: folder for the files.
      data_dir: where the dataset is prepared; None: where the run read it.

    Returns:
      The content of gradcam.json.

    Raises:
      InputError: the run, its network, the dataset or the split cannot be used, or the folder
        is not writable.
    """
    folder = Path(output)
    output_paths.require_writable(folder, "--output")
    model = load_best(workdir)
    network = model.config["model"].get("classifier", {"kind": model.stage.name})
    maker = GradCam(network)
    data = model.config["data"]
    builder = datasets.load_builder(data["dataset"], data_dir or data["data_dir"])
    params, state = jax.device_put((model.params, model.model_state))
    found = gradcam.average_maps(maker, params, state, builder, data, split)
    compared = np.concatenate(list(found.examples.values()))
    report = {
        "workdir": os.fspath(workdir),
        "step": model.step,
        "split": split,
        "knees": {f"kl{grade}": count for grade, count in found.knees.items()},
        "lateral_share": {f"kl{grade}": s for grade, s in found.lateral_share.items()},
        "randomised": gradcam.randomised(network, params, state, compared),
    }
    with files.replaced_folder(folder, _PICTURES) as new:
        for name, picture in pictures(found, maker, params, state).items():
            with files.atomic_path(new / f"{name}.png") as partial:
                Image.fromarray(picture).save(partial, format="PNG")
        files.write_json(new / NUMBERS, report)
    return report


def pictures(found: GradedMaps, maker: GradCam, params: Any, state: Any) -> dict[str, np.ndarray]:
    """The pictures u8[h, w, 3] by name."""
    drawn = {}
    for grade, xrays in found.examples.items():
        drawn[f"average_kl{grade}"] = row(found.xray[grade], found.average[grade])
        maps = maker(params, state, xrays)
        rows = [row(xray[..., 0], maps[:, i]) for i, xray in enumerate(xrays)]
        drawn[f"knees_kl{grade}"] = np.concatenate(rows)
    return drawn


def row(grey: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """A radiograph f32[h, w] alone, with the combined maps f32[levels, h, w], and with each map."""
    heats = [np.zeros_like(grey), combined(levels), *(scaled(level) for level in levels)]
    return strip([overlaid(grey, heat) for heat in heats])


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [", ".join(f"{count} knees of {grade}" for grade, count in report["knees"].items())]
    for grade, shares in report["lateral_share"].items():
        values = " ".join("-" if share is None else f"{share:.2f}" for share in shares)
        lines.append(f"lateral share of the maps of {grade}, block 1 to {len(shares)}: {values}")
    lines.append("rank correlation and SSIM with the maps of the trained weights, by block:")
    for entry in report["randomised"]:
        name = " + ".join(entry["randomised"]) or "nothing randomised"
        values = "  ".join(
            "-" if rank is None else f"{rank:.2f} {ssim:.2f}"
            for rank, ssim in zip(entry["rank_correlation"], entry["ssim"], strict=True)
        )
        lines.append(f"{name:<44} {values}")
    return "\n".join(lines)
