"""Pages as files: what is embedded, what lies beside them, and what a file may hold at most."""

import base64
import dataclasses
import gzip
import json
import re

import numpy as np
import pytest
from made_cases import SHAPE, made_case

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume
from xr2mri_jax.presentation import pages
from xr2mri_jax.presentation.page_elements import Page, Row, Section, Shown, Table, Viewer, data_url
from xr2mri_jax.presentation.viewer_case import Layer, ViewerCase, packed, thumbnail


def voxels(layer):
    content = gzip.decompress(base64.b64decode(layer["data"]))
    return np.frombuffer(content, np.uint8).reshape(layer["shape"], order="F")


def page_of(folder, count=3):
    shown = [pages.write_case(folder, made_case(i)) for i in range(count)]
    rows = [Row(f"<{i}>", ["~" * (i == 1) + str(i)], case=f"case-{i}") for i in range(count)]
    table = Table("Cases", ["case", "number"], rows, sortable=True)
    viewer = Viewer(shown, [("Worst", "case-2")], ["case-1"], "Failures")
    return Page("A & B", ["notice"], [Section("Viewer", [viewer]), Section("All", [table])])


def test_a_case_keeps_its_values():
    case = made_case()
    content = json.loads(packed(case))
    by_kind = {layer["kind"]: layer for layer in content["layers"]}
    prediction = voxels(by_kind["prediction"]) * by_kind["prediction"]["top"] / 255
    np.testing.assert_allclose(prediction, case.layers[0].volume.array, atol=0.5 / 255)
    truth = voxels(by_kind["truth"])
    assert (truth[:2] == 0).all() and (truth[2:] == 128).all() and by_kind["truth"]["field"]
    np.testing.assert_array_equal(voxels(by_kind["labels"]), case.layers[2].volume.array)
    assert by_kind["uncertainty"]["top"] == pytest.approx(0.2)
    mesh = content["surfaces"][0]
    points = np.frombuffer(gzip.decompress(base64.b64decode(mesh["vertices"])), "<i2")
    np.testing.assert_allclose(
        points.reshape(-1, 3) * mesh["unit"], case.surfaces[0].vertices, atol=0.005
    )
    assert content["layers"][0]["shape"] == list(SHAPE)
    assert "<" not in packed(case) and packed(case) == packed(case)


def test_codes_without_a_colour_are_background():
    case = made_case()
    layer = case.layers[2]
    codes = layer.volume.array.copy()
    codes[0, 0] = 17  # of a tissue that the table does not name
    changed = Layer("true_labels", Volume(codes, layer.volume.affine))
    content = json.loads(packed(dataclasses.replace(case, layers=[changed])))
    np.testing.assert_array_equal(voxels(content["layers"][0]), layer.volume.array)


def test_a_case_of_another_name_or_kind_is_refused():
    with pytest.raises(ValueError, match="name of a case"):
        ViewerCase("../x", "", [])
    with pytest.raises(ValueError, match="found a picture"):
        data_url(b"BM")
    assert thumbnail(ViewerCase("x", "", [])) is None
    assert thumbnail(made_case()).startswith(b"\x89PNG")


def test_a_folder_holds_page_viewer_licence_and_cases(tmp_path):
    path = pages.write_folder(tmp_path, page_of(tmp_path))
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {
        "index.html", "cases/case-0.js", "cases/case-1.js", "cases/case-2.js",
        "assets/niivue.umd.js", "assets/LICENSE", "assets/THIRD_PARTY.txt",
    }  # fmt: skip
    text = path.read_text()
    assert "A &amp; B" in text and "&lt;0&gt;" in text and "Case &lt;i&gt; 0" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "BSD 2-Clause" in (tmp_path / "assets" / "LICENSE").read_text()


def test_a_case_that_was_not_written_is_refused(tmp_path):
    page = Page("", [], [Section("", [Viewer([Shown("case-9", "")])])])
    with pytest.raises(ValueError, match="case-9: its data were not written"):
        pages.write_folder(tmp_path, page)


def test_a_page_in_one_file_leaves_out_what_does_not_fit(tmp_path):
    page = page_of(tmp_path)
    single = tmp_path / "one.html"
    assert pages.write_single(single, page, tmp_path) == []
    size = single.stat().st_size
    assert 2_200_000 < size < pages.LARGEST_SINGLE
    one_case = (tmp_path / "cases" / "case-0.js").stat().st_size
    # The first case and the chosen one come before the gallery's.
    assert pages.write_single(single, page, tmp_path, size - one_case // 2) == ["case-1"]
    assert single.stat().st_size <= size - one_case // 2
    assert "contains 2 of 3 cases" in single.read_text()
    with pytest.raises(InputError, match=r"one\.html: the page has \d+ bytes, expected at most 9"):
        pages.write_single(single, page, tmp_path, 9)


def test_a_page_in_one_file_is_never_larger_than_asked(tmp_path):
    """Thumbnails and the entries of lists and tables count too."""
    page, single = page_of(tmp_path, 12), tmp_path / "one.html"
    (viewer,) = page.sections[0].parts
    gallery = dataclasses.replace(viewer, gallery=[case.name for case in viewer.cases])
    page = dataclasses.replace(page, sections=[Section("Viewer", [gallery]), page.sections[1]])
    empty = len(pages.render(page, {}).encode())
    one_case = (tmp_path / "cases" / "case-0.js").stat().st_size
    left_out = []
    for cases in (0.5, 3, 6, 12.1):
        largest = int(empty + cases * one_case)
        left_out.append(len(pages.write_single(single, page, tmp_path, largest)))
        assert single.stat().st_size <= largest
    assert left_out[0] == 12 and sorted(set(left_out), reverse=True) == left_out
    assert left_out[-1] < 12 * 0.75


def test_only_cases_in_the_file_have_buttons(tmp_path):
    page, single = page_of(tmp_path, 4), tmp_path / "one.html"
    empty = len(pages.render(page, {}).encode())
    for room, expected in ((6_000, {"case-0", "case-2"}), (0, set())):
        left_out = pages.write_single(single, page, tmp_path, empty + room)
        text = single.read_text()
        buttons = set(re.findall(r'data-show="(case-\d+)"', text))
        assert buttons == expected == {f"case-{i}" for i in range(4)} - set(left_out)
        assert bool(buttons) == ('<th scope="col">view</th>' in text)
        assert bool(buttons) != bool(re.search(r'<div class="viewer"[^>]* hidden>', text))


def test_a_page_in_one_file_ends_in_html(tmp_path):
    pages.require_single(tmp_path / "a.html", "--page")
    for name in ("a.csv", "a", ".html"):
        with pytest.raises(InputError, match=r"--page: found .*, expected a name ending in \.html"):
            pages.require_single(tmp_path / name, "--page")


def test_a_page_without_a_viewer_has_no_niivue():
    page = Page("t", [], [Section("s", [Table("c", ["a"], [])]), Section("empty", [])], "Verdict.")
    text = pages.render(page)
    assert '<p class="verdict">Verdict.</p>' in text and "empty" not in text
    assert "Niivue" not in text and len(text) < 30_000
