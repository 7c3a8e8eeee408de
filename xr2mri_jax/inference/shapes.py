"""Label maps and closed meshes from the signed distances of a knee."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from xr2mri_jax.errors import InputError
from xr2mri_jax.files import write_json
from xr2mri_jax.geometry import Volume, canonical_affine, from_canonical, reorient_ras
from xr2mri_jax.io import write_nifti
from xr2mri_jax.io.stl import write_stl
from xr2mri_jax.phantom import surfaces
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.presentation.statement import STATEMENT
from xr2mri_jax.presentation.structure_colours import COLOURS, table

MESH_FILES = tuple(f"{name}.stl" for name in COLOURS)
# Voxels along each axis of the grid on which meshes are computed.
MESH_SIZE = 112
# Parts with less than this share of a structure's voxels get no mesh: where two surfaces are less
# than about a voxel apart, a thin sheet of cartilage breaks into fragments.
SPECK = 0.02


class Mesh(NamedTuple):
    """A closed surface: vertices f64[n, 3] in RAS mm, faces i64[m, 3], outwards."""

    vertices: np.ndarray
    faces: np.ndarray


def label_volume(codes: np.ndarray, side: str, scale: float = 1.0) -> Volume:
    """A label map in the patient's coordinates.

    Args:
      codes: u8[d, h, w] of a canonical right knee, see `surfaces.labels`.
      side: "left" or "right".
      scale: mm in the patient per mm of the box.

    Returns:
      u8, axes closest to R, A, S.
    """
    return scaled(reorient_ras(from_canonical(codes, side)), scale)


def scaled(volume: Volume, scale: float) -> Volume:
    """The volume with its voxels scaled by `scale` about the world origin."""
    affine = np.array(volume.affine)
    affine[:3] *= scale
    return Volume(volume.array, affine)


def meshes(
    distances: np.ndarray, side: str, scale: float = 1.0, size: int = MESH_SIZE
) -> dict[str, Mesh]:
    """Closed meshes by structure.

    Args:
      distances: f32[k, d, h, w], mm in the canonical box, a right knee.
      side: "left" or "right".
      scale: mm in the patient per mm of the box.
      size: voxels along each axis of the grid on which they are computed.

    Marching cubes on the distances, spline-interpolated to that grid (1.1 mm by default). A bone
    that leaves the box is closed by a plane. An absent structure has no mesh.
    """
    fine = surfaces.resized(distances, (size,) * 3, order=3)
    affine = np.array(canonical_affine((size,) * 3))
    affine[:3] *= scale
    if side == "left":
        mirror = np.eye(4)
        mirror[2, 2], mirror[2, 3] = -1.0, size - 1
        affine = affine @ mirror
    found = {}
    for name, field in _fields(fine).items():
        mesh = _mesh(field, affine)
        if mesh is not None:
            found[name] = mesh
    return found


def _fields(fine: np.ndarray) -> dict[str, np.ndarray]:
    """Signed distance of every structure; cartilage is its outer surface minus the bone."""
    by_name = dict(zip(NAMES, fine, strict=True))
    middle = surfaces.tibial_middle(by_name["tibia"])
    size = fine.shape[-1]
    aside = 128.0 / size * (np.arange(size) - middle + 0.5)
    tibial = np.maximum(by_name["tibial_outer"], -by_name["tibia"])
    return {
        "femoral_cartilage": np.maximum(by_name["femoral_outer"], -by_name["femur"]),
        "medial_tibial_cartilage": np.maximum(tibial, -aside),
        "lateral_tibial_cartilage": np.maximum(tibial, aside),
        "patellar_cartilage": np.maximum(by_name["patellar_outer"], -by_name["patella"]),
        **{
            name: by_name[name]
            for name in (
                "femur", "tibia", "patella", "fibula", "lateral_meniscus", "medial_meniscus"
            )
        },
    }  # fmt: skip


def _mesh(field: np.ndarray, affine: np.ndarray) -> Mesh | None:
    """The surface of f32[d, h, w] where it is 0, in the world of `affine`."""
    field = _without_specks(field)
    inside = field < 0
    if not inside.any():
        return None
    spans = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(inside.any(axis=others))
        spans.append(slice(max(where[0] - 2, 0), where[-1] + 3))
    part = field[tuple(spans)]
    # A border of positive distances closes surfaces at the edge of the box.
    padded = np.pad(part, 1, constant_values=float(np.abs(part).max()) + 1.0)
    vertices, faces, _, _ = marching_cubes(padded, 0.0)
    index = vertices + np.array([s.start for s in spans]) - 1
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return Mesh(world, _outwards(world, faces.astype(np.int64)))


def _without_specks(field: np.ndarray) -> np.ndarray:
    """The field without parts that contain less than SPECK of its inner voxels."""
    parts, count = ndimage.label(field < 0)
    if count < 2:
        return field
    sizes = np.bincount(parts.ravel())
    small = sizes < SPECK * sizes[1:].sum()
    small[0] = False
    return np.where(small[parts], np.abs(field), field)


def _outwards(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The faces, oriented such that the enclosed volume is positive."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum()
    return faces if volume > 0 else faces[:, ::-1]


def write_labels(path: Path, table_file: Path, labels: Volume) -> None:
    """Writes a label map, NAME.nii.gz, and the table of its codes at `table_path`."""
    write_json(table_file, {"statement": STATEMENT, "background": 0, "labels": table()})
    write_nifti(path, labels)


def table_path(path: Path) -> Path:
    """Path of the table of a label map's codes; InputError for a wrong file ending."""
    for suffix in (".nii.gz", ".nii"):
        if path.name.endswith(suffix) and path.name != suffix:
            return path.with_name(path.name.removesuffix(suffix) + ".json")
    raise InputError(f"--labels: found {path}, expected a name ending in .nii.gz or .nii")


def write_meshes(folder: Path, found: Mapping[str, Mesh]) -> list[str]:
    """Writes one STL file per structure into a folder, created if missing; returns the names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, mesh in found.items():
        title = f"{name}, RAS mm, synthesised - not for diagnosis"
        write_stl(folder / f"{name}.stl", mesh.vertices, mesh.faces, title)
    return [f"{name}.stl" for name in found]
