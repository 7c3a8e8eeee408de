"""Selects one series among those of a folder, by their size and the knee that they state."""

from collections import Counter
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.dicom_frames import Frame
from xr2mri_jax.io.dicom_stack import ANGLE, at_free_place
from xr2mri_jax.io.series_words import known_description


def one_series(
    frames: list[Frame], folder: Path, doubts: list[str], side: str | None = None
) -> list[Frame]:
    """The frames of the largest series; localizers are left out if there are other frames.

    Args:
      side: the wanted knee, or None. Series that state it are preferred to others, and series that
        state the other one are left out if there are others.

    Raises:
      InputError: two series of the largest size, or a file of another series that lies in or next
        to the stack where a slice of it is missing.
    """
    real = [frame for frame in frames if not frame.localizer]
    if real and len(real) < len(frames):
        doubts.append(f"{len(frames) - len(real)} localizer images are ignored")
        frames = real
    count = Counter(frame.series[0] for frame in frames)
    if len(count) == 1:
        return frames
    stated = _stated_sides(frames)
    candidates, which = _candidates(list(count), stated, side)
    largest = max(candidates, key=lambda key: count[key])
    equal = [key for key in candidates if count[key] == count[largest]]
    chosen = [frame for frame in frames if frame.series[0] == largest]
    rest = [frame for frame in frames if frame.series[0] != largest]
    stray = _stray(chosen, rest)
    about = dict(frame.series for frame in frames)
    listed = ", ".join(
        f"{known_description(about[key])} ({n} images{_said(stated.get(key), side)})"
        for key, n in count.most_common(5)
    )
    if len(equal) > 1 or stray is not None:
        why = "" if stray is None else f"; {stray.label} lies where a slice of the first is missing"
        raise InputError(f"{folder}: {len(count)} series mixed, expected one: {listed}{why}")
    doubts.append(f"{len(count)} series in the folder, the largest{which} is taken: {listed}")
    return chosen


def _stated_sides(frames: list[Frame]) -> dict[str, str]:
    """The side that a series states, by its identifier, if all of its headers agree."""
    found: dict[str, set[str]] = {}
    for frame in frames:
        if frame.side is not None:
            found.setdefault(frame.series[0], set()).add(frame.side)
    return {key: next(iter(sides)) for key, sides in found.items() if len(sides) == 1}


def _candidates(
    series: list[str], stated: dict[str, str], side: str | None
) -> tuple[list[str], str]:
    """The series that may show the wanted knee, and a clause that says why some are left out."""
    wanted = [key for key in series if stated.get(key) == side]
    unstated = [key for key in series if key not in stated]
    if side is None or not stated or len(wanted) == len(series):
        return series, ""
    if wanted:
        return wanted, f" of those that state {side}"
    return (unstated, " of those without a side") if unstated else (series, "")


def _said(stated: str | None, side: str | None) -> str:
    """The side that a series states, if it matters."""
    return f", {stated}" if stated and side else ""


def _stray(chosen: list[Frame], rest: list[Frame]) -> Frame | None:
    """A frame of another series that the chosen one seems to lack: on its grid, at a free place."""
    first = chosen[0]
    for frame in rest:
        alike = (
            frame.layout == first.layout
            and np.allclose(frame.axes, first.axes, atol=ANGLE)
            and np.allclose(frame.spacing, first.spacing)
        )
        if alike and at_free_place(chosen, frame):
            return frame
    return None
