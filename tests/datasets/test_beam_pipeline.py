"""Tests of preparation on Apache Beam: the same records as without, failures counted."""

import csv

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax import datasets
from xr2mri_jax.datasets import beam_pipeline
from xr2mri_jax.errors import InputError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve made radiographs of six patients, one file that is none."""
    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = np.linspace(40, 200, 48)[:, None] + rng.normal(0, 8, (48, 48))
        path = root / "train" / str(number % 5) / f"{number // 2}{'LR'[number % 2]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        # Of one file, its preview in it, the report says that the larger picture is taken.
        preview = {"format": "TIFF", "save_all": True, "append_images": [image.resize((12, 12))]}
        image.save(path, **(preview if number == 5 else {}))
    (root / "val" / "0").mkdir(parents=True)
    (root / "train" / "0" / "0L.png").rename(root / "val" / "0" / "9L.png")
    (root / "train" / "1" / "77L.png").write_bytes(b"no image")
    return root


def records(builder):
    return {
        split: [dict(example) for example in builder.as_data_source(split)]
        for split in builder.info.splits
    }


def test_two_beam_workers_make_the_same_records(source, tmp_path):
    options = {"max_broken": 0.1}
    plain = datasets.prepare("knee_xray", tmp_path / "plain", source=source, options=options)
    beam = datasets.prepare(
        "knee_xray",
        tmp_path / "beam",
        source=source,
        options=options,
        beam_runner="DirectRunner",
        beam_options=["direct_num_workers=2"],
    )
    expected, found = records(plain), records(beam)
    assert {split: len(each) for split, each in found.items()} == {"train": 11, "validation": 1}
    for split, examples in expected.items():
        for first, second in zip(examples, found[split], strict=True):
            assert first.keys() == second.keys()
            for name, value in first.items():
                np.testing.assert_array_equal(value, second[name])
    with open(beam.data_path / "report.csv", newline="") as file:
        (broken,) = (row for row in csv.DictReader(file) if row["status"] == "unusable")
    assert broken["key"].endswith("77L.png")
    assert "1 of 13 files could not be used" in beam.report
    for said in (beam.report, plain.report):
        assert "12 of 13 files are used with doubts:\n" in said  # no knee is drawn in them
        assert "\n  2_right: holds 2 pictures" in said
    assert not list(beam.data_path.glob("failures*"))


def test_too_many_broken_files_leave_nothing_and_the_report_tells(source, tmp_path):
    report = tmp_path / "report.csv"
    with pytest.raises(InputError, match=r"1 of 13 files unusable, expected at most 1\.0%"):
        datasets.prepare(
            "knee_xray",
            tmp_path / "data",
            source=source,
            report=report,
            beam_runner="DirectRunner",
            beam_options=["direct_running_mode=in_memory"],
        )
    assert "77L.png" in report.read_text()
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_direct_workers_are_processes_unless_told():
    _, options = beam_pipeline.pipeline_options("DirectRunner", 3)
    found = options.get_all_options()
    assert found["direct_num_workers"] == 3
    assert found["direct_running_mode"] == "multi_processing"
    _, options = beam_pipeline.pipeline_options("DirectRunner", 3, ["direct_num_workers=5"])
    assert options.get_all_options()["direct_num_workers"] == 5


def test_unknown_runners_and_options_are_refused():
    with pytest.raises(InputError, match="--beam_runner=NoRunner"):
        beam_pipeline.pipeline_options("NoRunner", 1)
    with pytest.raises(InputError, match="--beam_options: found 'no_such_option'"):
        beam_pipeline.pipeline_options("DirectRunner", 1, ["no_such_option=1"])


def test_a_dataset_without_files_has_no_beam(tmp_path):
    with pytest.raises(InputError, match="--beam_runner: knee_phantom has no such option"):
        datasets.prepare("knee_phantom/smoke", tmp_path, beam_runner="DirectRunner")


@pytest.mark.parametrize(
    ("runner", "master"),
    [("FlinkRunner", "flink_master=HOST:8081"), ("SparkRunner", "spark_master_url=spark://H:7077")],
)
def test_options_of_the_documented_runners_are_known_to_beam(runner, master):
    workers = ["environment_type=EXTERNAL", "environment_config=HOST:50000"]
    _, options = beam_pipeline.pipeline_options(runner, 2, [master, *workers])
    name, _, value = master.partition("=")
    assert options.get_all_options()[name] == value
