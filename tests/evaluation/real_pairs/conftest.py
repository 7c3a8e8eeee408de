"""The report of a perfect model, measured once for all tests; it doubts one of the radiographs."""

import dataclasses
from types import SimpleNamespace

import pytest
from made_pairs import DOUBT, perfect, predictor, write_table

from xr2mri_jax.evaluation.real_pairs import knees, run
from xr2mri_jax.presentation import label_figures


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """The knee of subject b is a left one."""
    return write_table(tmp_path_factory.mktemp("pairs"), left="b")


@pytest.fixture(scope="session")
def evaluated(table, tmp_path_factory):
    """The report's folder, the radiographs of its pictures and the warnings on the screen."""
    made = SimpleNamespace(
        folder=tmp_path_factory.mktemp("report") / "new", pictures=[], warnings=[]
    )
    label_case = label_figures.label_case

    def drawn(radiograph, *others):
        made.pictures.append(radiograph)
        return label_case(radiograph, *others)

    def doubtful(xray, side):
        doubts = (DOUBT,) if xray.stem == "b" else ()
        return dataclasses.replace(perfect(xray, side), doubts=doubts)

    log = SimpleNamespace(warning=lambda text, *values: made.warnings.append(text % values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "label_predictor", lambda *_: predictor(doubtful))
        patch.setattr(knees, "logging", log)
        patch.setattr(label_figures, "label_case", drawn)
        page = run.evaluate_pairs(table, made.folder, table="pymskt")
    assert page == made.folder / "index.html"
    return made


@pytest.fixture(scope="session")
def report(evaluated):
    return evaluated.folder
