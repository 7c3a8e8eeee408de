"""Tests of launch/predict.py as a process: files, exit codes, one line on standard error."""

import command_process
import jax
import nibabel
import numpy as np
import pytest

from xr2mri_jax import stages, workdir
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.export import OutputFiles
from xr2mri_jax.inference.many_options import ManyOptions
from xr2mri_jax.tools.fuzzing.contradictions import contradictions
from xr2mri_jax.tools.fuzzing.seeds import by_name, made_seeds
from xr2mri_jax.training import config as recipe


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A run's folder with an untrained small generator."""
    config = recipe.plain(recipe.default("generator"))
    config["model"] = {
        "cae": {
            "preset": "compact",
            "image_shape": [32, 32],
            "channels": [4, 4],
            "hidden_channels": 4,
            "blocks": 0,
        },
        "generator": {
            "volume_shape": [16, 32, 32],
            "form": "pyramid",
            "channels": [4, 4],
            "widths": [8, 8],
            "blocks": [0, 0],
        },
    }
    # Shapes alone, filled by numpy: compiling the initialisation takes longer than all else here.
    shapes, _ = jax.eval_shape(stages.make_stage(config).create, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(x.dtype), shapes)
    state = {"params": params, "ema_params": params, "model_state": {}, "step": np.asarray(3)}
    folder = tmp_path_factory.mktemp("run")
    workdir.write_config(folder, config)
    workdir.write_step(folder, 3, state, {"input": [], "record": {}}, config, 1)
    return folder


def launch(*flags):
    return command_process.run("predict", *flags)


def test_a_radiograph_becomes_a_volume(model_dir, knee_png, tmp_path):
    output = tmp_path / "new" / "volume.nii.gz"
    done = launch(
        f"--model={model_dir}",
        f"--xray={knee_png}",
        f"--output={output}",
        "--side=left",
        "--spacing=1.0",
        "--centre=63.5,63.5",
        f"--dicom_dir={tmp_path / 'new' / 'dicom'}",
    )
    assert done.returncode == 0, done.stderr
    assert "not for diagnosis" in done.stdout
    image = nibabel.load(output)
    assert image.shape == (32, 16, 32)
    assert image.header.get_zooms() == (4.0, 8.0, 4.0)
    names = sorted(path.name for path in output.parent.iterdir())
    assert names == ["dicom", "volume.json", "volume.nii.gz", "volume.png"]
    assert len(list((output.parent / "dicom").iterdir())) == 32


def refused(done, *expected):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for text in expected:
        assert text in lines[0]


def test_a_picture_without_knee_or_spacing_is_one_line_and_exit_2(model_dir, knee_png, tmp_path):
    output = tmp_path / "o.nii.gz"
    files = f"--xray={knee_png}", f"--output={output}", "--side=left"
    done = launch(f"--model={model_dir}", *files, "--force")
    refused(done, str(knee_png), "--spacing=MM")
    done = launch(f"--model={model_dir}", *files, "--spacing=1")
    refused(done, str(knee_png), "no knee was found", "upright")
    assert sorted(tmp_path.iterdir()) == [knee_png]


def test_a_folder_without_checkpoint_is_one_line_and_exit_2(knee_png, tmp_path):
    (tmp_path / "empty").mkdir()
    done = launch(
        f"--model={tmp_path / 'empty'}",
        f"--xray={knee_png}",
        f"--output={tmp_path / 'o.nii.gz'}",
        "--side=right",
        "--spacing=1",
        "--force",
    )
    refused(done, str(tmp_path / "empty"))
    assert not list(tmp_path.glob("o.*"))


@pytest.mark.parametrize(
    ("name", "what"), [("dicom explicit", "pixels cut off"), ("dicom jpeg 2000", "frame cut off")]
)
def test_a_broken_radiograph_is_one_line_and_exit_2(model_dir, tmp_path, name, what):
    changed = contradictions(by_name(made_seeds(), name))[what](np.random.default_rng(0))
    (tmp_path / "x").write_bytes(changed["x"])
    output = tmp_path / "o.nii.gz"
    done = launch(f"--model={model_dir}", f"--xray={tmp_path / 'x'}", f"--output={output}")
    refused(done, str(tmp_path / "x"), "PixelData")
    assert not output.exists()


def test_a_wrong_flag_is_one_line_and_exit_2():
    refused(launch("--model=m", "--xray=x.png", "--output=o.nii", "--side=both"), "side")
    refused(launch("--model=m", "--output=o.nii"), "--xray")
    refused(launch("--model=m", "--xray=x.png", "--output=o.nii", "--centre=9"), "--centre")
    refused(launch("--model=m", "--xray=x", "--output=o.nii", "--keep_identity"), "--dicom_dir")


@pytest.mark.parametrize("flag", ["output", "labels"])
def test_many_radiographs_into_one_file_is_one_line_and_exit_2(tmp_path, flag):
    table = tmp_path / "table.csv"
    table.write_text("file\nknee.png\n")
    flags = {"output": "volumes", flag: "one.nii.gz"}
    done = launch(f"--xray={table}", *(f"--{name}={tmp_path / to}" for name, to in flags.items()))
    assert done.returncode == 2
    assert f"--{flag}: found the file {tmp_path / 'one.nii.gz'}, with many" in done.stderr
    assert sorted(tmp_path.iterdir()) == [table]


def test_the_identity_of_many_radiographs_is_one_line_and_exit_2(tmp_path):
    done = launch(f"--xray={tmp_path}", f"--output={tmp_path / 'o'}", "--keep_identity")
    refused(done, "--keep_identity: found True with many radiographs")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("output=a.nii.gz", "meshes=a.png"), "--meshes: a.png is already another file"),
        (("output=a.nii.gz", "dicom_dir=a.json"), "--dicom_dir: a.json is already another file"),
        (("output=a.nii.gz", "page=a.json"), "--page: a.json is already another file"),
        (("output=a.nii.gz", "dicom_dir=a_uncertainty.nii.gz"), "--dicom_dir: a_uncertainty.nii"),
        (("output=a.nii.gz", "meshes=a.nii.gz/m"), "--meshes: a.nii.gz/m lies in a.nii.gz, which"),
        (("output=a.nii.gz", "meshes=d", "dicom_dir=d"), "--dicom_dir: d is already another file"),
        (("output=a.nii.gz", "meshes=d", "page=./d"), "--page: d is already another file"),
        (("output=a.nii.gz", "dicom_dir=d", "page=d"), "--page: d is already another file"),
        (
            ("output=a.nii.gz", "dicom_dir=d", "page=d/p"),
            "--page: d/p lies in d, which --dicom_dir",
        ),
        (
            ("output=a.nii.gz", "dicom_dir=d", "labels=d/l.nii"),
            "--labels: d/l.nii lies in d, which",
        ),
        (("output=p/a.nii.gz", "page=p"), "--output: p/a.nii.gz lies in p, which --page writes"),
        (("output=a.nii.gz", "page=l.html", "labels=l.html/l.nii"), "--labels: l.html/l.nii lies"),
        (("output=a.nii.gz", "labels=b.nii", "meshes=b.json"), "--meshes: b.json is already"),
        (("output=a.nii.gz", "labels=b.nii", "meshes=b_confidence.nii"), "--meshes: b_conf"),
    ],
)
def test_outputs_that_collide_are_refused_before_any_work(knee_png, tmp_path, flags, said):
    done = command_process.run(
        "predict", f"--xray={knee_png}", *(f"--{flag}" for flag in flags), folder=tmp_path
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {said}") and "expected" in line
    assert list(tmp_path.iterdir()) in ([], [knee_png])


def test_outputs_may_lie_in_the_folder_of_the_meshes(knee_png, tmp_path):
    files = OutputFiles.beside(tmp_path / "m" / "a.nii.gz", knee_png, tmp_path / "m" / "d")
    files = files.with_shapes(tmp_path / "m/l.nii", tmp_path / "m", knee_png, tmp_path / "m/p")
    assert files.meshes == tmp_path / "m" and not (tmp_path / "m").exists()


@pytest.mark.parametrize("flag", ["labels", "meshes", "page"])
@pytest.mark.parametrize("name", ["predictions.csv", "predictions.csv.partial/x"])
def test_folders_in_the_place_of_the_table_are_refused(tmp_path, flag, name):
    with pytest.raises(InputError, match=f"--{flag}: .*predictions.csv"):
        ManyOptions(tmp_path, tmp_path / "out", **{flag: tmp_path / "out" / name})
