"""The phantom as a TFDS dataset: prepared once, read back, kept apart by subject."""

import sys
from pathlib import Path

import command_process
import numpy as np
import pytest

from xr2mri_jax import datasets
from xr2mri_jax.datasets.knee_phantom.knee_phantom_dataset_builder import Builder
from xr2mri_jax.errors import InputError
from xr2mri_jax.phantom.case import simulate_case


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    datasets.prepare("knee_phantom/smoke", folder, num_workers=2)
    return folder


def _examples(builder, split: str) -> list[dict]:
    source = builder.as_data_source(split=split)
    return [source[i] for i in range(len(source))]


def test_splits_made_by_other_processes_equal_ours_and_subjects_are_disjoint(data_dir):
    builder = datasets.load_builder("knee_phantom/smoke", data_dir)
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sizes == {"train": 16, "validation": 8, "test": 8}
    subjects: dict[str, set] = {}
    stored: dict[tuple, dict] = {}
    for split in sizes:
        for example in _examples(builder, split):
            name = example["subject"]
            name = name.decode() if isinstance(name, bytes) else str(name)
            subjects.setdefault(split, set()).add(name)
            stored[name, int(example["side"])] = example
    assert sum(len(found) for found in subjects.values()) == 16
    assert len(set.union(*subjects.values())) == len(stored) // 2 == 16
    for index in (0, 17, 31):
        case = simulate_case(0, index, (16, 32, 32))
        example = stored[case["subject"], case["side"]]
        assert set(example) == set(case)
        for name in ("xray", "mri", "mask", "labels", "spacing", "kl"):
            np.testing.assert_array_equal(example[name], case[name])
            if name != "kl":
                assert example[name].dtype == case[name].dtype


def test_prepared_dataset_is_left_alone(data_dir):
    files = sorted((data_dir / "knee_phantom").rglob("*array_record*"))
    times = [path.stat().st_mtime_ns for path in files]
    datasets.prepare("knee_phantom/smoke", data_dir)
    assert times and times == [path.stat().st_mtime_ns for path in files]


def test_quickstart_is_small_and_configs_are_named():
    names = {c.name: c for c in Builder.BUILDER_CONFIGS}
    assert set(names) == {"default", "quickstart", "smoke"}
    assert names["default"].volume_shape == (64, 128, 128)
    assert 2 * sum(names["quickstart"].subjects) < 1000


def test_unknown_names_raise_and_name_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"'knee_fantom'.*knee_phantom"):
        datasets.load_builder("knee_fantom", tmp_path)
    with pytest.raises(InputError, match=r"knee_phantom/huge.*knee_phantom/quickstart"):
        datasets.prepare("knee_phantom/huge", tmp_path)


def test_not_prepared_raises_with_the_command(tmp_path):
    command = "launch/prepare.py --dataset=knee_phantom/smoke --data_dir="
    with pytest.raises(InputError, match=command):
        datasets.load_builder("knee_phantom/smoke", tmp_path)


def test_data_dir_that_cannot_be_written_raises(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(InputError, match="expected one"):
        datasets.prepare("knee_phantom/smoke", blocker / "data")


def test_no_workers_raise(tmp_path):
    with pytest.raises(InputError, match="num_workers: found 0"):
        datasets.prepare("knee_phantom/smoke", tmp_path, num_workers=0)


def test_interrupted_preparation_leaves_nothing_and_leftovers_go(tmp_path, monkeypatch):
    builder = datasets.make_builder("knee_phantom/smoke", tmp_path)
    place = Path(builder.data_dir)
    leftover = place.parent / f"incomplete.ABC123_{place.name}"
    leftover.mkdir(parents=True)
    (leftover / "half.array_record").write_bytes(b"half")

    def interrupted(*_):
        yield 0, simulate_case(0, 0, (16, 32, 32))
        raise KeyboardInterrupt

    module = sys.modules[Builder.__module__]
    monkeypatch.setattr(module, "simulate_cases", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.prepare("knee_phantom/smoke", tmp_path)
    assert list(place.parent.iterdir()) == []
    with pytest.raises(InputError, match="found no prepared dataset"):
        datasets.load_builder("knee_phantom/smoke", tmp_path)


def test_command_line_says_what_is_wrong(tmp_path):
    for arguments, expected in (
        (["--dataset=knee_fantom", f"--data_dir={tmp_path}"], "expected one of knee_phantom"),
        (["--dataset=knee_phantom/smoke"], "--data_dir is missing"),
        (
            ["--dataset=knee_phantom/smoke", f"--data_dir={tmp_path}", "--sequence=dess"],
            "--sequence: knee_phantom has no such option",
        ),
        (
            ["--dataset=knee_pairs/smoke", f"--data_dir={tmp_path}", "--split_shares=train"],
            "--split_shares: found train, expected",
        ),
        (
            ["--dataset=knee_pairs/smoke", f"--data_dir={tmp_path}", "--source=/no/such"],
            "--source: found no folder with files at /no/such",
        ),
    ):
        done = command_process.run("prepare", *arguments)
        assert done.returncode == 2
        assert expected in done.stderr.strip().splitlines()[-1]
