"""The command `xr2mri`: help, version, verbs, recipes by name, completion."""

import subprocess
import sys
import time
from pathlib import Path

import command_process
import pytest

from xr2mri_jax import __main__ as front_door
from xr2mri_jax import __version__
from xr2mri_jax.commands import completion
from xr2mri_jax.errors import InputError
from xr2mri_jax.training import recipes

ROOT = Path(__file__).parents[2]


def xr2mri(*words, folder=ROOT):
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "xr2mri_jax", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_is_quick_and_names_every_verb():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = xr2mri("--help")
        times.append(time.perf_counter() - start)
    assert done.returncode == 0
    for verb in front_door.VERBS:
        assert f"\n  {verb} " in done.stdout and f"xr2mri {verb} " in done.stdout
    imported = xr2mri("--version")
    assert imported.stdout.strip() == f"xr2mri_jax {__version__}"
    probe = "import sys; from xr2mri_jax import __main__ as m; m.main(['--help']); "
    probe += "print('jax' in sys.modules, 'absl' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("False False False")
    assert min(times) < 1.0  # a tenth of a second on an idle machine


@pytest.mark.parametrize("verb", sorted(set(front_door.VERBS) - {"completion"}))
def test_every_verb_has_help_with_an_example(verb):
    done = command_process.run(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert f"xr2mri {verb} --" in done.stdout and f"xr2mri_jax.commands.{verb}:" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predct"], "error: unknown verb 'predct': did you mean predict?"),
        (["x"], "error: unknown verb 'x': expected one of sample, predict"),
        (["completion"], "error: completion: found nothing, expected one of bash, zsh, fish"),
        (["grade", "--xrai=a"], "error: Unknown command line flag 'xrai'"),
        (["grade", "a.png"], "error: unexpected argument 'a.png'"),
        (["sample", "--output=knee.jpg"], "error: --output: found knee.jpg"),
    ],
)
def test_wrong_words_are_one_line_and_code_2(words, said, tmp_path):
    done = xr2mri(*words, folder=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(said), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_sample_is_a_picture(tmp_path):
    assert xr2mri("sample", "--output=knee.png", folder=tmp_path).returncode == 0
    assert (tmp_path / "knee.png").read_bytes()[:4] == b"\x89PNG"


def test_a_sample_below_a_file_is_wrong_input(tmp_path):
    (tmp_path / "file").write_text("kept")
    done = xr2mri("sample", "--output=file/knee.png", folder=tmp_path)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: --output: the folder file cannot be written to")
    assert (tmp_path / "file").read_text() == "kept"


def test_recipes_are_found_by_name_and_by_file(tmp_path):
    assert recipes.resolve("cae:smoke") == f"{recipes.folder() / 'cae.py'}:smoke"
    own = tmp_path / "my.py"
    own.write_text((recipes.folder() / "cae.py").read_text())
    assert recipes.resolve(f"{own}:smoke") == f"{own}:smoke"
    assert recipes.load(f"{own}:smoke") == recipes.load("cae:smoke")
    assert recipes.load("cae:smoke").steps == 4
    with pytest.raises(InputError, match=r"no such file and no such recipe, .* cae, generator"):
        recipes.resolve("none:smoke")


def test_completion_offers_verbs_and_flags():
    words = {"grade": ["--xray", "--output"], "completion": ["bash"]}
    script = completion.script("bash", words) + (
        "\nCOMP_WORDS=(xr2mri gr); COMP_CWORD=1; _xr2mri; echo ${COMPREPLY[@]}"
        "\nCOMP_WORDS=(xr2mri grade --x); COMP_CWORD=2; _xr2mri; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["grade", "--xray"]
    assert "complete -c xr2mri" in completion.script("fish", words)
    assert "bashcompinit" in completion.script("zsh", words)
    done = xr2mri("completion", "bash")
    assert "--gradcam_dir" in done.stdout and "--local_processes" in done.stdout
