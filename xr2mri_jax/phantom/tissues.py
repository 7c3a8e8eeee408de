"""The tissues of the phantom: label codes, relaxation times at 3 T and X-ray attenuation.

Sources:
  T1, T2 of cartilage, muscle, fat, marrow and synovial fluid: Gold et al., "Musculoskeletal MRI at
    3.0 T: relaxation times and image contrast", AJR 183:343-351, 2004.
    Fluid: the T2 is an effective one, because diffusion and motion along the spoiling gradient
    weaken the second echo (767 ms in tubes). This T2, the proton density of cartilage, and the
    fraction of fat that water excitation reaches were set so that the signals agree with those of
    one real DESS series, see tests/phantom/test_dess_contrast.py.
  Meniscus, ligament, tendon, cortical bone, skin and blood: typical values of the ultrashort-echo
    and 3 T literature (Du et al., Magn Reson Imaging 29:470-482, 2011; Stanisz et al., Magn Reson
    Med 54:507-512, 2005); they are dark in DESS whatever the exact number.
  Linear attenuation: mass attenuation coefficients at 50 keV of ICRU-44 tissues times density,
    from NIST's tables (Hubbell and Seltzer, NISTIR 5632): cortical bone 0.4242 cm2/g x 1.92 g/cm3,
    muscle 0.2264 x 1.05, adipose 0.2123 x 0.95, water 0.2269 x 1.00. Spongy bone: 15 % cortical
    bone by volume in yellow marrow. 50 keV is about the effective energy of a 70 to 80 kVp knee
    exposure behind its filter and the leg.
"""

from typing import NamedTuple

import numpy as np


class Tissue(NamedTuple):
    """One tissue: label code, MRI and X-ray properties.

    Attributes:
      code: label in label maps, 0 to 255.
      t1_ms, t2_ms: relaxation times at 3 T, ms.
      proton_density: relative to water, in [0, 1].
      fat_fraction: share of the protons that are fat and suppressed by water excitation.
      attenuation: linear attenuation at 50 keV, 1/mm.
      bone: whether a voxel of this label is spongy bone with a cortical shell.
    """

    code: int
    t1_ms: float
    t2_ms: float
    proton_density: float
    fat_fraction: float
    attenuation: float
    bone: bool = False


_CARTILAGE = (1240.0, 37.0, 0.70, 0.0, 0.0249)
_SPONGY_BONE = (365.0, 40.0, 0.62, 0.99, 0.0293, True)
_MENISCUS = (960.0, 6.0, 0.55, 0.0, 0.0249)

# Codes 1 to 10 are those of the public knee label maps in the Osteoarthritis Initiative's geometry.
TISSUES: dict[str, Tissue] = {
    "background": Tissue(0, 1000.0, 10.0, 0.0, 0.0, 0.0),
    "femoral_cartilage": Tissue(1, *_CARTILAGE),
    "medial_tibial_cartilage": Tissue(2, *_CARTILAGE),
    "lateral_tibial_cartilage": Tissue(3, *_CARTILAGE),
    "patellar_cartilage": Tissue(4, *_CARTILAGE),
    "femur": Tissue(5, *_SPONGY_BONE),
    "tibia": Tissue(6, *_SPONGY_BONE),
    "patella": Tissue(7, *_SPONGY_BONE),
    "fibula": Tissue(8, *_SPONGY_BONE),
    "lateral_meniscus": Tissue(9, *_MENISCUS),
    "medial_meniscus": Tissue(10, *_MENISCUS),
    "muscle": Tissue(11, 1420.0, 32.0, 0.79, 0.02, 0.0238),
    "fat": Tissue(12, 371.0, 90.0, 0.90, 0.98, 0.0202),
    "skin": Tissue(13, 1100.0, 15.0, 0.60, 0.2, 0.0247),
    "ligament": Tissue(14, 700.0, 3.5, 0.45, 0.0, 0.0245),
    "fluid": Tissue(15, 3620.0, 300.0, 1.0, 0.0, 0.0228),
    "cortical_bone": Tissue(16, 250.0, 0.6, 0.20, 0.0, 0.0814),
    "vessel": Tissue(17, 1930.0, 60.0, 0.85, 0.0, 0.0240),
}

CODES: dict[str, int] = {name: tissue.code for name, tissue in TISSUES.items()}
BONE_CODES: tuple[int, ...] = tuple(t.code for t in TISSUES.values() if t.bone)


def attenuation_table() -> np.ndarray:
    """Linear attenuation by label code: f32[n], 1/mm, at 50 keV."""
    table = np.zeros(max(CODES.values()) + 1, np.float32)
    for tissue in TISSUES.values():
        table[tissue.code] = tissue.attenuation
    return table
