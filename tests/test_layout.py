"""Tests that a room imports lower rooms only, and that no files import each other in a circle."""

import graphlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "xr2mri_jax"
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
GRAPH = """
import grimp, json
graph = grimp.build_graph("xr2mri_jax", cache_dir=None)
imported = {name: sorted(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
print(json.dumps(imported))
"""


def run(folder, program):
    """Python in a folder, so that the package there is the one that is found."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def lint(folder):
    """import-linter on the package in a folder, by the contracts in its pyproject.toml."""
    return run(folder, LINT)


def imports(folder):
    """From each module of the package in a folder to the modules that it imports."""
    done = run(folder, GRAPH)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def circle(imported):
    """The modules of one circle of imports, [] where there is none."""
    try:
        list(graphlib.TopologicalSorter(imported).static_order())
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def file_of(folder, name):
    path = folder / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.fixture
def copy(tmp_path):
    """A copy of the package's Python files and of the contracts."""
    shutil.copytree(
        ROOT / PACKAGE,
        tmp_path / PACKAGE,
        ignore=lambda folder, names: [
            name
            for name in names
            if name == "__pycache__" or not (name.endswith(".py") or (Path(folder) / name).is_dir())
        ],
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_rooms_import_lower_rooms_only():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "Rooms import lower rooms only KEPT" in done.stdout


@pytest.mark.parametrize(
    ("file", "planted", "told"),
    [
        (
            "geometry/volume.py",
            "from xr2mri_jax.training import config",
            "xr2mri_jax.geometry is not allowed to import xr2mri_jax.training",
        ),
        (
            "models/layers.py",
            "def later():\n    import xr2mri_jax.inference.grade",
            "xr2mri_jax.models is not allowed to import xr2mri_jax.inference",
        ),
        (
            "evaluation/run.py",
            "from xr2mri_jax.tools.benchmarks import suites",
            "xr2mri_jax.evaluation is not allowed to import xr2mri_jax.tools",
        ),
    ],
)
def test_a_planted_upward_import_is_refused(copy, file, planted, told):
    path = copy / PACKAGE / file
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{planted}\n", encoding="utf-8")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout


def test_a_room_outside_the_contract_is_refused(copy):
    (copy / PACKAGE / "helpers.py").write_text('"""A room that the contract does not name."""\n')
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "helpers" in done.stdout


def test_no_files_import_each_other_in_a_circle():
    found = imports(ROOT)
    assert len(found) > 100
    assert circle(found) == []


def test_a_planted_circle_within_a_room_is_found(copy):
    found = imports(copy)
    rooms = {name: name.split(".")[1] for name in found if name.count(".") > 1}
    importer, imported = next(
        (above, below)
        for above in sorted(rooms)
        for below in sorted(found[above])
        if rooms.get(below) == rooms[above]
    )
    path = file_of(copy, imported)
    path.write_text(f"{path.read_text(encoding='utf-8')}\nimport {importer}\n", encoding="utf-8")
    assert {importer, imported} <= set(circle(imports(copy)))
    # The contract of the rooms does not see it.
    assert lint(copy).returncode == 0
