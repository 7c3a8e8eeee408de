"""The model card of an evaluation on real pairs."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xr2mri_jax.evaluation import model_card
from xr2mri_jax.evaluation.real_pairs.measure import CONTROLS
from xr2mri_jax.evaluation.real_pairs.protocol import ALIGNMENTS, BONES, CLOSED, CONVENTION, OPEN
from xr2mri_jax.presentation.model_and_controls import MODEL

_METRICS = ("assd", "dice")
NAMES = (
    "Names: bone, metric (ASSD in mm), protocol, alignment. "
    f"Protocol {OPEN}: {CONVENTION[OPEN]}. Metrics of the protocol {CLOSED} are in the report."
)


def text(content: Mapping[str, Any], evaluated: Mapping[str, Any], identity: str) -> str:
    """The model card, README.md with Hugging Face's YAML head.

    Args:
      content: the content of real_pairs.json.
      evaluated: pairs, model, table and seed of the evaluation.
      identity: identifier of the model's weights.
    """
    model, pairs = evaluated["model"], Path(evaluated["pairs"])
    table = hashlib.sha256(pairs.read_bytes()).hexdigest() if pairs.is_file() else ""
    facts = {
        "name": f"{model['stage']}-{identity[:8]}",
        "stage": model["stage"],
        "step": model.get("step", 0),
        "dataset": pairs.name,
        "dataset_version": f"SHA-256 {table[:16]}" if table else "unknown",
        "splits": {"pairs": content["n"]},
        "train_split": model.get("dataset", "unknown"),
        "split": "pairs",
        "knees": content["verdict"]["origin"],
        "dtype_trained": model.get("dtype_trained", "unknown"),
        "dtype_evaluated": model.get("dtype_evaluated", "unknown"),
        "run": os.fspath(model["workdir"]),
        "earlier_runs": {},
        "sha256": {"weights": identity, "table of the pairs": table},
        "versions": model_card.versions(),
        "config": model.get("sizes", {}),
    }
    return model_card.card(facts, {**content, **_figures(content), "note": NAMES})


def _figures(content: Mapping[str, Any]) -> dict[str, Any]:
    """Estimates of the open protocol by source, in the form of an evaluation of volumes."""
    part = content[OPEN]

    def of(source: str) -> dict[str, Any]:
        return {
            f"{bone}_{metric}_{OPEN}_{alignment}": {
                "mean": part["values"][source][bone][alignment][metric],
                "ci95": part["intervals"][source][bone][alignment][metric],
            }
            for bone in BONES
            for metric in _METRICS
            for alignment in ALIGNMENTS
        }

    return {MODEL: of(MODEL), "controls": {name: of(name) for name in CONTROLS}}
