"""Pairs from a table to the report, with a model that answers with known knees."""

import copy
import csv
import html
import json
import re

import numpy as np
import pytest
import yaml
from layered_knees import LAYER_MM, VOXEL_MM
from made_pairs import KNEES, SEEN, perfect, predictor

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs import intervals, run
from xr2mri_jax.evaluation.real_pairs.knees import first_maps, in_threads
from xr2mri_jax.evaluation.real_pairs.measure import CONTROLS, MEAN, MEAN_PREDICTION, SHUFFLED
from xr2mri_jax.evaluation.real_pairs.page import findings
from xr2mri_jax.evaluation.real_pairs.protocol import BONES, CLOSED, PROTOCOLS
from xr2mri_jax.evaluation.real_pairs.table import read_pairs
from xr2mri_jax.inference.label_prediction import LabelPrediction
from xr2mri_jax.presentation.model_and_controls import MODEL


@pytest.fixture(scope="module")
def content(report):
    return json.loads((report / "real_pairs.json").read_text())


def test_a_perfect_model_has_no_error_and_beats_every_control(content):
    assert (content["n"], content["subjects"]) == (3, 3)
    for protocol in PROTOCOLS:
        for bone in BONES:
            own = content[protocol]["values"][MODEL][bone]
            for scores in own.values():
                assert scores["assd"] < 0.15 and scores["dice"] > 0.985 and scores["nsd"] > 0.99
            for control in CONTROLS:
                gain = content[protocol]["improvement"][control][bone]["centred"]
                if control != MEAN_PREDICTION or bone != "tibia":
                    assert gain["assd"]["mean"] > 0 and gain["dice"]["mean"] > 0, control


def test_a_perfect_model_has_the_individual_shape_and_the_page_says_so(report, content):
    for bone in BONES:
        shape = content["individual_shape"][bone]
        assert shape["r"] > 0.99 and shape["ci95"][0] > 0.9
        assert shape["predicted_mm"] == pytest.approx(shape["true_mm"], rel=0.05)
    page = (report / "index.html").read_text()
    assert "Individual shape" in page and "correlate with r = +1.00" in page


def test_every_control_is_measured_with_an_interval(content):
    for protocol in PROTOCOLS:
        values, ends = content[protocol]["values"], content[protocol]["intervals"]
        assert set(values) == set(ends) == {MODEL, *CONTROLS}
        for source, bones in values.items():
            for bone in BONES:
                for alignment, scores in bones[bone].items():
                    for metric, value in scores.items():
                        low, high = ends[source][bone][alignment][metric]
                        assert low <= value <= high


def test_the_shuffled_control_is_the_mean_over_all_other_radiographs(report, content):
    """The predictions are the true knees, so that the shuffled ones are the distances of those."""
    own = content[CLOSED]["values"]
    assert own[SHUFFLED]["femur"]["centred"]["assd"] > 1
    retrieval = content["retrieval"][CLOSED]["centred"]
    between = np.mean([own[SHUFFLED][bone]["centred"]["assd"] for bone in BONES])
    assert retrieval["assd_others"] == pytest.approx(between, rel=0.01)
    assert own[MEAN]["femur"]["centred"]["assd"] < own[SHUFFLED]["femur"]["centred"]["assd"]


def test_intervals_hold_a_perfect_model(report, content):
    found = content["uncertainty"]
    for bone in BONES:
        assert found["bones"][bone]["half_width_mm"] == pytest.approx(1.0)
        for one in found["bones"][bone]["coverage"].values():
            assert one["mean"] > 0.99
    assert found["quantities"]["joint_space_medial_mm"]["coverage"]["mean"] == 1.0
    plate = found["quantities"]["tibial_lateral_thickness_mm"]
    assert (plate["low_mm"], plate["high_mm"]) == (-0.5, 0.25)
    assert "intervals: surface points femur" in (report / "index.html").read_text()


def test_the_card_has_the_figures_of_the_pairs(report, content):
    text = (report / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    (result,) = head["model-index"][0]["results"]
    (found,) = [one for one in result["metrics"] if one["name"] == "femur_assd_open_similarity"]
    assert found["value"] == content["open"]["values"][MODEL]["femur"]["similarity"]["assd"]
    assert head["xr2mri_jax"]["sha256"]["weights"] == "made"
    assert content["verdict"]["sentence"] in text
    assert "Protocol open: the surfaces themselves" in text
    for one in result["metrics"]:
        assert "_open_" in one["name"], one


def test_the_viewer_and_the_captions_have_the_open_protocol(report):
    text = (report / "index.html").read_text()
    titles = re.findall(r"<option value=\"case-\d\">([^<]*)</option>", text)
    assert len(titles) == 3 and all("open ASSD" in title for title in titles)
    buttons = re.findall(r"data-show=\"case-\d\">((?:Worst|Median|Best)[^<]*)<", text)
    assert len(buttons) == 3 and all("open ASSD" in button for button in buttons)
    assert text.count("Open ASSD centred and after similarity alignment") == 3
    with (report / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        packed = (report / "cases" / f"case-{i}.js").read_text()
        for bone in BONES:
            value = float(row[f"open_model_{bone}_similarity_assd"])
            assert f'["{bone} ASSD (mm), open, similarity", "{value:.2f}"]' in packed
        assd = [float(row[f"open_model_{bone}_similarity_assd"]) for bone in BONES]
        (title,) = (t for t in titles if t.startswith(f"{row['subject']} "))
        assert float(title.split("ASSD ")[1].split()[0]) == pytest.approx(np.mean(assd), abs=0.006)
    values = [float(title.split("ASSD ")[1].split()[0]) for title in titles]
    assert values == sorted(values, reverse=True)


def test_units_and_signs_are_uniform(report):
    text = html.unescape((report / "index.html").read_text())
    assert "correspond to the centred ones.<" in text
    assert "area (cm²)" in text and "(cm2)" not in text and "in cm2" not in text
    assert "femoral medial thickness (mm)" in text and "thickness mm" not in text
    assert "interval of true minus predicted" in text
    assert not re.search(r"(better|worse) by [-+]", text)


def test_a_model_that_is_worse_is_called_worse(content):
    worse = copy.deepcopy(content) | {"subjects": 8}
    gain = worse["open"]["improvement"][MEAN]["femur"]["similarity"]["assd"]
    gain.update(mean=-0.021, ci95=[-0.05, 0.01])
    (line,) = (
        line for line in findings(worse) if "Femur, open, similarity, against mean sh" in line
    )
    assert "ASSD worse by 0.02 mm (interval of the gain: -0.05 to +0.01 mm); no diff" in line


def test_few_subjects_are_no_evidence(content):
    lines = findings(content)
    assert any("Fewer than 8 subjects: no figure below is evidence" in line for line in lines)
    compared = [line for line in lines if "ASSD better by" in line]
    assert compared and all(line.endswith("; too few subjects for evidence.") for line in compared)


def test_the_origin_of_the_intervals_is_that_of_the_model(report, content):
    assert content["uncertainty"]["fitted"] == intervals.FITTED
    text = html.unescape((report / "index.html").read_text())
    assert intervals.FITTED in text and "fitted on simulated knees" not in text
    assert "widened to cover the development pairs" in intervals.FITTED_SHIPPED
    for said in (intervals.FITTED, intervals.FITTED_SHIPPED):
        assert "in-sample" in said


def test_the_own_knee_is_found(content):
    for protocol in PROTOCOLS:
        for seen in content["retrieval"][protocol].values():
            assert (seen["n"], seen["top1"], seen["mean_rank"]) == (3, 1.0, 1.0)
            assert seen["intervals"]["top1"] == [1.0, 1.0]


def test_joint_space_and_cartilage_are_those_of_the_made_knees(content):
    medial = content["joint_space"]["medial"]
    assert medial["true_mean"] == pytest.approx(4.5, abs=VOXEL_MM / 2)
    assert medial["r"] > 0.99 and medial["mae_mm"] < 0.2
    assert medial["mae_of_mean_mm"] > 1
    plate = content["cartilage"]["tibial_lateral"]
    assert plate["thickness_mm"]["true_mean"] == pytest.approx(LAYER_MM, abs=0.2)
    assert plate["volume_ml"]["mae"] < 0.1


def test_the_report_opens_with_the_verdict(report, content):
    assert next(iter(content)) == "verdict"
    judged = content["verdict"]
    assert "3 subjects are too few" in judged["sentence"] and judged["origin"] == "real"
    text = (report / "index.html").read_text()
    assert html.escape(judged["sentence"]) in text.split("<h2>")[0]
    bone = judged["properties"]["bone shape"]["against"]
    assert min(bone[control]["gain"] for control in bone) > 0.5
    assert judged["properties"]["joint space"]["against"]["mean"]["gain"] > 0.8


def test_ssr_kds_table_holds_the_closed_bodies(content):
    assert set(content["ssr_kd"]) == {MODEL, MEAN}
    shown = content["ssr_kd"][MEAN]["tibia"]["rigid"]
    scores = content[CLOSED]["values"][MEAN]["tibia"]["rigid"]
    assert shown == {"dsc": scores["dice"], "hd": scores["hd"], "assd": scores["assd"]}


def test_the_page_shows_every_case(report):
    text = (report / "index.html").read_text()
    images = re.findall(r"<img [^>]*src=\"data:image/([a-z]+)", text)
    assert images.count("png") == 3 and images.count("svg") == 1 + 2
    assert sorted(path.stem for path in (report / "cases").iterdir()) == [
        "case-0", "case-1", "case-2",
    ]  # fmt: skip
    assert text.index("ASSD") < text.index("Bones, closed")
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    for name, side in zip(KNEES, ("right", "left", "right"), strict=True):
        assert f"{name} {side} 00m, Kellgren-Lawrence grade" in text
    for words in ("Bones, closed", "Bones, open", "Metrics as in SSR-KD", "mean prediction"):
        assert words in text
    rows = (report / "cases.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    assert {len(row.split(",")) for row in rows} == {len(rows[0].split(","))}


def test_a_subject_can_be_left_out(table):
    kept = read_pairs(table, ["b"])
    assert [pair.subject for pair in kept] == ["a", "c", "d"]
    assert [pair.subject for pair in first_maps(kept)] == ["a", "c", "d"]
    with pytest.raises(InputError, match="--exclude_subjects: found x, expected subjects of"):
        read_pairs(table, ["x"])
    with pytest.raises(InputError, match="radiographs of 1 subject, expected two or more"):
        read_pairs(table, ["a", "b"])


def test_only_the_first_map_of_a_subject_without_radiograph_is_needed(table):
    text = table.read_text() + "d,right,96m,,a.nii.gz,\na,right,96m,,b.nii.gz,\n"
    more = table.with_name("more.csv")
    more.write_text(text)
    assert [pair.name for pair in first_maps(read_pairs(more))] == [
        "a right 00m", "b left 00m", "c right 00m", "d right 00m",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("right,00m,a.png", "middle,00m,a.png"), "left or right"),
        (("a.nii.gz,0", "a.nii.gz,7"), "a grade from 0 to 4"),
        (("b.png", "no.png"), "found 'no.png', expected a file in"),
        (("b.png", "/none/b.png"), "found '/none/b.png', expected an existing file$"),
        (("b,left,00m", "a,right,00m"), "each visit of a knee only once"),
        ((",a.nii.gz", ","), "a label map"),
    ],
)
def test_wrong_rows_are_refused(table, change, said):
    wrong = table.with_name("wrong.csv")
    wrong.write_text(table.read_text().replace(*change))
    with pytest.raises(InputError, match=said):
        read_pairs(wrong)


def test_a_map_or_a_prediction_that_is_no_knee_is_named(table, tmp_path, monkeypatch):
    def nothing(xray, side):
        return LabelPrediction(np.zeros((32, 32, 32), np.uint8), (4.0, 4.0, 4.0), SEEN)

    monkeypatch.setattr(run, "label_predictor", lambda *_: predictor(nothing))
    with pytest.raises(InputError, match=r"a\.png: in the predicted labels: found no femur"):
        run.evaluate_pairs(table, tmp_path / "out", table="pymskt")
    monkeypatch.setattr(run, "label_predictor", lambda *_: predictor(perfect))
    with pytest.raises(InputError, match=r"a\.nii\.gz: found the label 5, expected those of"):
        run.evaluate_pairs(table, tmp_path / "out", table="oai_zib")
    assert not (tmp_path / "out").exists()

    def unusable(xray, side):
        raise InputError(f"{xray}: holds 96 x 96 x 96 voxels, expected one image")

    monkeypatch.setattr(run, "label_predictor", lambda *_: predictor(unusable))
    with pytest.raises(InputError, match=r"a\.png: holds") as caught:
        run.evaluate_pairs(table, tmp_path / "out", table="pymskt")
    assert str(caught.value).count("a.png") == 1
    monkeypatch.setattr(run, "label_predictor", lambda *_: pytest.fail("already at work"))
    with pytest.raises(InputError, match="--table: found 'nosuch', expected auto"):
        run.evaluate_pairs(table, tmp_path / "out", table="nosuch")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="expected a new or empty folder"):
        run.evaluate_pairs(table, tmp_path / "full")


def test_two_evaluations_never_write_into_one_folder(table, tmp_path, monkeypatch):
    output = tmp_path / "out"
    second = []

    def interrupted(*_):
        with pytest.raises(InputError, match=rf"^{output}: is in use by an evaluation, process"):
            run.evaluate_pairs(table, output)
        second.append("refused before it loaded a model")
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "label_predictor", interrupted)
    # Twice: an interrupted evaluation leaves nothing that blocks the next one.
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run.evaluate_pairs(table, output)
        assert not list(tmp_path.iterdir())
    assert len(second) == 2


def test_threads_keep_the_order_and_pass_on_the_first_error():
    assert in_threads(lambda i: i * i, range(50), "squares", "one") == [i * i for i in range(50)]

    def fail(i):
        if i == 3:
            raise InputError("number 3")
        return i

    with pytest.raises(InputError, match="number 3"):
        in_threads(fail, range(10), "numbers", "one")
