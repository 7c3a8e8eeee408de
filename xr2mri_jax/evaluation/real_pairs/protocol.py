"""How bones are compared: the part of the knee, the two kinds of surface, the alignments.

The numbers here are the protocol: everything else reads them from here.
"""

from xr2mri_jax.metrics.box import Box

BONES = ("femur", "tibia")
REACH_MM = 48.0  # bone is compared within this distance of the joint's centre along each axis
# Labels drawn by hand taper off towards the ends of a map.
MARGIN_MM = 4.0
CUBE = Box.around(REACH_MM)

# closed: both bones are cut by the same box while the joints lie on each other, and the faces of
#   the cut count; distances between border voxels. open: exact distances, without faces.
CLOSED, OPEN = "closed", "open"
PROTOCOLS = (CLOSED, OPEN)
ALIGNMENTS = ("centred", "rigid", "similarity")
METRICS = ("dice", "assd", "hd95", "hd", "nsd")

DICE_STEP_MM = 2.5  # between the points at which volumes are compared
SURFACE_POINTS = 2000  # of each surface; of the model and the mean shape all count

CONVENTION = {
    "field": f"the cube within {REACH_MM:g} mm of the joint's centre along each axis, as far as "
    f"the true map reaches, without {MARGIN_MM:g} mm at the ends of that map",
    "closed": "the default: both bones are cut by the field while the joints' centres lie on each "
    "other, and compared as closed bodies: the faces of the cut take part in the alignment and "
    "are counted; distances run between the centres of border voxels of 1 mm",
    "open": "the surfaces themselves, with sub-voxel precision: after the alignment, what both "
    "maps show of the field; where the field ends a bone has no surface, and distances run to the "
    "whole of the other surface",
    "centred": "the joints' centres (found alike in both label maps) laid on each other",
    "rigid": "each bone by itself, symmetric point-to-plane ICP, from the centred place",
    "similarity": "the same with the size free",
    "dice": f"of the volumes, at points {DICE_STEP_MM:g} mm apart",
    "assd": "mm, mean distance over both surfaces",
    "hd95": "mm, the larger one of both directions' 95th percentiles",
    "hd": "mm, the largest distance",
}
