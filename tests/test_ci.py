"""Tests of the scripts of continuous integration; GitHub's workflow runs the same steps."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CI = ROOT / ".ci"
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["run", *sorted(path.name for path in CI.glob("*.sh"))])
def test_scripts_parse(name):
    assert run("bash", "-n", CI / name).returncode == 0


def test_the_workflow_runs_every_step_with_every_python():
    (steps,) = re.findall(r'^STEPS="(.*)"$', (CI / "run").read_text(encoding="utf-8"), re.M)
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    version = "${{ matrix.python }}"
    wheel = f"bash .ci/check_wheel.sh {version}"
    # Its matrix is what `other_tests` is for on one machine.
    expected = [
        wheel if step == "wheel" else f"bash .ci/run {step}"
        for step in steps.split()
        if step != "other_tests"
    ]
    assert commands == expected
    assert job["env"]["XR2MRI_PYTHON"] == f"python{version}"
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]


def test_an_unknown_step_is_one_line_and_exit_2():
    done = run("bash", CI / "run", "test")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "found the step 'test'" in line and "static tests" in line


def test_skipped_tests_on_real_files_are_counted(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "SKIPPED [3] tests/conftest.py:25: XR2MRI_REAL_DATA is not set: tests are skipped\n"
        "SKIPPED [12] tests/io/test_x.py:9: the real files are not here\n"
        "SKIPPED [1] tests/tools/test_y.py:57: could not import 'torch'\n"
        "tests/conftest.py:25: XR2MRI_REAL_DATA\n"
    )
    assert run("bash", CI / "count_skipped.sh", log).stdout == "15\n"
    log.write_text("100 passed\n")
    assert run("bash", CI / "count_skipped.sh", log).stdout == "0\n"


def test_the_fixture_of_real_files_says_what_is_counted(tmp_path):
    """What pytest prints where the data are missing is what the script counts."""
    log = tmp_path / "log"
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_x.py").write_text("def test_a(real_data):\n    assert real_data\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    log.write_text(done.stdout)
    assert run("bash", CI / "count_skipped.sh", log).stdout == "1\n", done.stdout


@pytest.mark.parametrize(("most", "code", "word"), [("30", 0, "kept"), ("0.0001", 1, "BROKEN")])
def test_slow_commands_are_told(most, code, word):
    script = CI / "require_quick.py"
    done = run(sys.executable, script, f"--most={most}", "--runs=2", "--", sys.executable, "-c", "")
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(word)
    failing = run(sys.executable, script, "--most=30", "--", sys.executable, "-c", "exit(3)")
    assert failing.returncode == 3
