"""Tests of STL files, read back byte by byte."""

import struct

import numpy as np

from xr2mri_jax.io.stl import write_stl

VERTICES = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]], float)
FACES = np.array([[0, 2, 1], [0, 1, 3]])


def test_a_mesh_is_written_as_binary_triangles_with_their_normals(tmp_path):
    path = tmp_path / "part.stl"
    write_stl(path, VERTICES, FACES, "part, mm")
    content = path.read_bytes()
    assert content[:8] == b"part, mm"
    assert struct.unpack("<I", content[80:84]) == (2,)
    assert len(content) == 84 + 2 * 50
    first = struct.unpack("<12fH", content[84:134])
    assert first[:3] == (0.0, 0.0, -1.0)
    assert first[3:12] == (0, 0, 0, 0, 3, 0, 2, 0, 0)
    second = struct.unpack("<12fH", content[134:184])
    assert second[:3] == (0.0, -1.0, 0.0)
    assert second[12] == 0
