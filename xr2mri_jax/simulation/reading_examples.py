"""Examples for reading shape: several radiographs of a simulated knee, and its shape.

The radiographs differ in pose, frame, film and signs of osteoarthritis. The shape is given in the
mean pose, beside how each radiograph shows it: its turn and place in the image. Its size in the
image is not given: a radiograph without spacing does not determine the true size, so a prediction
keeps the mean knee's.
"""

import numpy as np

from xr2mri_jax.phantom import surfaces
from xr2mri_jax.simulation import family, framing, mean_knee, poses, projection
from xr2mri_jax.simulation.atlas import Atlas
from xr2mri_jax.simulation.family_radiographs import draw_frame, draw_standing, take_radiograph
from xr2mri_jax.simulation.signs import Signs


def draw_example(
    atlas: Atlas, seed: int, index: int, films: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws knee `index` of a family, its radiographs and its shape.

    Args:
      atlas: from `atlas.build`.
      seed: names the family, 0 or more.
      index: number of the knee, 0 or more.
      films: number of radiographs.
      size: pixels of the canonical box each way.

    Returns:
      The radiographs u8[films, size, size], value / 255 in [0, 1], as `preprocess` frames real ones
      and places them in the box; the signed distances i8[k, 32, 32, 32] of
      `mean_knee.in_mean_pose`, see `surfaces.stored`; and `view_of` each frame, f64[films, 3].
    """
    rng = np.random.default_rng([seed, index])
    drawn, shapes, grade = family.draw_shapes(atlas, rng)
    bones = {name: shapes[name] for name in projection.BONES}
    images, views = [], []
    for _ in range(films):
        knee = draw_standing(bones, drawn, Signs.draw(grade, rng), rng)
        frame = draw_frame(rng)
        image = take_radiograph(atlas, knee, frame, family.FILM_PIXELS, rng)
        images.append(np.rint(np.clip(framing.canvas(image, size), 0, 1) * 255).astype(np.uint8))
        views.append(view_of(frame))
    distances = surfaces.stored(mean_knee.in_mean_pose(shapes))
    return np.stack(images), distances, np.stack(views)


def view_of(frame: framing.Frame) -> np.ndarray:
    """How the canonical box shows a knee whose frame is taken for the mean frame.

    Returns:
      f64[3]: its turn in radians, and how far it lies down and to the right in mm, see `jitter_of`.
    """
    mean = framing.Frame.mean()
    wider = frame.wide_mm / mean.wide_mm
    matrix, middle = frame.backward()
    offset = middle - wider * matrix @ np.array([0.0, *mean.middle_mm])
    turn = frame.turn - mean.turn
    shift = -(poses.rotation(0, turn).T @ offset) / wider
    return np.array([turn, shift[1], shift[2]])


def jitter_of(view: np.ndarray) -> framing.Jitter:
    """The frame error that `view_of` describes, of a frame with the mean width."""
    turn, down, right = (float(value) for value in view)
    return framing.Jitter((0.0, down, right), turn, 1.0)
