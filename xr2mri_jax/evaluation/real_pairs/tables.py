"""The tables of the report of real pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

from xr2mri_jax.evaluation.real_pairs.measure import CONTROLS
from xr2mri_jax.evaluation.real_pairs.protocol import ALIGNMENTS, BONES, CLOSED, PROTOCOLS
from xr2mri_jax.evaluation.real_pairs.summary import SSR_KD
from xr2mri_jax.presentation.model_and_controls import LABELS, MODEL
from xr2mri_jax.presentation.page_elements import Cell, Row, Table

SHOWN = ("assd", "dice", "hd95", "nsd")
_NAMES = {"dice": "Dice", "assd": "ASSD (mm)", "hd95": "HD95 (mm)", "hd": "HD (mm)",
          "nsd": "NSD", "dsc": "DSC"}  # fmt: skip
_UNITS = {"cm2": "cm²"}
_SHARES = ("dice", "nsd", "dsc")


def bones(content: Mapping[str, Any], protocol: str, metric: str) -> Table:
    """One metric of every source, by bone and alignment, with intervals."""
    values, ends = content[protocol]["values"], content[protocol]["intervals"]
    rows = [
        _row(
            LABELS[source],
            [
                _cell(values[source][bone][a][metric], ends[source][bone][a][metric], form(metric))
                for bone in BONES
                for a in ALIGNMENTS
            ],
            source == MODEL,
        )
        for source in (MODEL, *CONTROLS)
    ]
    heads: list[Cell | str] = [
        f"{protocol} {_NAMES[metric]}",
        *(Cell(bone, a) for bone in BONES for a in ALIGNMENTS),
    ]
    caption = f"{protocol.capitalize()}: {content['convention'][metric]}; mean, 95 % interval."
    return Table(caption, heads, rows)


def improvements(content: Mapping[str, Any], protocol: str) -> Table:
    """The paired differences of ASSD between the model and its controls."""
    rows = [
        _row(
            LABELS[control],
            [
                _cell(gains[bone][a]["assd"]["mean"], gains[bone][a]["assd"]["ci95"], "+.2f")
                for bone in BONES
                for a in ALIGNMENTS
            ],
        )
        for control, gains in content[protocol]["improvement"].items()
    ]
    heads: list[Cell | str] = [
        f"{protocol} ASSD gain (mm) over",
        *(Cell(bone, a) for bone in BONES for a in ALIGNMENTS),
    ]
    caption = f"{protocol.capitalize()}: paired differences, positive where the model is better."
    return Table(caption, heads, rows)


def joint(content: Mapping[str, Any]) -> Table:
    """Predicted against true joint space and cartilage."""
    rows = [
        _joint_row(f"{name} joint space (mm)", space, "_mm")
        for name, space in content["joint_space"].items()
    ]
    for plate, quantities in content["cartilage"].items():
        for quantity, seen in quantities.items():
            if seen is not None:
                name, _, unit = quantity.rpartition("_")
                unit = _UNITS.get(unit, unit)
                rows.append(_joint_row(f"{plate.replace('_', ' ')} {name} ({unit})", seen, ""))
    heads = ("quantity", "n", "true mean ± SD", "r", "mean error", "bias", "error of others' mean")
    return Table("Predicted against true joint space and cartilage.", heads, rows)


def _joint_row(label: str, seen: Mapping[str, Any], unit: str) -> Row:
    ends = seen["intervals"]
    other = seen[f"mae_of_mean{unit}"]
    return _row(
        label,
        [
            f"{seen['n']}",
            f"{seen['true_mean']:.2f} ± {seen['true_sd']:.2f}",
            "not defined" if seen["r"] is None else _cell(seen["r"], ends["r"], ".2f"),
            _cell(seen[f"mae{unit}"], ends["mae"], ".2f"),
            _cell(seen[f"bias{unit}"], ends["bias"], "+.2f"),
            "" if other is None else f"{other:.2f}",
        ],
    )


def individual_shape(content: Mapping[str, Any]) -> Table:
    """Correlation of predicted and true departures from the mean bone."""
    rows = []
    for bone, seen in content["individual_shape"].items():
        known = seen["r"] is not None
        cells = [
            _cell(seen["r"], seen["ci95"], "+.2f") if known else "not defined",
            f"{seen['chance95']:+.2f}" if known else "",
            f"{seen['true_mm']:.2f}",
            f"{seen['predicted_mm']:.2f}",
        ]
        rows.append(_row(bone, cells))
    heads = ("bone", "r", "by chance below", "true departures (mm)", "predicted departures (mm)")
    stated = content["convention"]["individual_shape"]
    return Table(f"{stated[0].upper()}{stated[1:]}. Departures: root mean square.", heads, rows)


def retrieval(content: Mapping[str, Any]) -> Table:
    """Rank of the own knee by protocol and alignment."""
    rows = [
        _row(
            f"{protocol}, {name}",
            [
                _cell(seen["top1"], seen["intervals"]["top1"], ".2f"),
                f"{seen['chance']['top1']:.2f}",
                _cell(seen["mean_rank"], seen["intervals"]["mean_rank"], ".1f"),
                f"{seen['chance']['mean_rank']:.1f}",
                _cell(seen["relative"]["top1"], None, ".2f"),
                _cell(
                    seen["relative"]["mean_rank"], seen["relative"]["intervals"]["mean_rank"], ".1f"
                ),
                f"{seen['assd_own']:.2f}",
                f"{seen['assd_others']:.2f}",
            ],
        )
        for protocol in PROTOCOLS
        for name, seen in content["retrieval"][protocol].items()
    ]
    heads = ("surfaces", "own knee first", "by chance", "mean rank", "by chance",
             "relative: own knee first", "mean rank", "ASSD to the own (mm)",
             "to the others (mm)")  # fmt: skip
    caption = (
        f"Rank of the own knee among all {content['n']} true knees. Relative ranks use distances "
        "minus the mean distance of all predictions to the true knee."
    )
    return Table(caption, heads, rows)


def ssr_kd(content: Mapping[str, Any]) -> Table:
    """DSC, HD and ASSD per bone."""
    rows = [
        _row(
            LABELS[source],
            [
                f"{bone}",
                *(_cell(of_source[bone][a][m], None, form(m)) for a in ALIGNMENTS for m in SSR_KD),
            ],
            source == MODEL,
        )
        for source, of_source in content["ssr_kd"].items()
        for bone in BONES
    ]
    heads: list[Cell | str] = [
        "shape",
        "bone",
        *(Cell(f"{CLOSED} {_NAMES[m]}", a) for a in ALIGNMENTS for m in SSR_KD),
    ]
    return Table(f"{content['convention']['ssr_kd']}.", heads, rows)


def form(metric: str) -> str:
    """The number format of a metric."""
    return ".3f" if metric in _SHARES else ".2f"


def interval(ends: Sequence[float] | None, form: str) -> str:
    """An interval in parentheses; "" for None."""
    return "" if ends is None else f"({ends[0]:{form}} to {ends[1]:{form}})"


def _cell(value: float, ends: Sequence[float] | None, form: str) -> Cell:
    return Cell(f"{value:{form}}", interval(ends, form))


def _row(label: str, cells: Sequence[Cell | str], model: bool = False) -> Row:
    return Row(label, cells, model)
