"""Tests of launch/simulate.py as a process."""

import importlib.util
from pathlib import Path

import command_process
import pytest

REPOSITORY = Path(__file__).parents[2]


def launch(*flags):
    return command_process.run("simulate", *flags)


def test_a_map_becomes_a_pair(maps, tmp_path):
    xray, mri = tmp_path / "new" / "x.png", tmp_path / "new" / "m.nii.gz"
    done = launch(f"--labels={maps / 'b.nii'}", "--side=left", f"--xray={xray}", f"--mri={mri}")
    assert done.returncode == 0, done.stderr
    assert "added from the phantom: patella, fibula, menisci" in done.stdout
    assert "left knee, 0.4 mm per pixel" in done.stdout
    names = sorted(path.name for path in xray.parent.iterdir())
    assert names == ["m.nii.gz", "x.json", "x.png"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--labels"),
        (("--labels=absent.nii", "--xray=x.png", "--mri=m.nii"), "absent.nii: no such file"),
        (("--labels=a.nii", "--xray=x.png"), "--mri is missing"),
        (("--labels=a.nii", "--xray=x.png", "--mri=m.nii", "--output=o"), "--output"),
        (("--labels=.",), "--output is missing"),
        (("--labels=.", "--output=o", "--mri=m.nii"), "--mri"),
        (("--labels=a.nii", "--side=both"), "side"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(flags, said):
    done = launch(*flags)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line


def test_the_script_of_the_documentations_picture_imports():
    path = REPOSITORY / "docs" / "simulate_figure.py"
    spec = importlib.util.spec_from_file_location("simulate_figure", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main)
    assert path.with_name("simulate.png").stat().st_size < 300_000
