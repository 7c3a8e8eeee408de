"""The quantities of the anatomy table: names and meanings; see `measures.measure_knee`."""

_AREA = "cartilage_area_"
QUANTITIES = {
    "femur_epicondylar_width": "femur: epicondylar width",
    "femur_medial_condyle_depth": "femur: depth of the medial condyle",
    "femur_lateral_condyle_depth": "femur: depth of the lateral condyle",
    "femur_medial_condyle_width": "femur: width of the medial condyle",
    "femur_lateral_condyle_width": "femur: width of the lateral condyle",
    "femur_medial_posterior_radius": "femur: posterior radius, medial",
    "femur_lateral_posterior_radius": "femur: posterior radius, lateral",
    "femur_medial_distal_radius": "femur: distal radius, medial",
    "femur_lateral_distal_radius": "femur: distal radius, lateral",
    "femur_medial_condyle_behind_height": "femur: height of the rearmost medial point",
    "femur_lateral_condyle_behind_height": "femur: height of the rearmost lateral point",
    "femur_notch_medial": "femur: notch, medial wall from the middle",
    "femur_notch_lateral": "femur: notch, lateral wall from the middle",
    "femur_notch_height": "femur: notch, height of the roof",
    "femur_sulcus_angle": "femur: sulcus angle",
    "femur_trochlea_25_medial_y": "femur: trochlea, medial ridge",
    "femur_trochlea_25_lateral_y": "femur: trochlea, lateral ridge",
    "femur_trochlea_35_groove_y": "femur: trochlea, groove",
    "femur_45_back": "femur: depth behind the middle at 0.45 widths",
    "femur_45_medial": "femur: medial extent at 0.45 widths",
    "femur_45_lateral": "femur: lateral extent at 0.45 widths",
    "tibia_5_front": "tibia: front of the plateau",
    "tibia_10_back": "tibia: back of the plateau",
    "tibia_medial_back": "tibia: back of the medial plateau",
    "tibia_lateral_front": "tibia: front of the lateral plateau",
    "tibia_lateral_back": "tibia: back of the lateral plateau",
    "tibia_medial_slope": "tibia: medial slope",
    "tibia_lateral_slope": "tibia: lateral slope",
    "tibia_medial_sag": "tibia: medial sag",
    "tibia_lateral_sag": "tibia: lateral sag",
    "tibia_frontal_tilt": "tibia: frontal tilt of the plateau",
    "tibia_medial_spine_height": "tibia: height of the medial spine",
    "tibia_lateral_spine_height": "tibia: height of the lateral spine",
    "tibia_20_medial": "tibia: medial extent at 0.2 widths",
    "tibia_20_lateral": "tibia: lateral extent at 0.2 widths",
    "tibia_40_medial": "tibia: medial extent at 0.4 widths",
    "tibia_40_lateral": "tibia: lateral extent at 0.4 widths",
    "tibia_40_back": "tibia: posterior extent at 0.4 widths",
    "patella_width": "patella: width",
    "patella_height": "patella: height",
    "patella_thickness": "patella: thickness",
    "patella_facet_angle": "patella: angle of the facets",
    "patella_x": "patella: medial of the femur's middle",
    "patella_y": "patella: behind the condyles' back",
    "patella_z": "patella: below the femur's lowest point",
    "patella_tilt": "patella: tilt",
    "pose_flexion": "pose: flexion in the scan",
    "pose_axial": "pose: axial rotation in the scan",
    "pose_x": "pose: femur medial of the tibia",
    "pose_y": "pose: femur behind the tibia",
    "joint_space_medial": "joint space, medial, grades 0 and 1",
    "joint_space_lateral": "joint space, lateral, grades 0 and 1",
    "cartilage_medial_tibia_anterior": "cartilage: medial tibia, anterior",
    "cartilage_medial_tibia_central": "cartilage: medial tibia, central",
    "cartilage_medial_tibia_posterior": "cartilage: medial tibia, posterior",
    "cartilage_lateral_tibia_central": "cartilage: lateral tibia, central",
    "cartilage_lateral_tibia_posterior": "cartilage: lateral tibia, posterior",
    "cartilage_medial_femur_central": "cartilage: medial femur, central",
    "cartilage_medial_femur_posterior": "cartilage: medial femur, posterior",
    "cartilage_lateral_femur_central": "cartilage: lateral femur, central",
    "cartilage_lateral_femur_posterior": "cartilage: lateral femur, posterior",
    "cartilage_trochlea_lateral": "cartilage: trochlea, lateral",
    "cartilage_trochlea_central": "cartilage: trochlea, central",
    "cartilage_patella_lateral": "cartilage: patella, lateral",
    "cartilage_patella_central": "cartilage: patella, central",
    "cartilage_patella_medial": "cartilage: patella, medial",
    "cartilage_area_femoral_medial": "cartilage: area on the medial femur",
    "cartilage_area_femoral_lateral": "cartilage: area on the lateral femur",
    "cartilage_area_tibial_medial": "cartilage: area on the medial tibia",
    "cartilage_area_tibial_lateral": "cartilage: area on the lateral tibia",
    "cartilage_area_patellar": "cartilage: area on the patella",
}
# Words in the names of angles, including the patella's rotations and the plateau's slopes.
_ANGLES = ("angle", "slope", "tilt", "flexion", "axial", "frontal", "spin")


def area_name(plate: str) -> str:
    """The name of the area of a plate of `metrics.joint.PLATES`."""
    return f"{_AREA}{plate}"


def is_area(name: str) -> bool:
    """Whether a quantity is in square centimetres."""
    return name.startswith(_AREA)


def is_angle(name: str) -> bool:
    """Whether a quantity is in degrees."""
    return name.endswith(_ANGLES)
