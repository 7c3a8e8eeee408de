"""Each command on a disk that takes no more: code 1, one line, what was there is kept.

The system's limit on a file's size (`ulimit -f`) stands for the full disk: every file that is
longer cannot be written, and a write that passes the limit is a short one.
"""

import resource

import pytest
from command_process import done, run

from xr2mri_jax.inference.grade_table import COLUMNS

# Bytes that a file may have: less than a table of three rows, less than any picture.
SMALL = 128


def refused(folder, *words, limit=SMALL):
    """Runs a command that writes to `folder`; returns its line. What lies there is kept."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    temporary = {"TMPDIR": str(folder.parent)}
    ended = run(*words, limits=[(resource.RLIMIT_FSIZE, limit)], environment=temporary)
    # It may follow a bar of progress in the same line.
    assert ended.returncode == 1 and ended.stderr.count("error: ") == 1, ended.stderr
    line = ended.stderr.partition("error: ")[2].splitlines()[0]
    assert "Traceback" not in ended.stderr and ".partial-" not in line
    assert str(folder) in line and "is larger than the system allows" in line
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not list(folder.rglob(".partial-*"))
    assert {path: after.get(path) for path in before} == before
    return line, {path.name for path in after.keys() - before.keys()}


def old(folder, *names):
    """Files of a run before, which a new one would replace."""
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"old {name}")
    return folder


def test_grade(xrays, tmp_path):
    folder = old(tmp_path / "o", "g.csv", "g.html")
    words = "grade", f"--xray={xrays}", f"--output={folder / 'g.csv'}"
    # The names of the columns and less than three rows.
    line, new = refused(folder, *words, limit=len(",".join(COLUMNS)) + SMALL)
    assert "g.csv.partial" in line and new == {"g.csv.partial"}
    # Rows come whole or not at all, however short a write was.
    kept = (folder / "g.csv.partial").read_text()
    assert kept.endswith("\n") and kept.startswith("file,side,probability_kl2,")


def test_predict(xrays, tmp_path):
    folder = old(tmp_path / "o", "v.nii.gz", "v.png", "v.json", "l.nii.gz", "l.json", "m/femur.stl")
    _, new = refused(
        folder,
        "predict",
        f"--xray={xrays / '0.png'}",
        f"--output={folder / 'v.nii.gz'}",
        f"--labels={folder / 'l.nii.gz'}",
        f"--meshes={folder / 'm'}",
        f"--dicom_dir={folder / 'd'}",
    )
    assert not new


def test_simulate(labels, tmp_path):
    folder = old(tmp_path / "o", "x.png", "x.json", "m.nii.gz")
    outputs = f"--xray={folder / 'x.png'}", f"--mri={folder / 'm.nii.gz'}"
    _, new = refused(folder, "simulate", f"--labels={labels}", "--side=right", *outputs)
    assert not new


def test_prepare_train_and_evaluate(data, tmp_path):
    folder = old(tmp_path / "prepared")
    words = "prepare", "--dataset=knee_phantom/smoke", f"--data_dir={folder}", "--num_workers=1"
    _, new = refused(folder, *words)
    assert "dataset_info.json" not in new

    run = old(tmp_path / "trained")
    where = f"--workdir={run}", f"--config.data.data_dir={data}"
    _, new = refused(run, "train", "--config=cae:smoke", *where)
    assert new <= {"run.json"}  # whole, and no hindrance to a run that begins anew
    done("train", "--config=cae:smoke", *where)

    folder = old(tmp_path / "evaluated", "metrics.json", "cases.csv", "index.html")
    _, new = refused(folder, "evaluate", f"--workdir={run}", f"--output={folder}")
    assert not new


@pytest.mark.parametrize("verb", ["sample"])
def test_sample(verb, tmp_path):
    folder = old(tmp_path / "o", "k.png")
    _, new = refused(folder, verb, f"--output={folder / 'k.png'}")
    assert not new
