"""The tissue table: codes of the public label maps, attenuation, DESS signal levels."""

import numpy as np
import pytest

from xr2mri_jax.phantom import mri
from xr2mri_jax.phantom.tissues import CODES, TISSUES, attenuation_table


def test_codes_are_those_of_the_public_label_maps_and_unique():
    cartilages = [f"{place}_cartilage" for place in ("femoral", "medial_tibial", "lateral_tibial")]
    names = [*cartilages, "patellar_cartilage", "femur", "tibia", "patella", "fibula"]
    names += ["lateral_meniscus", "medial_meniscus"]
    assert [CODES[name] for name in names] == list(range(1, 11))
    assert len(set(CODES.values())) == len(CODES)


def test_attenuation_by_hand():
    table = attenuation_table()
    assert table[CODES["background"]] == 0.0
    # NIST: mass attenuation (cm2/g) x density (g/cm3), per mm.
    assert table[CODES["cortical_bone"]] == pytest.approx(0.4242 * 1.92 / 10, rel=2e-3)
    assert table[CODES["muscle"]] == pytest.approx(0.2264 * 1.05 / 10, rel=2e-3)
    assert table[CODES["fat"]] == pytest.approx(0.2123 * 0.95 / 10, rel=2e-3)


def _steady_state(t1: float, t2: float, sequence: mri.Dess, spins: int = 1500):
    """Mean transverse magnetisation just after and before the pulse, by Bloch's equations."""
    angle = np.deg2rad(sequence.flip_deg)
    e1, e2 = np.exp(-sequence.tr_ms / t1), np.exp(-sequence.tr_ms / t2)
    c, s = np.cos(angle), np.sin(angle)
    pulse = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    rest = np.array([0.0, 0.0, 1.0 - e1])
    after, before = 0.0, 0.0
    for turn in 2 * np.pi * (np.arange(spins) + 0.5) / spins:
        ct, st = np.cos(turn), np.sin(turn)
        free = np.array([[e2 * ct, e2 * st, 0], [-e2 * st, e2 * ct, 0], [0, 0, e1]])
        m = np.linalg.solve(np.eye(3) - pulse @ free, pulse @ rest)
        n = free @ m + rest
        after, before = after + m[0] + 1j * m[1], before + n[0] + 1j * n[1]
    return abs(after) / spins, abs(before) / spins


@pytest.mark.parametrize(("t1", "t2"), [(1240.0, 37.0), (3620.0, 767.0), (371.0, 90.0)])
def test_dess_echoes_equal_bloch_simulation(t1, t2):
    sequence = mri.Dess()
    after, before = _steady_state(t1, t2, sequence)
    decay = np.exp(-sequence.te_ms / t2)
    assert mri.dess_echoes(t1, t2) == pytest.approx((after * decay, before / decay), rel=1e-3)


def test_dess_without_transverse_memory_is_spoiled_gradient_echo():
    sequence = mri.Dess(te_ms=0.0)
    e1, angle = np.exp(-16.3 / 900.0), np.deg2rad(25.0)
    spoiled = np.sin(angle) * (1 - e1) / (1 - e1 * np.cos(angle))
    fisp, psif = mri.dess_echoes(900.0, 0.1, sequence)
    assert fisp == pytest.approx(spoiled, rel=1e-6)
    assert psif == pytest.approx(0.0, abs=1e-9)


def test_signal_order_is_that_of_a_water_excited_dess():
    level = {name: float(mri.signal_table()[t.code]) for name, t in TISSUES.items()}
    assert level["femoral_cartilage"] == 1.0
    assert level["fluid"] > 2.0 > 1.0 > level["muscle"] > 0.6
    assert level["muscle"] > 2.0 * level["fat"] > 2.0 * level["femur"]
    assert level["medial_meniscus"] < 0.45 and level["ligament"] < 0.3
    assert level["cortical_bone"] < 0.02 and level["background"] == 0.0
