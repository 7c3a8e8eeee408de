"""`xr2mri evaluate` refuses flags that it would not use, and --step reaches the model."""

import command_process
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.evaluation.real_pairs import run
from xr2mri_jax.inference import label_prediction
from xr2mri_jax.inference.knee_generator import load

PAIRS, WORKDIR = ("--pairs=pairs.csv", "--output=new"), ("--workdir=run",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PAIRS, "--split=validation"), "--split: found 'validation' with --pairs"),
        ((*PAIRS, "--views"), "--views: found True with --pairs"),
        ((*PAIRS, "--linear_probe"), "--linear_probe: found True with --pairs"),
        ((*PAIRS, "--conventions=monai"), "--conventions: found ['monai'] with --pairs"),
        ((*PAIRS, "--batch_size=2"), "--batch_size: found 2 with --pairs"),
        ((*PAIRS, "--data_dir=data"), "--data_dir: found 'data' with --pairs"),
        ((*WORKDIR, "--exclude_subjects=A"), "--exclude_subjects: found ['A'] without --pairs"),
        ((*WORKDIR, "--table=pymskt"), "--table: found 'pymskt' without --pairs"),
    ],
)
def test_a_flag_that_does_not_apply_is_named(words, said, tmp_path):
    done = command_process.run("evaluate", *words, folder=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {said}, expected it with")
    assert len(done.stderr.splitlines()) == 1


def test_the_step_reaches_the_model_of_the_pairs(tmp_path, monkeypatch):
    asked = []

    def load_model(folder, step):
        asked.append((str(folder), step))
        raise InputError("seen")

    (tmp_path / "a.png").touch()
    (tmp_path / "a.nii.gz").touch()
    rows = "".join(f"{name},right,00m,a.png,a.nii.gz,0\n" for name in "ab")
    (tmp_path / "pairs.csv").write_text(f"subject,side,visit,xray,labels,kl\n{rows}")
    monkeypatch.setattr(load, "load_model", load_model)
    with pytest.raises(InputError, match="seen"):
        run.evaluate_pairs(tmp_path / "pairs.csv", tmp_path / "new", "run", step=3)
    with pytest.raises(InputError, match=r"--step: found 3 with the packaged generator of this"):
        label_prediction.label_predictor(None, 3)
    assert asked == [("run", 3)]
