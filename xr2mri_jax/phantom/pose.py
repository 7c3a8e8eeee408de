"""Pose of the phantom: positions of leg, femur, tibia and patella, and contact of the bones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.phantom import bones
from xr2mri_jax.phantom.parameters import Parameters

Array = jax.Array
Point = tuple[Array, Array, Array]


class Frame(NamedTuple):
    """A rigid frame: local = rotation @ (outer - origin); f32[3, 3] and f32[3], (x, y, z) in mm."""

    rotation: Array
    origin: Array

    def local(self, x: Array, y: Array, z: Array) -> Point:
        """Coordinates of outer points in this frame."""
        x, y, z = x - self.origin[0], y - self.origin[1], z - self.origin[2]
        r = self.rotation
        return (
            r[0, 0] * x + r[0, 1] * y + r[0, 2] * z,
            r[1, 0] * x + r[1, 1] * y + r[1, 2] * z,
            r[2, 0] * x + r[2, 1] * y + r[2, 2] * z,
        )

    def outer(self, x: Array, y: Array, z: Array) -> Point:
        """The inverse of `local`."""
        r, o = self.rotation, self.origin
        return (
            r[0, 0] * x + r[1, 0] * y + r[2, 0] * z + o[0],
            r[0, 1] * x + r[1, 1] * y + r[2, 1] * z + o[1],
            r[0, 2] * x + r[1, 2] * y + r[2, 2] * z + o[2],
        )


class Pose(NamedTuple):
    """Positions of the parts: the leg in the box; femur, tibia and patella in the leg."""

    leg: Frame
    femur: Frame
    tibia: Frame
    patella: Frame

    def locals(self, box: Array) -> tuple[Point, Point, Point, Point]:
        """Coordinates in all four frames by one matrix product.

        The product also ends XLA's fusion, which would otherwise transform points for every shape.

        Args:
          box: f32[3, h, w], (x, y, z) in the box.

        Returns:
          (x, y, z) in the frames of leg, femur, tibia and patella, each f32[h, w].
        """
        leg = self.leg.rotation
        matrices, shifts = [leg], [-_times(leg, self.leg.origin)]
        for part in (self.femur, self.tibia, self.patella):
            matrices.append(_times(part.rotation, leg))
            shifts.append(_times(part.rotation, shifts[0] - part.origin))
        points = jnp.tensordot(jnp.concatenate(matrices), box, axes=1, precision="highest")
        x, y, z = jnp.moveaxis(
            (points + jnp.concatenate(shifts)[:, None, None]).reshape(4, 3, *box.shape[1:]), 1, 0
        )
        leg_points, femur, tibia, patella = ((x[i], y[i], z[i]) for i in range(4))
        return leg_points, femur, tibia, patella


def _times(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _rotation(axis: int, angle: Array) -> Array:
    """Rotation matrix by `angle` (radians) about axis 0 (x), 1 (y) or 2 (z)."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    one, zero = jnp.ones_like(c), jnp.zeros_like(c)
    rows = {
        0: (one, zero, zero, zero, c, s, zero, -s, c),
        1: (c, zero, s, zero, one, zero, -s, zero, c),
        2: (c, s, zero, -s, c, zero, zero, zero, one),
    }
    return jnp.stack(rows[axis]).reshape(3, 3)


def place(p: Parameters) -> Pose:
    """Poses the leg and brings the bones into contact.

    The tibia is oriented so that the beam runs along its plateau, as intended by fixed flexion, up
    to an error. The femur takes the rest of the flexion and is then moved and tilted until the
    narrowest distance between the bones equals each compartment's joint space. The patella is moved
    until it lies in its groove with room for the cartilages.
    """
    leg = Frame(
        _times(
            _rotation(2, jnp.deg2rad(p["rotation_axial"])),
            _rotation(1, jnp.deg2rad(p["rotation_frontal"])),
        ),
        jnp.stack([p["shift_x"], p["shift_y"], p["shift_z"]]),
    )
    tibial_tilt = jnp.deg2rad(p["plateau_slope"] + p["beam_error"])
    space = 0.5 * (p["medial_space"] + p["lateral_space"])
    tibia = Frame(_rotation(0, -tibial_tilt), jnp.stack([0.0 * space, 0.0 * space, 0.5 * space]))
    flexion = jnp.deg2rad(p["flexion"]) - tibial_tilt
    femur = _seat_femur(p, tibia, _rotation(0, flexion))
    return Pose(leg, femur, tibia, _seat_patella(p, femur))


def _seat_femur(p: Parameters, tibia: Frame, flexed: Array) -> Frame:
    x, y = np.meshgrid(np.array([14.0, 18.0, 22.0, 26.0]), np.linspace(-12.0, 18.0, 9))
    targets = jnp.stack([p["medial_space"], p["lateral_space"]])
    contact = []
    for sign in (1.0, -1.0):
        px, py = sign * x.astype(np.float32), y.astype(np.float32)
        contact.append(tibia.outer(px, py, bones.plateau_height(p, px, py)))
    points = tuple(jnp.stack(axis) for axis in zip(*contact, strict=True))

    def frame(state: Array) -> Frame:
        origin = jnp.stack([0.0 * state[0], 0.0 * state[0] - 3.0, -state[0]])
        return Frame(_times(_rotation(1, state[1]), flexed), origin)

    def improve(_: int, state: Array) -> Array:
        distance, _notch = bones.femur(p, *frame(state).local(*points))
        error = targets - jnp.min(distance, axis=(1, 2))
        step = jnp.stack([0.5 * (error[0] + error[1]), (error[1] - error[0]) / 44.0])
        return state + 0.9 * step

    return frame(jax.lax.fori_loop(0, 6, improve, jnp.array([22.0, 0.0])))


def _seat_patella(p: Parameters, femur: Frame) -> Frame:
    x, z = jnp.meshgrid(np.linspace(-14.0, 14.0, 7), np.linspace(-12.0, 12.0, 5))
    x, z = jnp.asarray(x, jnp.float32), jnp.asarray(z, jnp.float32)
    y = 0.62 * p["patella_thickness"] - 0.36 * jnp.sqrt(x * x + 6.0)
    target = p["patellar_cartilage"] + p["femoral_cartilage"] + 0.3
    tilt = _rotation(2, jnp.deg2rad(p["patella_tilt"]))

    def frame(forward: Array) -> Frame:
        origin = jnp.stack([p["patella_offset"], -forward, p["patella_level"]])
        return Frame(tilt, origin)

    def improve(_: int, forward: Array) -> Array:
        distance, _notch = bones.femur(p, *femur.local(*frame(forward).outer(x, y, z)))
        return forward + 0.9 * (target - jnp.min(distance))

    return frame(jax.lax.fori_loop(0, 6, improve, jnp.float32(46.0)))
