"""The protocol of the bone comparison: the field of view, the two kinds of surface, the alignments.

All other modules read the protocol's numbers from here.
"""

from xr2mri_jax.metrics.box import Box

BONES = ("femur", "tibia")
REACH_MM = 48.0  # bone is compared within this distance of the joint's centre along each axis
# Manual labels become incomplete towards the borders of a map.
MARGIN_MM = 4.0
CUBE = Box.around(REACH_MM)

# closed: with the joint centres aligned, both bones are cut by the same box; cut faces count and
#   distances are between border voxels. open: exact surface distances, without cut faces.
CLOSED, OPEN = "closed", "open"
PROTOCOLS = (CLOSED, OPEN)
ALIGNMENTS = ("centred", "rigid", "similarity")
METRICS = ("dice", "assd", "hd95", "hd", "nsd")

DICE_STEP_MM = 2.5  # distance between the points at which volumes are compared
# Points per surface where every prediction is compared with every true knee.
SURFACE_POINTS = 2000

CONVENTION = {
    "field": f"the cube within {REACH_MM:g} mm of the joint's centre along each axis, limited to "
    f"the true map without a margin of {MARGIN_MM:g} mm at its borders",
    "closed": "for comparison with published figures: with the joints' centres aligned, both bones "
    "are cut by the field and compared as closed bodies; the cut faces are included in the "
    "alignment and in the metrics; "
    "distances are between the centres of border voxels of 1 mm",
    "open": "the surfaces themselves, with sub-voxel precision: after the alignment, the part of "
    "the field that both maps show; a bone has no surface at the border of the field, and "
    "distances are to the whole other surface",
    "centred": "the joints' centres (found by the same method in both label maps) are aligned",
    "rigid": "each bone separately, symmetric point-to-plane ICP, starting from the centred "
    "position",
    "similarity": "the same with a free scale",
    "dice": f"Dice of the volumes, at points {DICE_STEP_MM:g} mm apart",
    "assd": "mm, mean distance over both surfaces",
    "hd95": "mm, the larger of the 95th percentiles of both directions",
    "hd": "mm, the largest distance",
}
