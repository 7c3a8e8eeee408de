"""Triangle meshes as binary STL files."""

import os

import numpy as np

from xr2mri_jax import files

_TRIANGLE = np.dtype(
    [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")], align=False
)


def write_stl(
    path: str | os.PathLike[str], vertices: np.ndarray, faces: np.ndarray, title: str
) -> None:
    """Writes a mesh atomically.

    Args:
      path: the file.
      vertices: f[n, 3] in mm.
      faces: i[m, 3], corners counterclockwise seen from outside.
      title: at most 80 ASCII characters for the header, which must not begin with "solid".
    """
    corners = np.asarray(vertices, np.float32)[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    triangles = np.zeros(len(faces), _TRIANGLE)
    triangles["normal"] = normal / np.maximum(length, 1e-12)
    triangles["corners"] = corners
    header = title.encode("ascii", "replace")[:80].ljust(80)
    with files.atomic_path(path) as partial:
        partial.write_bytes(header + np.uint32(len(faces)).tobytes() + triangles.tobytes())
