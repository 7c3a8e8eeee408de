"""The benchmark of unlike images: the limit, the counts and the table, with known distances."""

import numpy as np
import pytest
from PIL import Image

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Radiograph
from xr2mri_jax.tools.benchmarks import unlikeness


@pytest.fixture
def real(tmp_path):
    """40 crops whose level is their number."""
    folder = tmp_path / "knee_xray_kl" / "val" / "0"
    folder.mkdir(parents=True)
    for number in range(40):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number:02d}R.png")
    return tmp_path


def _distance(radiograph, grader, network):
    level = float(np.mean(radiograph.array))
    return None if level > 230 else (level, level > 30)


def test_counts_follow_from_the_distances(real, monkeypatch):
    films = [(None, Radiograph(np.full((4, 4), value))) for value in (5.0, 35.0, 240.0)]
    views = [Radiograph(np.full((4, 4), 90.0))] * 9
    monkeypatch.setattr(unlikeness, "_distance", _distance)
    monkeypatch.setattr(unlikeness, "load_grader", lambda model: None)
    monkeypatch.setattr(unlikeness, "Network", lambda grader, size: None)
    monkeypatch.setattr(unlikeness, "films", lambda count: iter(films[:count]))
    monkeypatch.setattr(
        unlikeness, "lateral_views",
        lambda seed, count, rng: [type("View", (), {"image": v.array}) for v in views[: 3 * count]],
    )  # fmt: skip
    monkeypatch.setattr(
        unlikeness, "strange_films", lambda: {"blank": Radiograph(np.zeros((4, 4)))}
    )
    report = unlikeness.run(real, 3, 40)
    # Every second crop sets the limit: 0, 2, ..., 38.
    assert report["limit"] == pytest.approx(np.quantile(np.arange(0, 40, 2), 0.95))
    assert report["real"] == {"n": 20, "refused": 0, "above": 2, "told": 2, "inverted": 3}
    kinds = report["kinds"]
    assert kinds["wrong polarity"]["above"] + kinds["wrong polarity"]["refused"] == 20
    assert kinds["upside down"] == kinds["on its side"] == report["real"]
    assert kinds["frontal phantom"] == {"n": 3, "refused": 1, "above": 0, "told": 1, "inverted": 1}
    assert kinds["side view (phantom)"]["told"] == 3
    text = unlikeness.table(report)
    assert "frontal phantom: 1 of 3 detected (33.3%): 1 refused, 0 above" in text
    assert "other part (real)" not in kinds


def test_crops_are_needed(tmp_path):
    with pytest.raises(InputError, match="--real is missing"):
        unlikeness.run(None, 3, 40)
    with pytest.raises(InputError, match="expected real crops"):
        unlikeness.run(tmp_path, 3, 40)
