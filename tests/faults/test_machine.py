"""Commands on a machine that lacks what they need: one line and code 2 before any work."""

import resource

import pytest
from command_process import run

COMMANDS = {
    "grade": ("--xray=knee.png", "--output=o.csv"),
    "predict": ("--xray=knee.png", "--output=o.nii.gz"),
    "train": ("--config=cae:smoke", "--workdir=o"),
    "evaluate": ("--workdir=run",),
    "prepare": ("--dataset=knee_phantom/smoke", "--data_dir=o"),
    "simulate": ("--labels=l.nii.gz", "--xray=x.png", "--mri=m.nii.gz"),
}


def refused(ended, said):
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {said}") and "expected" in line


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_device_that_is_not_here(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(
        run(verb, *COMMANDS[verb], environment={"JAX_PLATFORMS": "rocm"}),
        "JAX_PLATFORMS=rocm: JAX finds no",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["grade", "train"])
def test_too_few_addresses(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limits = [(resource.RLIMIT_AS, 1_677_721 * 1024)]
    refused(run(verb, *COMMANDS[verb], limits=limits), "ulimit -v: found 1677721 KiB")
    assert not list(tmp_path.iterdir())
