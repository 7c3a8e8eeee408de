"""Measures the knee finder: unseen phantom films, images to be refused, real crops if given."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import KneePlace, Radiograph
from xr2mri_jax.io import read_radiograph
from xr2mri_jax.phantom.bilateral import BilateralRadiograph, take
from xr2mri_jax.phantom.film import draw_film
from xr2mri_jax.phantom.leg import Leg, project_leg
from xr2mri_jax.preprocess.knee_finder.find import find_knees
from xr2mri_jax.tools.benchmarks.strange_films import strange_films
from xr2mri_jax.tools.fit_knee_finder.pictures import Picture, nowhere, pair_picture, read_crops

# The phantom population, different from that of the fit.
SEED = 47_000
# Pixels of the projected legs across 128 mm: finer ones take longer and add no detail of a joint.
GRID_ROWS = 96
NEAR_MM = 5.0
# Length of a real joint line, which converts distances on a crop without spacing to millimetres.
LINE_MM = 75.0
PAIRS = 200
GRID = 100


def run(films: int, real: Path | None, pictures: Path | None) -> dict[str, Any]:
    """Measures the knee finder.

    Args:
      films: phantom films, 1 or more.
      real: folder with `knee_xray_kl/val` and `dicom_xray`, or None.
      pictures: folder for grids of the detections, or None.

    Returns:
      The report, JSON-able.
    """
    report: dict[str, Any] = {"phantom": _phantom(films), "refused": _strange()}
    if real is not None:
        report["refused"] |= _not_knees(real / "dicom_xray")
        report["real"] = _real(real / "knee_xray_kl" / "val", pictures)
    return report


def table(report: dict[str, Any]) -> str:
    """The report in lines."""
    phantom = report["phantom"]
    lines = [
        f"phantom films: {phantom['films']}, found {phantom['found']}, sides right "
        f"{phantom['sides_right']}, centres within {NEAR_MM:g} mm {phantom['near']:.1%}, error "
        f"median {phantom['error_mm']['median']:.2f} mm, 99 % {phantom['error_mm']['p99']:.2f} mm, "
        f"worst {phantom['error_mm']['worst']:.2f} mm, {phantom['seconds']:.2f} s a film",
        "refused: " + ", ".join(f"{name} {row}" for name, row in report["refused"].items()),
    ]
    if "real" in report:
        real = report["real"]
        lines.append(
            f"real crops: {real['files']}, found {real['found']}, side as in the name "
            f"{real['sides_right']} ({real['share']:.2%}); with dark bone {real['dark_bone']}; "
            "pairs on one film: "
            f"{real['pairs']['n']}, both sides right {real['pairs']['sides_right']}, centres "
            f"within {NEAR_MM:g} mm {real['pairs']['near']:.1%}"
        )
        for low, row in real["calibration"].items():
            lines.append(
                f"  confidence from {low}: {row['n']} knees, side right {row['right']:.1%}"
            )
    return "\n".join(lines)


def films(
    number: int, grid_rows: int = GRID_ROWS
) -> Iterator[tuple[BilateralRadiograph, Radiograph]]:
    """Unseen phantom films with varied extent, spacing, processing, rotation and cropping.

    Yields:
      The film with its truth, and the radiograph to search, every third one without spacing.
    """
    for subject in range(number):
        legs = tuple(project_leg(SEED, 2 * subject + side, grid_rows) for side in range(2))
        film = _film((legs[0], legs[1]), np.random.default_rng((SEED, subject)))
        spacing = None if subject % 3 == 2 else film.spacing
        yield film, Radiograph(film.image, spacing)


def _film(legs: tuple[Leg, Leg], rng: np.random.Generator) -> BilateralRadiograph:
    extent = (float(rng.choice([300.0, 350.0, 430.0])), float(rng.choice([350.0, 400.0, 430.0])))
    spacing = float(rng.uniform(0.2, 0.6))
    shape = round(extent[0] / spacing), round(extent[1] / spacing)
    taken = take(legs, draw_film(rng, extent), shape, (spacing, spacing), rng)
    return cropped(taken, rng)


def cropped(film: BilateralRadiograph, rng: np.random.Generator) -> BilateralRadiograph:
    """Cuts up to 15 % off every border, and leaves 45 mm around the joints' centres."""
    centres = np.array([place.centre_px for place in film.places.values()])
    margin = 45.0 / np.array(film.spacing)
    shape = np.array(film.image.shape)
    low = np.minimum(rng.uniform(0, 0.15, 2) * shape, centres.min(0) - margin)
    high = np.maximum((1 - rng.uniform(0, 0.15, 2)) * shape, centres.max(0) + margin)
    top, left = np.maximum(np.floor(low), 0).astype(int)
    bottom, right = np.minimum(np.ceil(high), shape).astype(int)
    moved = (-float(top), -float(left))

    def shifted(point: tuple[float, float]) -> tuple[float, float]:
        return point[0] + moved[0], point[1] + moved[1]

    places = {
        side: KneePlace(
            side,
            shifted(place.centre_px),
            (shifted(place.joint_line[0]), shifted(place.joint_line[1])),
        )
        for side, place in film.places.items()
    }
    centre = {side: shifted(point) for side, point in film.box_centres.items()}
    return BilateralRadiograph(film.image[top:bottom, left:right], film.spacing, places, centre)


def _phantom(number: int) -> dict[str, Any]:
    errors, found, sides_right, seconds, misses = [], 0, 0, 0.0, []
    for subject, (film, radiograph) in enumerate(films(number)):
        start = time.perf_counter()
        try:
            places = find_knees(radiograph)
        except InputError as error:
            places = {}
            misses.append(f"subject {subject}: {error}")
        seconds += time.perf_counter() - start
        found += len(places) == 2
        distances = []
        for side, truth in film.places.items():
            place = places.get(side)
            distance = np.inf
            if place is not None:
                distance = float(
                    np.hypot(*(np.subtract(place.centre_px, truth.centre_px) * film.spacing))
                )
            distances.append(distance)
        # A side is right if the knee of that name is found at its own place and not at the other's.
        sides_right += all(distance < 40.0 for distance in distances)
        errors += distances
    known = np.array(errors)[np.isfinite(errors)]
    if not known.size:
        raise InputError("found no knee in any phantom film, expected weights that work")
    return {
        "films": number,
        "found": int(found),
        "sides_right": int(sides_right),
        "near": float(np.mean(np.array(errors) <= NEAR_MM)),
        "error_mm": {
            "median": float(np.median(known)),
            "p99": float(np.percentile(known, 99)),
            "worst": float(known.max()),
        },
        "seconds": seconds / number,
        "misses": misses,
    }


def _strange() -> dict[str, str]:
    return {name: _verdict(radiograph) for name, radiograph in strange_films().items()}


def _not_knees(folder: Path) -> dict[str, str]:
    paths = sorted(folder.glob("*.dcm"))
    if not paths:
        raise InputError(f"{folder}: found no .dcm files, expected radiographs that show no knee")
    return {path.name: _verdict(read_radiograph(path)) for path in paths}


def _verdict(radiograph: Radiograph) -> str:
    try:
        places = find_knees(radiograph)
    except InputError:
        return "yes"
    confidence = max(place.confidence for place in places.values())
    return f"NO ({'+'.join(places)}, {confidence:.2f})"


def _real(folder: Path, pictures: Path | None) -> dict[str, Any]:
    crops = read_crops(folder)
    names, images, sides = crops.names, crops.images, crops.sides
    truth = [("right", "left")[side] for side in sides]
    found = [_best(image) for image in images]
    right = [place is not None and place.side == t for place, t in zip(found, truth, strict=True)]
    dark = [place is not None and place.dark_bone for place in found]
    bright = [None if is_dark else place for place, is_dark in zip(found, dark, strict=True)]
    confidence = np.array([0.0 if place is None else place.confidence for place in found])
    if pictures is not None:
        _grid(names, images, found, pictures)
    return {
        "files": len(names),
        "found": int(sum(place is not None for place in found)),
        "sides_right": int(sum(right)),
        "share": float(np.mean(right)),
        "dark_bone": int(sum(dark)),
        "dark_bone_files": [name for name, is_dark in zip(names, dark, strict=True) if is_dark],
        "wrong": [name for name, ok in zip(names, right, strict=True) if not ok],
        "calibration": calibration(confidence, np.array(right)),
        "pairs": _pairs(images, bright, truth),
    }


def _best(image: np.ndarray) -> KneePlace | None:
    try:
        places = find_knees(Radiograph(image))
    except InputError:
        return None
    return max(places.values(), key=lambda place: place.confidence)


def calibration(confidence: np.ndarray, right: np.ndarray) -> dict[str, dict[str, float]]:
    """Number of knees and share with the right side, by their confidence."""
    bins = {}
    for low, high in ((0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)):
        part = (confidence >= low) & (confidence < high)
        if part.any():
            bins[f"{low:g}"] = {"n": int(part.sum()), "right": float(np.mean(right[part]))}
    return bins


def _pairs(images: np.ndarray, found: list[KneePlace | None], truth: list[str]) -> dict[str, Any]:
    """Crops with bright bone in pairs on one film, compared with their individual detections."""
    rng = np.random.default_rng(SEED)
    alone: dict[str, list[Picture]] = {"right": [], "left": []}
    for image, place, side in zip(images, found, truth, strict=True):
        if place is None or place.side != side:
            continue
        points = nowhere()
        points[int(side == "left")] = [place.centre_px, *place.joint_line]
        alone[side].append(Picture(image, points))
    sides_right, errors = 0, []
    for _ in range(PAIRS):
        chosen = [group[rng.integers(len(group))] for group in alone.values()]
        film = pair_picture(chosen[0], chosen[1], rng)
        large = ndimage.zoom(film.image.astype(np.float32), 3, order=1)
        try:
            places = find_knees(Radiograph(large))
        except InputError:
            places = {}
        distances = []
        for side, points in zip(("right", "left"), film.points, strict=True):
            place = places.get(side)
            if place is None:
                distances.append(np.inf)
                continue
            scale = (np.array(large.shape) - 1) / (np.array(film.image.shape) - 1)
            length = np.linalg.norm((points[2] - points[1]) * scale)
            move = np.linalg.norm(np.subtract(place.centre_px, points[0] * scale))
            distances.append(float(move / length * LINE_MM))
        sides_right += all(distance < LINE_MM / 2 for distance in distances)
        errors += distances
    near = float(np.mean(np.array(errors) <= NEAR_MM))
    return {"n": PAIRS, "sides_right": int(sides_right), "near": near}


def _grid(
    names: list[str], images: np.ndarray, found: list[KneePlace | None], folder: Path
) -> None:
    """GRID crops, drawn with a fixed seed, with their detections, in pictures of 20."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = np.random.default_rng(100).choice(len(names), min(GRID, len(names)), replace=False)
    tiles = []
    for number in chosen:
        tile = Image.fromarray(images[number]).convert("RGB").resize((336, 336))
        draw = ImageDraw.Draw(tile)
        place = found[number]
        draw.text((3, 3), names[number], fill=(255, 255, 0))
        if place is not None:
            scale = 336 / images.shape[1]
            line = [((c + 0.5) * scale, (r + 0.5) * scale) for r, c in place.joint_line]
            draw.line(line, fill=(255, 0, 0), width=1)
            row, column = ((v + 0.5) * scale for v in place.centre_px)
            draw.ellipse([column - 4, row - 4, column + 4, row + 4], outline=(0, 255, 0))
            draw.text((3, 16), f"{place.side} {place.confidence:.2f}", fill=(255, 255, 0))
        tiles.append(np.asarray(tile))
    for part in range(0, len(tiles), 20):
        group = tiles[part : part + 20]
        group += [np.zeros_like(group[0])] * (20 - len(group))
        lines = [np.concatenate(group[5 * k : 5 * k + 5], axis=1) for k in range(4)]
        Image.fromarray(np.concatenate(lines)).save(folder / f"real_{part // 20}.png")
