"""The viewer in Chromium: from a file, at two widths, with the keyboard, without an error."""

import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from test_pages import page_of

from xr2mri_jax import files
from xr2mri_jax.presentation import pages
from xr2mri_jax.presentation.page_elements import LinkedPicture, Page, Row, Section, Table

STATE = "document.querySelector('[data-viewer]').dataset.state"
STATUS = "document.querySelector('[data-status]').textContent"
# Pixels of the planes' canvas, drawn anew, since a browser forgets what it has shown.
SUM = """(() => { const nv = xr2mri.page.viewer.nv; nv.drawScene();
  const { width, height } = nv.canvas; const all = new Uint8Array(4 * width * height);
  nv.gl.readPixels(0, 0, width, height, nv.gl.RGBA, nv.gl.UNSIGNED_BYTE, all);
  let lit = 0, sum = 7;
  for (let i = 0; i < all.length; i += 20) {
    lit += all[i] > 20; sum = (31 * sum + all[i]) % 1000003;
  }
  return [(20 * lit) / all.length, sum]; })()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page of three cases, of which the last one's data are damaged, and the page in one file."""
    made = tmp_path_factory.mktemp("page")
    page = page_of(made)
    pages.write_folder(made, page)
    pages.write_single(made / "one.html", page, made)
    (made / "cases" / "case-2.js").write_text("xr2mri.receive('case-2', {layers: [{data: ''}]});")
    return made


@pytest.fixture(scope="module")
def opened(chromium, folder):
    """The folder's page, its first case shown."""
    with chromium(1280, 700) as browser:
        browser.open((folder / "index.html").as_uri())
        browser.wait(f"{STATE} === 'shown'")
        yield browser


def test_a_page_opens_from_a_file_without_network_or_error(opened):
    assert opened.problems == []
    assert all(url.startswith("file:///") for url in opened.requests)
    names = {url.rpartition("/")[2] for url in opened.requests}
    # Of the cases the one that is shown alone is loaded.
    assert names == {"index.html", "case-0.js", "niivue.umd.js"}


def test_wide_pictures_shrink_to_the_page(chromium, tmp_path):
    Image.fromarray(np.zeros((40, 3000), np.uint8)).save(tmp_path / "wide.png")
    name = "a/radiograph-of_scanner.2024.png"
    picture = LinkedPicture("wide.png", "wide.png", "a strip")
    rows = [Row(name, ["right", "5.1 mm", "word " * 30], pictures=[picture])]
    table = Table("caption " * 60, ["file", "side", "space", "warning"], rows, wrapped=True)
    files.write_text(
        tmp_path / "index.html", pages.render(Page("Knees", [], [Section("Knees", [table])]))
    )
    with chromium(1280, 700) as browser:
        browser.open((tmp_path / "index.html").as_uri())
        browser.wait("document.images[0].complete || (scrollTo(0, 400), false)")
        assert browser.run("document.images[0].getBoundingClientRect().right") < 1280
        box = "document.querySelector('.wide')"
        assert browser.run(f"{box}.scrollWidth - {box}.clientWidth") <= 0
        assert browser.run("document.images[0].clientWidth") > 1000
        assert browser.run(f"{box}.contains(document.querySelector('.caption'))") is False
        lines = "document.querySelector('.label').getClientRects()[0].height"
        assert browser.run(lines) < 30  # one line of text


def test_a_key_moves_the_planes(opened):
    lit, before = opened.run(SUM)
    assert lit > 0.1
    opened.run("document.querySelector('[data-canvas]').focus()")
    assert "S 0 mm" in opened.run(STATUS)
    for _ in range(3):
        opened.key("PageUp")
        opened.key("ArrowUp")
    assert "A 3 mm, S 3 mm" in opened.run(STATUS)
    assert opened.run(SUM)[1] != before
    # The value under the cross-hair: the prediction grows upwards from 0 to 1.
    assert "prediction 0.53; truth 0.50" in opened.run(STATUS)
    assert "difference 0.03" in opened.run(STATUS)
    opened.key("0")
    assert "A 0 mm, S 0 mm" in opened.run(STATUS)


def test_wheel_and_radiograph_move_the_cross_hair(opened):
    place = "(() => {{ const b = document.querySelector('[data-{}]').getBoundingClientRect();"
    place += " return [b.left + b.width / 4, b.top + b.height / 4]; }})()"
    opened.run("document.querySelector('.stage').scrollIntoView()")
    # A quarter of the radiograph: 32 mm to the patient's right and upwards.
    opened.click(*opened.run(place.format("radiograph")))
    assert opened.run(STATUS).startswith("R 32 mm, A 0 mm, S 32 mm")
    before = opened.run(STATUS)
    opened.wheel(*opened.run(place.format("canvas")), 120)
    opened.wait(f"{STATUS} !== {before!r}")
    # The coronal plane is at the top left: the wheel moves it along the depth, voxel by voxel.
    assert re.match(r"R 3\d mm, [AP] 1\d mm, S 3\d mm", opened.run(STATUS))
    opened.run("xr2mri.page.viewer.moveTo([0, 0, 0])")


def test_layers_window_views_and_clipping_change_the_picture(opened):
    seen = [opened.run(SUM)[1]]
    layer = "document.querySelector('label[data-layer=\"difference\"] input')"
    for script in (
        f"{layer}.click()",
        "(() => { const e = document.querySelector('[data-high]'); e.value = 0.4;"
        " e.dispatchEvent(new Event('input')); })()",
        "document.querySelector('[data-meshes]').click()",
        "(() => { const e = document.querySelector('[data-clip]'); e.value = 'none';"
        " e.dispatchEvent(new Event('input')); })()",
        "document.querySelector('[data-view=\"coronal\"]').click()",
        "document.querySelector('[data-view=\"all\"]').click()",
    ):
        opened.run(script)
        seen.append(opened.run(SUM)[1])
    assert all(a != b for a, b in itertools.pairwise(seen))


def test_the_legend_has_labels_and_the_ranges_of_coloured_layers(opened):
    items = "[...document.querySelectorAll('[data-legend] li')].map(li => li.textContent)"
    assert opened.run(items) == [
        "femur",
        "tibia",
        "Difference: 0 to 0.30 or more (absolute difference of intensities in [0, 1])",
        "Uncertainty: 0 to 0.20 or more (half-width of the 90 % interval of intensities in [0, 1])",
    ]
    colours = "document.querySelector('.patch.scale').style.background"
    assert opened.run(colours).count("rgb(") == 5


def test_a_table_sorts_and_shows_its_case(opened):
    rows = "[...document.querySelectorAll('table tbody tr')].map(r => r.cells[2].textContent)"
    head = "document.querySelectorAll('th button')[1]"
    opened.run(f"{head}.click()")
    opened.run(f"{head}.click()")
    assert opened.run(f"{rows}.join()") == "2,~1,0"  # an estimated value sorts as a number
    assert opened.run(f"{head}.parentElement.getAttribute('aria-sort')") == "descending"
    opened.run("document.querySelector('tr [data-show=\"case-1\"]').click()")
    opened.wait(f"{STATE} === 'shown' && document.querySelector('[data-choice]').value == 'case-1'")
    assert opened.run("document.querySelector('[data-title]').textContent") == "Case <i> 1"


def test_screen_readers_get_a_name_for_every_control(opened):
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "checkbox", "combobox", "application", "Canvas", "img", "image"}
    found = [n for n in nodes if not n["ignored"] and n["role"]["value"] in roles]
    assert len(found) > 20
    named = {n["role"]["value"]: n["name"]["value"] for n in found if n["name"].get("value")}
    assert [n for n in found if not n["name"].get("value")] == []
    assert named["application"] == "Planes and 3D view of Case <i> 1"


def test_a_damaged_case_says_so(opened):
    opened.run("xr2mri.page.show('case-2')")
    opened.wait(f"{STATE} === 'failed'")
    assert "Case <i> 2 cannot be shown" in opened.run(STATUS)
    opened.problems.clear()


def test_a_print_has_no_viewer(opened):
    opened.call("Emulation.setEmulatedMedia", media="print")
    shown = "getComputedStyle(document.querySelector('.viewer')).display"
    assert opened.run(shown) == "none"
    opened.call("Emulation.setEmulatedMedia", media="")
    assert opened.run(shown) != "none"


def test_one_file_works_on_a_narrow_screen(chromium, folder):
    with chromium(390, 844) as browser:
        browser.open((folder / "one.html").as_uri())
        browser.wait(f"{STATE} === 'shown'")
        assert browser.problems == []
        assert [url.rpartition("/")[2] for url in browser.requests] == ["one.html"]
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.run(SUM)[0] > 0.1
        image = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("L"))
        assert image.shape == (844, 390) and image.std() > 20
