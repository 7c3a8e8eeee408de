"""Which knee a label map shows, whatever its codes, names, sides and number of knees."""

import numpy as np
import pytest

from xr2mri_jax.errors import InputError
from xr2mri_jax.geometry import Volume, mirror_volume
from xr2mri_jax.io.label_map import LabelMap
from xr2mri_jax.phantom.landmarks import side_of_shapes
from xr2mri_jax.phantom.tissues import CODES
from xr2mri_jax.simulation.knee_labels import knee_of_map
from xr2mri_jax.simulation.label_names import meaning
from xr2mri_jax.simulation.label_tables import TABLES
from xr2mri_jax.simulation.plausible import objection

PATELLA = (7, (-18, 34, 12), (18, 52, 42))
PATELLAR_CARTILAGE = (4, (-16, 30, 14), (16, 34, 40))
FIBULA = (8, (30, -30, -64), (44, -14, -24))


@pytest.fixture(scope="session")
def knee(knee_labels):
    """The knee of boxes with a patella, its cartilage and a fibula."""
    places = knee_labels.world(np.moveaxis(np.indices(knee_labels.shape), 0, -1))
    labels = knee_labels.array.copy()
    for code, low, high in (PATELLA, PATELLAR_CARTILAGE, FIBULA):
        labels[((places > low) & (places < high)).all(axis=-1)] = code
    return Volume(labels, knee_labels.affine)


def recoded(knee: Volume, codes: dict[str, int]) -> Volume:
    """The knee with other codes by tissue; what has none is background."""
    lookup = np.zeros(64, np.uint16)
    for name, code in codes.items():
        lookup[CODES[name]] = code
    return Volume(lookup[knee.array], knee.affine)


def by_table(name: str) -> dict[str, int]:
    aliases = {
        "tibial_cartilage": ("medial_tibial_cartilage", "lateral_tibial_cartilage"),
        "meniscus": (),
        "ignore": (),
    }
    return {
        tissue: code
        for code, named in reversed(TABLES[name].items())
        for tissue in aliases.get(named, (named,))
    }


# --- tables


@pytest.mark.parametrize("name", ["oai_zib", "oai_zib_cm", "oai_woo", "pymskt", "phantom", "ski10"])
def test_the_table_that_makes_a_knee_is_found(knee, name):
    labels = recoded(knee, by_table(name))
    found = knee_of_map(LabelMap(labels), "right")
    expected = recoded(knee, {tissue: CODES[tissue] for tissue in by_table(name)})
    bones = np.isin(expected.array, [CODES["femur"], CODES["tibia"], CODES["patella"]])
    np.testing.assert_array_equal(found.volume.array[bones], expected.array[bones])
    assert found.side == "right"
    np.testing.assert_array_equal(
        knee_of_map(LabelMap(labels), "right", name).volume.array, found.volume.array
    )


TOTALSEG = {"patella": 1, "tibia": 2, "fibula": 3}
IWOAI = {
    "femoral_cartilage": 1,
    "medial_tibial_cartilage": 2,
    "lateral_tibial_cartilage": 3,
    "patellar_cartilage": 4,
}


@pytest.mark.parametrize(
    ("codes", "known"),
    [
        (TOTALSEG, "totalseg_appendicular"),
        ({"patella": 1, "tibia": 2}, "totalseg_appendicular"),
        (IWOAI, "iwoai"),
        ({"femoral_cartilage": 1, "medial_tibial_cartilage": 2}, "dosma"),
        ({"patellar_cartilage": 1, "femoral_cartilage": 2, "femur": 3, "tibia": 4}, "iwoai"),
        ({"tibia": 1, "femoral_cartilage": 2, "femur": 3}, ""),
        ({"tibia": 5, "femur": 6}, ""),
    ],
)
def test_codes_that_would_make_no_knee_are_refused_in_one_line(knee, codes, known):
    with pytest.raises(InputError) as caught:
        knee_of_map(LabelMap(recoded(knee, codes)), "right")
    said = str(caught.value)
    assert "\n" not in said and "--table" in said and known in said


@pytest.mark.parametrize(
    ("codes", "table", "said"),
    [
        (TOTALSEG, "totalseg_appendicular", "there is no femur"),
        (TOTALSEG, "oai_zib", r"oai_zib does not fit the map: the (femoral_cartilage|femur|tibia)"),
        ({"femur": 3, "tibia": 1}, "oai_zib", "the femur does not lie above the tibia"),
        (
            {"femur": 1, "tibia": 3, "patella": 4},
            "oai_zib",
            "medial_tibial_cartilage (does not lie between|would)",
        ),
        ({"femur": 1, "tibia": 3, "fibula": 5}, "oai_woo", "patella"),
        ({"femur": 2, "tibia": 3, "femoral_cartilage": 1}, "oai_zib", "cm3|mm thick|lie"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(knee, codes, table, said):
    with pytest.raises(InputError, match=said):
        knee_of_map(LabelMap(recoded(knee, codes)), "right", table)


def test_a_knee_has_no_objection(knee):
    assert objection(knee) == ""
    assert objection(mirror_volume(knee)) == ""


WOO = {"femur": 1, "femoral_cartilage": 2, "tibia": 3, "patella": 5, "patellar_cartilage": 6}


@pytest.mark.parametrize(
    "more",
    [
        {"fibula": 7},
        {"fibula": 8},
        {"patellar_cartilage": 4, "lateral_tibial_cartilage": 7, "medial_tibial_cartilage": 8},
        {"patella": 8, "patellar_cartilage": 9},
    ],
)
def test_codes_of_lesions_that_lie_in_no_bone_are_refused(knee, more):
    """1 to 6 are bones and cartilages in several data sets; what follows differs."""
    labels = recoded(knee, WOO | more)
    for table in ("auto", "oai_woo"):
        with pytest.raises(
            InputError, match=r"the label \d would be \w+, but does not lie in the la"
        ):
            knee_of_map(LabelMap(labels), "right", table)


@pytest.mark.parametrize(
    ("bone", "lesion"), [("femur", 7), ("tibia", 8), ("patella", 9)], ids=lambda value: str(value)
)
def test_lesions_belong_to_their_bones(knee, bone, lesion):
    labels = recoded(knee, WOO)
    code = WOO[bone]
    low, high = np.percentile(np.argwhere(labels.array == code), (25, 75), axis=0).astype(int)
    inside = labels.array[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))]
    inside[inside == code] = lesion
    found = knee_of_map(LabelMap(labels), "right")
    assert found.table == "oai_woo" and found.used[lesion] == bone
    np.testing.assert_array_equal(
        found.volume.array == CODES[bone], recoded(knee, {bone: 1}).array == 1
    )


# --- names


@pytest.mark.parametrize(
    ("name", "tissue", "side"),
    [
        ("Femur", "femur", None),
        ("femur_left", "femur", "left"),
        ("Right Tibia", "tibia", "right"),
        ("R tibia bone", "tibia", "right"),
        ("DistalFemur", "femur", None),
        ("Femoral Cartilage", "femoral_cartilage", None),
        ("FemoralCartilage", "femoral_cartilage", None),
        ("femur cart.", "femoral_cartilage", None),
        ("Cartilage - tibia (medial)", "medial_tibial_cartilage", None),
        ("lateral tibial cartilage", "lateral_tibial_cartilage", None),
        ("Tibial Cartilage", "tibial_cartilage", None),
        ("patellar cart", "patellar_cartilage", None),
        ("Patella", "patella", None),
        ("Fibula", "fibula", None),
        ("Medial Meniscus", "medial_meniscus", None),
        ("meniscus_lat", "lateral_meniscus", None),
        ("menisci", "meniscus", None),
        ("FC", "femoral_cartilage", None),
        ("femoral bone lesion", "femur", None),
        ("Oberschenkelknochen", "femur", None),
        ("Knorpel Schienbein lateral", "lateral_tibial_cartilage", None),
        ("os femoris", "femur", None),
        ("Cartilago femoris", "femoral_cartilage", None),
        ("fémur droit", "femur", None),
        ("cartílago tibial medial", "medial_tibial_cartilage", None),
        ("rótula", "patella", None),
        ("Tibial plateau cartilage", "tibial_cartilage", None),
        ("meniscus plate", "meniscus", None),
        ("anterolateral meniscus", "lateral_meniscus", None),
        ("Kniescheibe", "patella", None),
    ],
)
def test_names_of_parts_of_the_knee(name, tissue, side):
    assert meaning(name) == (tissue, side)


@pytest.mark.parametrize(
    "name",
    [
        "Segment_1", "", "tumour", "femoral artery", "patellar ligament", "tibial nerve",
        "biceps femoris", "tibialis anterior", "femur screw", "popliteal vein", "liver",
    ],
)  # fmt: skip
def test_names_of_something_else(name):
    assert meaning(name) is None


SLICER = {
    7: "Femur",
    3: "Tibia",
    12: "Femoral Cartilage",
    1: "Medial Tibial Cartilage",
    9: "Tumour",
}


def test_the_files_own_names_go_before_tables(knee):
    codes = {"femur": 7, "tibia": 3, "femoral_cartilage": 12, "medial_tibial_cartilage": 1}
    codes["fibula"] = 9
    found = knee_of_map(LabelMap(recoded(knee, codes), SLICER, "the 3D Slicer header"), "right")
    assert found.table == "header"
    expected = recoded(knee, {name: CODES[name] for name in codes if name != "fibula"})
    np.testing.assert_array_equal(found.volume.array, expected.array)
    assert any("not part of the knee: Tumour" in doubt for doubt in found.doubts)
    # A table that is asked for goes before the names.
    with pytest.raises(InputError, match="found the label"):
        knee_of_map(LabelMap(recoded(knee, codes), SLICER), "right", "oai_zib")


def test_names_that_say_nothing_leave_the_tables(knee):
    labels = recoded(knee, by_table("oai_zib"))
    names = {1: "Segment_1", 2: "Segment_2", 3: "Segment_3", 4: "Segment_4"}
    assert knee_of_map(LabelMap(labels, names), "right").table == "oai_zib"


def test_names_that_are_wrong_are_refused(knee):
    labels = recoded(knee, {"femur": 1, "tibia": 2})
    with pytest.raises(InputError, match="does not lie above"):
        knee_of_map(LabelMap(labels, {1: "Tibia", 2: "Femur"}), "right")


# --- sides and two knees


def both(knee: Volume, gap_mm: float = 90.0) -> Volume:
    """The right knee and its mirror image in one map, the patient's right at larger x."""
    spacing = knee.spacing[2]
    width, between = knee.shape[2], round(gap_mm / spacing)
    array = np.zeros((*knee.shape[:2], 2 * width + between), knee.array.dtype)
    array[:, :, :width] = knee.array
    array[:, :, width + between :] = knee.array[:, :, ::-1]
    return Volume(array, knee.affine)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("table", ["oai_zib", "pymskt", "oai_woo"])
def test_of_two_knees_the_one_that_is_meant_is_cut(knee, table, turned):
    labels = both(recoded(knee, by_table(table)))
    if turned:  # columns backwards, and slices first
        affine = labels.affine @ np.diag([1.0, 1.0, -1.0, 1.0])
        affine[:3, 3] += labels.affine[:3, 2] * (labels.shape[2] - 1)
        labels = Volume(labels.array[:, :, ::-1].transpose(2, 0, 1), affine[:, [2, 0, 1, 3]])
    with pytest.raises(InputError, match="two knees, expected one: give --side"):
        knee_of_map(LabelMap(labels), None, table)
    for side in ("right", "left"):
        found = knee_of_map(LabelMap(labels), side, table)
        assert found.side == side
        assert any(f"the {side} one is used" in doubt for doubt in found.doubts)
        index = np.argwhere(found.volume.array == CODES["femur"])
        middle = found.volume.world(index)[:, 0].mean()
        assert (middle > -60) == (side == "right")
        single = (recoded(knee, by_table(table)).array > 0).sum()
        assert (found.volume.array > 0).sum() == single


def test_names_with_sides_choose_a_knee(knee):
    right = recoded(knee, {"femur": 1, "tibia": 2})
    labels = both(right)
    half = labels.shape[2] // 2
    labels.array[:, :, half:][labels.array[:, :, half:] > 0] += 10
    names = {1: "femur_right", 2: "tibia_right", 11: "femur_left", 12: "tibia_left"}
    for side, code in (("right", 1), ("left", 11)):
        found = knee_of_map(LabelMap(labels, names), side)
        assert found.used[code] == "femur"
        assert (found.volume.array > 0).sum() == (right.array > 0).sum()
    with pytest.raises(InputError, match="two knees"):
        knee_of_map(LabelMap(labels, names))
    alone = {1: "femur_right", 2: "tibia_right"}
    assert knee_of_map(LabelMap(right, alone)).side == "right"
    with pytest.raises(InputError, match="names say right knee, found --side=left"):
        knee_of_map(LabelMap(right, alone), "left")


def test_one_knee_in_pieces_is_no_pair(knee):
    """A femur whose label has a stray piece near it stays one knee."""
    labels = recoded(knee, by_table("oai_zib"))
    labels.array[:3, :20, :2] = 1
    assert knee_of_map(LabelMap(labels), "right").volume.shape == labels.shape


# --- sides by the bones' shapes


@pytest.fixture(scope="session")
def shaped(knee_labels):
    """A right knee of boxes with the differences between medial and lateral, without a fibula."""
    places = knee_labels.world(np.moveaxis(np.indices(knee_labels.shape), 0, -1))
    labels = knee_labels.array.copy()

    def box(code, low, high):
        labels[((places > low) & (places < high)).all(axis=-1)] = code

    box(0, (4, -40, 0), (40, 40, 9))  # the lateral condyle ends higher,
    box(5, (4, 20, 9), (36, 32, 30))  # and reaches further to the front
    box(0, (4, -40, -64), (40, -16, -3))  # the lateral plateau is less deep
    box(7, (-6, 34, 12), (30, 52, 42))  # the patella lies laterally
    return Volume(labels, knee_labels.affine)


EXCHANGED = {"medial_tibial_cartilage": 3, "lateral_tibial_cartilage": 2}


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("stated", [False, True])
def test_sides_that_the_bones_contradict_are_told(shaped, mirrored, exchanged, stated):
    knee = mirror_volume(shaped) if mirrored else shaped
    true, other = ("left", "right") if mirrored else ("right", "left")
    codes = by_table("pymskt") | (EXCHANGED if exchanged else {})
    side = (other if exchanged else true) if stated else None
    found = knee_of_map(LabelMap(recoded(knee, codes)), side)
    assert found.side == (other if exchanged else true)
    said = f"taken as a {other} knee, but its bones have the shapes of a {true} one"
    assert any(said in doubt for doubt in found.doubts) == exchanged
    assert len(found.doubts) == exchanged


def test_a_stated_side_is_compared_with_the_bones_of_a_map_that_tells_none(shaped):
    labels = LabelMap(recoded(shaped, by_table("oai_woo")))
    assert not knee_of_map(labels, "right").doubts
    assert "shapes of a right one" in knee_of_map(labels, "left").doubts[0]


@pytest.mark.parametrize("missing", ["femur", "tibia", "patella", None])
def test_shapes_tell_no_side_of_half_a_knee_or_an_even_one(shaped, knee, missing):
    volume = knee if missing is None else shaped
    labels = np.where(volume.array == CODES[missing], 0, volume.array) if missing else volume.array
    assert side_of_shapes(Volume(labels, volume.affine)) is None
