"""Doubtful and left knees of real pairs, and where their page may be written."""

import base64
import gzip
import json

import numpy as np
import pytest
from made_pairs import DOUBT, SEEN

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs import run
from xr2mri_jax.phantom.tissues import CODES


def test_doubts_are_on_screen_in_the_record_and_on_the_page_with_the_name_of_their_pair(evaluated):
    line = f"b left 00m: {DOUBT}"
    assert evaluated.warnings == [line]
    content = json.loads((evaluated.folder / "real_pairs.json").read_text())
    assert content["evaluated"]["doubts"] == [line]
    text = (evaluated.folder / "index.html").read_text()
    assert text.split("<h2>")[0].count(f"Doubt: {line}.") == 1 == text.count(line)
    assert f"- Doubt: {line}." in (evaluated.folder / "README.md").read_text()


def test_the_pictures_show_the_radiograph_that_the_model_saw(evaluated):
    assert len(evaluated.pictures) == 3
    assert all((one == SEEN).all() for one in evaluated.pictures)
    assert (evaluated.folder / "index.html").read_text().count("is the model&#39;s input") == 3


def test_the_viewer_shows_a_left_knee_as_it_lies_in_the_patient(evaluated):
    """So that its letters R and L are those of the patient."""
    for i, sign in enumerate((1, -1, 1)):  # +x is the patient's right; b is a left knee
        text = (evaluated.folder / "cases" / f"case-{i}.js").read_text()
        content = json.loads(text[text.index("{") : text.rindex("}") + 1])
        for layer in content["layers"]:
            codes = np.frombuffer(gzip.decompress(base64.b64decode(layer["data"])), np.uint8)
            codes = codes.reshape(layer["shape"], order="F")
            affine = np.array(layer["affine"])
            lateral = np.argwhere(codes == CODES["lateral_tibial_cartilage"]).mean(axis=0)
            assert sign * (affine[0, :3] @ lateral + affine[0, 3]) > 10


def test_a_page_that_would_fail_or_overwrite_an_input_is_refused_before_any_work(
    table, tmp_path, monkeypatch
):
    monkeypatch.setattr(run, "label_predictor", lambda *_: pytest.fail("already at work"))
    output, linked = tmp_path / "new", tmp_path / "linked.html"
    linked.symlink_to(table.with_name("a.png"))
    for page, said in (
        (output / "report.html", r"--page: .*report\.html lies in .*new, which --output writes"),
        (table, r"--page: found .*pairs\.csv, expected a name ending in \.html"),
        (linked, r"--page: .*linked\.html would overwrite .*a\.png, expected another name"),
    ):
        with pytest.raises(InputError, match=said):
            run.evaluate_pairs(table, output, table="pymskt", single=page)
    assert not output.exists()
