"""Charts are SVGs and images of cases PNGs, whatever the intervals, counts and values."""

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.presentation import figures


def _pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def _svg(content):
    root = ElementTree.fromstring(content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return root


def _first_width(content, colour):
    """Width of the first shape that is filled with a colour, in points."""
    paths = _svg(content).iterfind(".//{*}path")
    filled = [path.get("d") for path in paths if f"fill: {colour}" in (path.get("style") or "")]
    corners = [[float(x) for x in re.findall(r"[ML] ([-0-9.]+)", path)] for path in filled]
    return max(corners[0]) - min(corners[0])


def test_bars_are_as_long_as_their_means():
    def found(mean, interval):
        return {"psnr": {"mean": mean, "ci95": interval}, "mae": {"mean": 0.1, "ci95": None}}

    sources = {"model": found(20.0, [19.0, 21.0]), "mean_volume": found(10.0, None)}
    drawn = figures.bars(sources)
    assert drawn == figures.bars(sources)
    length = [_first_width(drawn, colour) for colour in ("#0b6e99", "#a8b2bd")]
    assert length[0] / length[1] == pytest.approx(2.0, abs=0.01)


def test_the_label_of_a_bar_lies_beyond_its_interval():
    bare = {"mean": 0.1, "ci95": None}
    drawn = figures.bars({"model": {"psnr": {"mean": 20.0, "ci95": [19.0, 21.0]}, "mae": bare}})
    (label,) = (text for text in _svg(drawn).iterfind(".//{*}text") if text.text == "20.00")
    assert "text-anchor: start" in label.get("style")
    lines = [path for path in _svg(drawn).iterfind(".//{*}path") if path.get("style")]
    ends = [
        max(float(x) for x in re.findall(r"[ML] ([-0-9.]+)", path.get("d")))
        for path in lines
        if "stroke-width: 1.6" in path.get("style")
    ]
    assert len(ends) == 1
    assert float(label.get("x")) == pytest.approx(ends[0] + 6, abs=0.5)


@pytest.mark.parametrize("ranks", [[1], [1, 2, 2], list(range(1, 200))])
def test_rank_histogram(ranks):
    drawn = figures.ranks(ranks)
    assert _svg(drawn).get("viewBox").split()[2] == "756"
    assert b">rank of the own knee among all (1 is best)</text>" in drawn
    texts = {text.text: text for text in _svg(drawn).iterfind(".//{*}text")}
    assert any(name.isdecimal() for name in texts)
    assert not any("." in name for name in texts)  # ranks and cases are whole numbers
    bars = [
        float(y)
        for path in _svg(drawn).iterfind(".//{*}path")
        if "clip-path" in path.attrib
        for y in re.findall(r"[ML] [-0-9.]+ ([-0-9.]+)", path.get("d"))
    ]
    assert float(texts["the model"].get("y")) < min(bars)  # the legend lies above them


def test_case_shows_real_predicted_and_difference():
    rng = np.random.default_rng(0)
    real = rng.random((6, 8, 10), dtype=np.float32)
    same = _pixels(figures.volume_case(real[0], real, real)).astype(int)
    other = _pixels(figures.volume_case(real[0], real, 1 - real)).astype(int)
    assert same.shape == other.shape
    bottom = slice(2 * same.shape[0] // 3 + 20, None)
    assert same[bottom, same.shape[1] // 3 :].max() < 30
    assert other[bottom].max() > 200


def test_radiographs_side_by_side():
    images = {"radiograph": np.zeros((5, 5)), "reconstruction": np.ones((5, 5))}
    pixels = _pixels(figures.radiograph_case(images))
    half = pixels.shape[1] // 2
    assert pixels[half // 2 :, half:].mean() > pixels[half // 2 :, :half].mean() + 100
