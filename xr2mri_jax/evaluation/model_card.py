"""The model card of a run: README.md with Hugging Face's YAML head."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

import xr2mri_jax
from xr2mri_jax import files, workdir
from xr2mri_jax.datasets.data_origin import REAL, SIMULATED
from xr2mri_jax.datasets.data_origin import origin as origin_of
from xr2mri_jax.inference.uncertainty.model import identity
from xr2mri_jax.presentation import report
from xr2mri_jax.presentation.model_and_controls import MODEL
from xr2mri_jax.presentation.statement import MEANING
from xr2mri_jax.training import inference_settings
from xr2mri_jax.training.loaded_model import LoadedModel

NAME = "README.md"
TASKS = {
    "generator": ("image-to-3d", "Knee MRI volume from one radiograph"),
    "joint": ("image-to-3d", "Knee MRI volume from one radiograph"),
    "cae": ("feature-extraction", "Hidden variables of a knee radiograph"),
    "siamese_gap": ("image-classification", "Kellgren-Lawrence grade of a knee radiograph"),
}
# Hugging Face's names of metrics; all others keep their name.
TYPES = {"auc": "roc_auc", "ssim3d": "ssim", "sensitivity": "recall"}
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
LIMITS = {
    "every": (
        "For research only. This is not a medical device and must not be used for diagnosis.",
        "The figures apply to the evaluated split. Other devices, positions and populations were "
        "not evaluated.",
    ),
    "image-to-3d": (MEANING,),
    SIMULATED: (
        "The model was evaluated on simulated knees. A radiograph determines more of a phantom "
        "than of a patient, so the figures say nothing about patients.",
    ),
    "unmeasured": (
        "The model was not evaluated with the weights and views of this package, so this card has "
        "no figures.",
    ),
}
ROUNDED = "Measured before the weights were rounded to float16."


def of_run(
    folder: str | os.PathLike[str],
    model: LoadedModel,
    builder: Any,
    origin: str,
    metrics: Mapping[str, Any] | None,
    split: str = "test",
) -> str:
    """The model card of a run's checkpoint as text.

    Args:
      folder: the run's workdir.
      model: the model loaded from it.
      builder: builder of the evaluation dataset.
      origin: origin of the evaluated knees: "real", "simulated" or "unknown".
      metrics: the content of metrics.json for this checkpoint; None: not evaluated.
      split: the evaluated split.
    """
    facts = _facts(folder, model, builder, origin, split)
    return card(facts, metrics)


def weights_sha256(model: LoadedModel) -> str:
    """SHA-256 of a model's weights as a package stores them, rounded to float16."""
    with np.errstate(over="ignore"):
        tree = jax.tree.map(
            lambda x: np.asarray(x).astype(np.float16), (model.params, model.model_state)
        )
    return identity(tree).hex()


def of_shipped(
    folder: str | os.PathLike[str], model: LoadedModel, builder: Any, views: bool = False
) -> str:
    """The card of a packaged model, with the figures in WORKDIR/evaluation.

    The card has no figures unless that folder has an evaluation of the packaged model.

    Args:
      folder: the run's workdir.
      model: the run's model with the packaged weights.
      builder: builder of the evaluation dataset.
      views: whether the packaged model averages over views of a radiograph.
    """
    path = Path(folder) / "evaluation" / "metrics.json"
    metrics = files.read_json(path) if path.is_file() else None
    about = {} if metrics is None else metrics["evaluated"]
    data = model.config["data"]
    same = (
        about.get("dataset") == data["dataset"]
        and about.get("weights_sha256") == weights_sha256(model)
        and about.get("views", False) == views
        and "linear_probe" not in about
    )
    if metrics is None or not same:
        split = data["eval_split"]
        knees, doubts = origin_of(data["dataset"], builder, split)
        for doubt in doubts:
            logging.warning(doubt)
        return of_run(folder, model, builder, knees, None, split)
    noted = {**metrics, "note": ROUNDED}
    return of_run(folder, model, builder, about["knees"], noted, about["split"])


def card(facts: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    """The card as text.

    Args:
      facts: name, stage, step, dataset, dataset_version, splits, split, knees, dtype_trained,
        dtype_evaluated, run, earlier_runs, sha256, versions, config.
      metrics: as for `of_run`; note, if present, is a paragraph about the metrics.
    """
    import yaml

    head = yaml.safe_dump(
        _head(facts, metrics), sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    return f"---\n{head}---\n\n{_body(facts, metrics)}"


def _facts(
    folder: str | os.PathLike[str], model: LoadedModel, builder: Any, origin: str, split: str
) -> dict[str, Any]:
    run = workdir.read_run(folder)
    data = model.config["data"]
    hashed = {
        "config": Path(folder) / workdir.CONFIG,
        "checkpoint_manifest": workdir.step_folder(folder, model.step) / workdir.MANIFEST,
    }
    return {
        "name": f"{model.stage.name}-{run['run'][:8] or 'unnamed'}",
        "stage": model.stage.name,
        "step": int(model.step),
        "dataset": data["dataset"],
        "dataset_version": _version(builder),
        "splits": _splits(builder),
        "train_split": data["train_split"],
        "split": split,
        "knees": origin,
        "dtype_trained": str(model.config.get("dtype", "unknown")),
        "dtype_evaluated": str(inference_settings.dtype_name(model.config)),
        "run": run["run"],
        "earlier_runs": dict(run["earlier"]),
        "sha256": {name: workdir.sha256(p) if p.is_file() else "" for name, p in hashed.items()},
        "versions": versions(),
        "config": json.loads(json.dumps(model.config, default=str)),
    }


def versions() -> dict[str, str]:
    """Versions of this package, Python and the numerical packages."""
    return {
        "xr2mri_jax": xr2mri_jax.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _version(builder: Any) -> str:
    return str(builder.info.version) if hasattr(builder, "info") else "unknown"


def _splits(builder: Any) -> dict[str, int]:
    """Number of cases by split."""
    if hasattr(builder, "info"):
        return {name: int(part.num_examples) for name, part in builder.info.splits.items()}
    return {name: len(part) for name, part in builder.items()}


def _head(facts: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    task, title = _task(facts)
    head: dict[str, Any] = {
        "license": "other",
        "license_name": "that-of-the-training-data",
        "library_name": "xr2mri_jax",
        "pipeline_tag": task,
        "tags": ["jax", "flax", "knee", "radiograph", "mri", "research-only"],
        "datasets": [facts["dataset"]],
    }
    if metrics is not None:
        found = [
            {
                "type": TYPES.get(name, name),
                "name": name,
                "value": one["mean"],
                "args": {"ci95": one["ci95"]},
                "verified": False,
            }
            for name, one in metrics[MODEL].items()
        ]
        head["metrics"] = list(dict.fromkeys(one["type"] for one in found))
        source = {
            "type": facts["dataset"],
            "name": facts["dataset"],
            "split": facts["split"],
            "revision": facts["dataset_version"],
        }
        result = {"task": {"type": task, "name": title}, "dataset": source, "metrics": found}
        head["model-index"] = [{"name": facts["name"], "results": [result]}]
    head["xr2mri_jax"] = {name: value for name, value in facts.items() if name != "config"}
    return head


def _task(facts: Mapping[str, Any]) -> tuple[str, str]:
    return TASKS.get(facts["stage"], ("other", facts["stage"]))


def _body(facts: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    parts = [f"# {facts['name']}", f"{_task(facts)[1]}. **For research only, not for diagnosis.**"]
    if metrics is not None and "verdict" in metrics:
        parts.append(f"**Verdict.** {metrics['verdict']['sentence']}")
    parts += ["## Data", _rows(_data(facts, metrics))]
    if metrics is not None:
        parts += [
            "## Metrics",
            f"Split `{facts['split']}`; mean and 95 % interval (subjects resampled).",
            *([metrics["note"]] if "note" in metrics else []),
            _metrics(metrics),
        ]
    limits = [*LIMITS["every"], *LIMITS.get(_task(facts)[0], ())]
    limits += [*LIMITS.get(facts["knees"], ()), *(LIMITS["unmeasured"] if metrics is None else ())]
    limits += report.doubts({} if metrics is None else metrics.get("evaluated", {}))
    parts += ["## Limits", "\n".join(f"- {line}" for line in limits)]
    parts += ["## Training and versions", _rows(_provenance(facts))]
    text = json.dumps(facts["config"], indent=1, sort_keys=True)
    parts += ["## Config", f"```json\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def _data(facts: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> dict[str, str]:
    sizes = ", ".join(f"{name} {count:,}" for name, count in facts["splits"].items())
    known = facts["knees"] in (REAL, SIMULATED)
    rows = {
        "dataset": f"`{facts['dataset']}`, version {facts['dataset_version']}",
        "knees": facts["knees"] if known else "not recorded",
        "cases by split": sizes,
        "trained on": f"`{facts['train_split']}`",
    }
    if metrics is not None:
        rows["evaluated on"] = (
            f"`{facts['split']}`: {metrics['n']} knees of {metrics['subjects']} subjects"
        )
    return rows


def _provenance(facts: Mapping[str, Any]) -> dict[str, str]:
    earlier = ", ".join(f"`{run}`" for run in facts["earlier_runs"].values())
    return {
        "stage, step": f"{facts['stage']}, {facts['step']}",
        "run": f"`{facts['run'] or 'not recorded'}`",
        "earlier runs": earlier or "none",
        "dtype": f"trained {facts['dtype_trained']}, evaluated {facts['dtype_evaluated']}",
        **{f"SHA-256 of {k}": f"`{v or 'not recorded'}`" for k, v in facts["sha256"].items()},
        "versions": ", ".join(f"{name} {v}" for name, v in facts["versions"].items()),
    }


def _rows(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def _metrics(metrics: Mapping[str, Any]) -> str:
    names = list(metrics[MODEL])
    sources = {MODEL: metrics[MODEL], **metrics.get("controls", {})}
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for source, found in sources.items():
        cells = " | ".join(_cell(found[name]) for name in names)
        lines.append(f"| {source.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)


def _cell(one: Mapping[str, Any]) -> str:
    ends = one["ci95"]
    return f"{one['mean']:.4g}" + (f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else "")
