"""A case for the page's viewer: volumes, radiograph and meshes, packed for a browser."""

import base64
import dataclasses
import gzip
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from xr2mri_jax.geometry import BOX_MM, Volume

# Kinds of layers; the viewer has a colour scale for each.
KINDS = ("prediction", "truth", "labels", "true_labels", "uncertainty")
THUMBNAIL_PIXELS = 96
_BRIGHT_PERCENTILE = 99.9
_MESH_UNIT_MM = 0.01
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A volume in the viewer.

    Attributes:
      kind: one of KINDS.
      volume: f32 >= 0, or u8 codes if `kind` is a label map; axes nearest to R, A, S.
      inside: bool of the same shape, the acquired field; None: everywhere. Differences are
        computed only inside.
    """

    kind: str
    volume: Volume
    inside: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """A mesh: vertices f[n, 3] in RAS mm within 327 mm of the origin, faces i[m, 3], its colour."""

    name: str
    colour: Sequence[int]
    vertices: np.ndarray
    faces: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ViewerCase:
    """The viewer's content for a knee.

    Attributes:
      name: letters, digits, "-" and "_".
      title: one line of text.
      layers: at most one of each kind.
      radiograph: f32[h, w] in [0, 1] over the box, the patient's right at the left; or None.
      scale: mm in the patient per mm of the box.
      surfaces: the meshes.
      labels: code, name and colour of each label, see `structure_colours.table`. Other codes of
        label maps are shown as background.
      facts: displayed facts about the case, by name.

    Raises:
      ValueError: the name has other characters, or a kind is unknown.
    """

    name: str
    title: str
    layers: Sequence[Layer]
    radiograph: np.ndarray | None = None
    scale: float = 1.0
    surfaces: Sequence[Surface] = ()
    labels: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"name of a case: found {self.name!r}, expected {_NAME.pattern}")
        for layer in self.layers:
            if layer.kind not in KINDS:
                raise ValueError(f"layer: found {layer.kind!r}, expected one of {KINDS}")


def packed(case: ViewerCase) -> str:
    """The case as JSON in one line, safe inside an HTML script element.

    Volumes are u8 with the first axis fastest, meshes int16 in 0.01 mm, both gzip in base64.
    """
    content = {
        "name": case.name,
        "title": case.title,
        "facts": list(case.facts.items()),
        "layers": [_layer(layer, [row["code"] for row in case.labels]) for layer in case.layers],
        "labels": [dict(row) for row in case.labels],
        "surfaces": [_surface(surface) for surface in case.surfaces],
        "radiograph": None if case.radiograph is None else _radiograph(case.radiograph, case.scale),
    }
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")


def thumbnail(case: ViewerCase) -> bytes | None:
    """PNG of the middle coronal planes of prediction and truth side by side; None without any."""
    shown = [layer for layer in case.layers if layer.kind in ("prediction", "truth")]
    if not shown:
        return None
    planes = []
    for layer in sorted(shown, key=lambda layer: layer.kind):
        array = layer.volume.array
        white = _white(array)
        # Columns run to the patient's left, rows downwards.
        plane = array[::-1, array.shape[1] // 2, ::-1].T
        planes.append(np.rint(255 * np.clip(plane / white, 0, 1)).astype(np.uint8))
    images = [
        Image.fromarray(plane).resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)) for plane in planes
    ]
    return _png(np.concatenate([np.asarray(image) for image in images], axis=1))


def _layer(layer: Layer, known: Sequence[int]) -> dict[str, Any]:
    array = layer.volume.array
    is_labels = layer.kind.endswith("labels")
    if is_labels:
        # NiiVue would paint other codes, such as that of muscle, in the colour of a known one.
        array = np.where(np.isin(array, known), array, 0)
    top = 255.0 if is_labels else max(float(array.max()), 1e-6)
    if layer.kind in ("prediction", "truth"):
        top = 1.0
    codes = array if is_labels else np.rint(255 * np.clip(array / top, 0, 1))
    codes = codes.astype(np.uint8)
    if layer.inside is not None:
        # 0 means outside the field, so a black voxel inside becomes 1.
        codes = np.where(layer.inside, np.maximum(codes, 1), 0).astype(np.uint8)
    return {
        "kind": layer.kind,
        "shape": list(array.shape),
        "affine": [[round(float(v), 6) for v in row] for row in layer.volume.affine[:3]],
        "top": top,
        "white": 255.0 if is_labels else _white(array),
        "field": layer.inside is not None,
        "data": _gzipped(codes.tobytes(order="F")),
    }


def _surface(surface: Surface) -> dict[str, Any]:
    vertices = np.rint(np.asarray(surface.vertices) / _MESH_UNIT_MM)
    if vertices.size and np.abs(vertices).max() > np.iinfo(np.int16).max:
        raise ValueError(f"mesh {surface.name}: found a vertex more than 327 mm from the origin")
    return {
        "name": surface.name,
        "colour": list(surface.colour),
        "unit": _MESH_UNIT_MM,
        "vertices": _gzipped(vertices.astype("<i2").tobytes()),
        "faces": _gzipped(np.asarray(surface.faces).astype("<u4").tobytes()),
    }


def _radiograph(image: np.ndarray, scale: float) -> dict[str, Any]:
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return {
        "png": base64.b64encode(_png(pixels)).decode("ascii"),
        "size_mm": [scale * BOX_MM[1], scale * BOX_MM[2]],
        "depth_mm": scale * BOX_MM[0],
    }


def _white(array: np.ndarray) -> float:
    return max(float(np.percentile(array, _BRIGHT_PERCENTILE)), 0.1)


def _gzipped(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 1, mtime=0)).decode("ascii")


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()
