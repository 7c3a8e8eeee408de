"""Tests of label maps and meshes made from signed distances."""

import json

import nibabel as nib
import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.inference import shapes
from xr2mri_jax.phantom.surfaces import NAMES
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.presentation.structure_colours import COLOURS

RADIUS = {"femur": 20.0, "tibia": 16.0, "patella": 12.0, "fibula": 10.0}
# (d, h, w) in mm from the joint's centre of a canonical right knee.
CENTRE = {
    "femur": (0.0, -26.0, 0.0),
    "tibia": (0.0, 20.0, 0.0),
    "patella": (-35.0, -20.0, 0.0),
    "fibula": (20.0, 50.0, -30.0),
}


def balls(n=32):
    """Every bone a ball; cartilage 3 mm thick around it; no menisci."""
    axis = (np.arange(n) + 0.5) * 128 / n - 64
    d, h, w = np.meshgrid(axis, axis, axis, indexing="ij")
    found = {}
    for name, (a, b, c) in CENTRE.items():
        found[name] = np.sqrt((d - a) ** 2 + (h - b) ** 2 + (w - c) ** 2) - RADIUS[name]
    outer = {"femoral_outer": "femur", "tibial_outer": "tibia", "patellar_outer": "patella"}
    found |= {name: found[bone] - 3 for name, bone in outer.items()}
    empty = np.full_like(d, 9.0)
    return np.stack([found.get(name, empty) for name in NAMES]).astype(np.float32)


def edges(faces):
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)[1]


def enclosed(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


@pytest.mark.parametrize("side", ["right", "left"])
def test_meshes_are_closed_and_have_size_and_place_in_the_patient(side):
    scale = 1.1
    found = shapes.meshes(balls(), side, scale)
    assert set(found) == set(COLOURS) - {"medial_meniscus", "lateral_meniscus"}
    for mesh in found.values():
        # Closed: every edge belongs to two faces.
        assert (edges(mesh.faces) == 2).all()
    sphere = 4 / 3 * np.pi * (scale * RADIUS["femur"]) ** 3
    # Outwards: the volume is positive.
    assert enclosed(found["femur"]) == pytest.approx(sphere, rel=0.01)
    # Anterior is +y and superior +z; lateral is the patient's own side.
    d, h, w = (scale * value for value in CENTRE["fibula"])
    x = -w if side == "right" else w
    np.testing.assert_allclose(found["fibula"].vertices.mean(axis=0), [x, -d, -h], atol=0.5)


def test_crumbs_have_no_mesh_and_large_parts_have():
    distances = balls()
    axis = (np.arange(32) + 0.5) * 4 - 64
    d, h, w = np.meshgrid(axis, axis, axis, indexing="ij")
    aside = np.sqrt((d - 40) ** 2 + (h + 40) ** 2 + (w - 40) ** 2)
    femur = NAMES.index("femur")
    whole = distances[femur].copy()
    alone = shapes.meshes(distances, "right")["femur"]
    for radius, kept in ((4.5, False), (10.0, True)):
        distances[femur] = np.minimum(whole, aside - radius)
        mesh = shapes.meshes(distances, "right")["femur"]
        assert (edges(mesh.faces) == 2).all()
        assert (len(mesh.vertices) > len(alone.vertices)) == kept


def test_a_bone_that_leaves_the_box_is_closed_there():
    distances = balls()
    axis = (np.arange(32) + 0.5) * 4 - 64
    tube = np.hypot(axis[:, None, None], axis[None, None, :]) - 15
    distances[NAMES.index("femur")] = np.broadcast_to(tube, (32, 32, 32))
    mesh = shapes.meshes(distances, "right")["femur"]
    assert (edges(mesh.faces) == 2).all()
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(128, abs=2.5)


def test_a_label_map_has_its_table_beside_it(tmp_path):
    codes = np.zeros((8, 16, 16), np.uint8)
    codes[2, 3, 4] = CODES["femur"]
    labels = shapes.label_volume(codes, "right", 0.5)
    path = tmp_path / "knee.nii.gz"
    shapes.write_labels(path, shapes.table_path(path), labels)
    image = nib.load(path)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.header.get_zooms(), (4.0, 8.0, 4.0))
    (where,) = np.argwhere(np.asarray(image.dataobj) == CODES["femur"])
    # d 2 of 8, h 3 of 16, w 4 of 16 over 64 mm: 12 mm anterior, 18 superior, 14 to the right.
    world = image.affine @ [*where, 1]
    np.testing.assert_allclose(world[:3], [14.0, 12.0, 18.0], atol=1e-4)
    table = json.loads((tmp_path / "knee.json").read_text())["labels"]
    assert {row["code"]: row["name"] for row in table}[CODES["femur"]] == "femur"
    assert len(table) == 10


def test_a_wrong_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected a name ending in \.nii\.gz or \.nii"):
        shapes.table_path(tmp_path / "labels.png")
