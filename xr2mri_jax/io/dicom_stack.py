"""Selects and orders the slices of one volume among several stacks, echoes and copies."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.dicom_frames import Frame
from xr2mri_jax.io.dicom_tags import named, shown

_TOLERANCE = 0.01  # of the slice spacing
# Positions are written with few digits: a slice may be off by this many mm and this share.
_JITTER_MM, _JITTER_SHARE = 0.06, 0.1
_SAME_MM = 1e-3
ANGLE = 1e-4  # of a direction's components
_MOST_STACKS = 32
# Tags that distinguish images at one position, and the names of what they distinguish.
_MARKS = {
    "EchoTime": "echoes",
    "EchoNumbers": "echoes",
    "ImageType": "parts of a complex image",
    "TemporalPositionIndex": "time points",
    "AcquisitionNumber": "acquisitions",
}
_ECHO = ("EchoTime", "EchoNumbers")


def one_stack(frames: list[Frame], folder: Path, doubts: list[str]) -> list[Frame]:
    """The largest stack of parallel slices of a series with slices in several directions.

    A slice that lies in or next to the largest stack, where one of its own is missing, is kept: its
    different direction is then an error, which `require_alike` names.

    Raises:
      InputError: two stacks of the largest size.
    """
    stacks: list[list[Frame]] = []
    for frame in frames:
        for stack in stacks:
            if np.abs(frame.axes - stack[0].axes).max() <= ANGLE:
                stack.append(frame)
                break
        else:
            if len(stacks) == _MOST_STACKS:
                return frames
            stacks.append([frame])
    if len(stacks) == 1:
        return frames
    stacks.sort(key=len, reverse=True)
    chosen, rest = stacks[0], [frame for stack in stacks[1:] for frame in stack]
    if any(at_free_place(chosen, frame) for frame in rest):
        return frames
    sizes = ", ".join(str(len(stack)) for stack in stacks)
    if len(stacks[1]) == len(chosen):
        raise InputError(
            f"{folder}: {len(stacks)} stacks of {sizes} slices in different directions "
            f"({named('ImageOrientationPatient')}), expected one"
        )
    doubts.append(
        f"{len(stacks)} stacks of {sizes} slices in different directions "
        f"({named('ImageOrientationPatient')}): the largest is taken"
    )
    return chosen


def at_free_place(chosen: list[Frame], frame: Frame) -> bool:
    """Whether a frame lies on the stack's line, in a gap of it or next to its ends."""
    first = chosen[0]
    normal = np.cross(*first.axes)
    places = np.sort([one.position @ normal for one in chosen])
    gaps = np.diff(places)
    gaps = gaps[gaps > _SAME_MM]
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    away = frame.position - first.position
    across = np.linalg.norm(away - (away @ normal) * normal)
    nearest = np.abs(places - frame.position @ normal).min()
    return bool(across < _SAME_MM + _TOLERANCE * usual and 0.25 * usual < nearest < 1.5 * usual)


def one_image_a_position(
    frames: list[Frame], echo: int | None, folder: Path, doubts: list[str]
) -> list[Frame]:
    """Selects one echo, part, time or acquisition if there are several images at every position.

    Args:
      frames: of one series.
      echo: 1 for the shortest echo time; None takes the first, with a doubt if there are more.

    Raises:
      InputError: there is no such echo.
    """
    places = Counter(_place(frame) for frame in frames)
    split = max(places.values()) > 1
    chosen_echo = False
    for tag, name in _MARKS.items():
        values = {frame.marks[tag] for frame in frames}
        if not split or len(values) < 2 or (tag in _ECHO and chosen_echo):
            continue
        stacks = {
            value: [frame for frame in frames if frame.marks[tag] == value] for value in values
        }
        # If the tag distinguishes images at one position, every value covers most of the positions.
        if min(len({_place(f) for f in stack}) for stack in stacks.values()) < 0.5 * len(places):
            continue
        order = sorted(stacks, key=lambda value: (value is None, str(type(value)), value))
        wanted = 1
        if tag in _ECHO:
            wanted, chosen_echo = echo or 1, True
            _require_echo(wanted, len(order), folder)
        if tag not in _ECHO or echo is None:
            doubts.append(_said(tag, name, order))
        frames = stacks[order[wanted - 1]]
        places = Counter(_place(frame) for frame in frames)
        split = max(places.values()) > 1
    if echo is not None and not chosen_echo:
        _require_echo(echo, 1, folder)
    return frames


def _require_echo(echo: int, count: int, folder: Path) -> None:
    if not 1 <= echo <= count:
        raise InputError(f"{folder}: --echo is {echo}, expected 1 to {count}, the number of echoes")


def _said(tag: str, name: str, order: list[float | str | None]) -> str:
    absent = "magnitude" if tag == "ImageType" else "none"
    values = ", ".join(
        f"{value:g}" if isinstance(value, float) else str(value or absent) for value in order
    )
    unit = " ms" if tag == "EchoTime" else ""
    how = " (--echo chooses)" if tag in _ECHO else ""
    return f"{len(order)} {name} ({named(tag)} {values}{unit}), the first is taken{how}"


def _place(frame: Frame) -> tuple[float, ...]:
    return tuple(np.round(frame.position / (10 * _SAME_MM)).tolist())


def without_copies(
    frames: list[Frame], pixels: Callable[[Frame], bytes], folder: Path, doubts: list[str]
) -> list[Frame]:
    """The frames sorted along their normal, with only one of those with equal position and pixels.

    Args:
      pixels: returns a digest of a frame's pixels.

    Raises:
      InputError: different pixels at one position.
    """
    normal = np.cross(*frames[0].axes)
    ordered = sorted(frames, key=lambda frame: (float(frame.position @ normal), frame.label))
    usual = _usual(ordered, normal)
    kept = ordered[:1]
    copies = []
    for frame in ordered[1:]:
        last = kept[-1]
        if np.linalg.norm(frame.position - last.position) > max(_SAME_MM, _TOLERANCE * usual):
            kept.append(frame)
        elif pixels(frame) == pixels(last):
            copies.append(frame)
        else:
            place = shown(frame.position.tolist())
            raise InputError(
                f"{folder}: slices {len(kept) - 1} ({last.label}) and {len(kept)} ({frame.label}) "
                f"repeat the position {place} with different pixels, expected one"
            )
    if copies:
        doubts.append(
            f"{len(copies)} slices occur twice, with the same pixels ({copies[0].label}, ...): "
            "one of each is taken"
        )
    return kept


def _usual(ordered: list[Frame], normal: np.ndarray) -> float:
    gaps = np.diff([frame.position @ normal for frame in ordered])
    return float(np.median(gaps[gaps > _SAME_MM])) if (gaps > _SAME_MM).any() else 0.0


def require_alike(frames: list[Frame]) -> None:
    """Raises InputError if size, type, spacing or orientation of the slices differ."""
    first = frames[0]
    for other in frames[1:]:
        for keyword, value in first.layout.items():
            if other.layout[keyword] != value:
                _refuse_unlike(first, other, keyword, str(value), str(other.layout[keyword]))
        for keyword, a, b, tolerance in (
            ("PixelSpacing", first.spacing, other.spacing, 1e-4 * first.spacing.max()),
            ("ImageOrientationPatient", first.axes, other.axes, ANGLE),
        ):
            if np.abs(a - b).max() > tolerance:
                _refuse_unlike(
                    first, other, keyword, shown(a.ravel().tolist()), shown(b.ravel().tolist())
                )


def one_side(frames: list[Frame], folder: Path) -> str | None:
    """The side that the headers state; None if they state none.

    Raises:
      InputError: slices of different sides.
    """
    known = {frame.side: frame.label for frame in frames if frame.side is not None}
    if len(known) > 1:
        said = " and ".join(f"{label} of a {side} one" for side, label in sorted(known.items()))
        raise InputError(f"{folder}: {said} by their headers, expected one knee")
    return next(iter(known), None)


def _refuse_unlike(first: Frame, other: Frame, keyword: str, a: str, b: str) -> None:
    raise InputError(f"{other.path}: {named(keyword)} is {b}, expected {a} as in {first.label}")


def regular_step(frames: list[Frame], folder: Path, doubts: list[str]) -> tuple[np.ndarray, ...]:
    """First position and step, LPS mm f64[3] each, of ordered slices.

    Rounded positions count as regular, with a doubt if they jitter by more than 1 % of the spacing.

    Raises:
      InputError: a gap, or a slice off the line of the others.
    """
    normal = np.cross(*frames[0].axes)
    positions = np.array([frame.position for frame in frames])
    usual = _usual(frames, normal)
    exact = _TOLERANCE * usual
    most = max(exact, min(_JITTER_MM, _JITTER_SHARE * usual))
    for k, gap in enumerate(np.diff(positions @ normal)):
        if abs(gap - usual) > 2 * most:
            raise InputError(
                f"{_between(frames, k, folder)} are {gap:.4g} mm apart, expected {usual:.4g} mm"
            )
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    first = positions[0]
    number = np.arange(len(frames))[:, None]
    off = np.linalg.norm(positions - first - number * step, axis=1)
    if off.max() > exact:
        # A line fitted through all of them: the ends are rounded like the others.
        fitted = np.polyfit(number[:, 0], positions, 1)
        step, first = fitted[0], fitted[1]
        off = np.linalg.norm(positions - first - number * step, axis=1)
    worst = int(off.argmax())
    if off[worst] > most:
        raise InputError(
            f"{_between(frames, max(worst - 1, 0), folder)}: one is {off[worst]:.4g} mm off the "
            f"line through the slices, expected less than {most:.2g} mm"
        )
    if off[worst] > exact:
        doubts.append(
            f"the slices' positions jitter by up to {off[worst]:.2g} mm: taken as "
            f"{np.linalg.norm(step):.4g} mm apart"
        )
    return first, step


def _between(frames: list[Frame], k: int, folder: Path) -> str:
    k = min(k, len(frames) - 2)
    a, b = frames[k].label, frames[k + 1].label
    return f"{folder}: slices {k} ({a}) and {k + 1} ({b})"
