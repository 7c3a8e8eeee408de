"""One knee on the voxel grid: pose, seating of the bones, and tissues composited by priority."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xr2mri_jax.geometry import BOX_MM
from xr2mri_jax.phantom import bones, sdf, soft_tissue
from xr2mri_jax.phantom.mri import signal_table
from xr2mri_jax.phantom.parameters import Parameters
from xr2mri_jax.phantom.tissues import CODES, attenuation_table

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
    """Where the parts lie: the leg in the box; femur, tibia and patella in the leg."""

    leg: Frame
    femur: Frame
    tibia: Frame
    patella: Frame


class Voxels(NamedTuple):
    """What the phantom gives for every voxel of [d, h, w].

    Attributes:
      labels: u8, the tissue with the largest share (codes of `tissues.TISSUES`).
      signal: f32, DESS signal by the shares of the tissues, relative to cartilage = 1.
      attenuation: f32, linear attenuation in 1/mm by the shares.
    """

    labels: Array
    signal: Array
    attenuation: Array


def _rotation(axis: int, angle: Array) -> Array:
    """Rotation matrix by `angle` (radians) about axis 0 (x), 1 (y) or 2 (z)."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    i, j = [k for k in range(3) if k != axis]
    matrix = jnp.eye(3)
    return matrix.at[i, i].set(c).at[j, j].set(c).at[i, j].set(s).at[j, i].set(-s)


def place(p: Parameters) -> Pose:
    """Poses the leg and seats the bones on each other.

    The tibia stands so that the beam runs along its plateau, as fixed flexion intends, up to an
    error; the femur takes the rest of the flexion and is then moved and tilted until the narrowest
    distance between the bones equals each compartment's joint space; the patella is moved until it
    lies in its groove with room for the cartilages.
    """
    leg = Frame(
        _rotation(2, jnp.deg2rad(p["rotation_axial"]))
        @ _rotation(1, jnp.deg2rad(p["rotation_frontal"])),
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
        return Frame(_rotation(1, state[1]) @ flexed, jnp.array([0.0, -3.0, 0.0]) + state[0] * UP)

    def improve(_: int, state: Array) -> Array:
        distance, _notch = bones.femur(p, *frame(state).local(*points))
        error = targets - jnp.min(distance, axis=(1, 2))
        step = jnp.stack([0.5 * (error[0] + error[1]), (error[0] - error[1]) / 44.0])
        return state + 0.9 * step

    return frame(jax.lax.fori_loop(0, 6, improve, jnp.array([22.0, 0.0])))


UP = np.array([0.0, 0.0, -1.0], np.float32)


def _seat_patella(p: Parameters, femur: Frame) -> Frame:
    x, z = np.meshgrid(np.linspace(-14.0, 14.0, 7), np.linspace(-12.0, 12.0, 5))
    x, z = x.astype(np.float32), z.astype(np.float32)
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


def _cover(distance: Array, voxel: Array) -> Array:
    """Share of a voxel inside the surface at `distance` (partial volume)."""
    return jnp.clip(0.5 - distance / voxel, 0.0, 1.0)


class _Layers:
    """Composites tissues from the highest priority to the lowest, keeping only running sums."""

    def __init__(self, like: Array):
        zero = jnp.zeros_like(like)
        self.left, self.signal, self.attenuation = zero + 1.0, zero, zero
        self.best, self.label = zero, jnp.zeros(like.shape, jnp.uint8)

    def add(self, code: int, cover: Array, signal: Array, attenuation: Array) -> None:
        """Adds one tissue that takes `cover` of what is left of each voxel."""
        share = cover * self.left
        self.signal = self.signal + share * signal
        self.attenuation = self.attenuation + share * attenuation
        self.label = jnp.where(share > self.best, jnp.uint8(code), self.label)
        self.best = jnp.maximum(share, self.best)
        self.left = self.left - share

    def finish(self) -> Voxels:
        label = jnp.where(self.left > self.best, jnp.uint8(0), self.label)
        return Voxels(label, self.signal, self.attenuation)


def _slab(
    p: Parameters, pose: Pose, x: Array, y: Array, z: Array, rough: Array, grain: Array, voxel: Array
) -> Voxels:
    """Tissues of one coronal slab.

    Args:
      x, y, z: coordinates in the box over the overall size: f32[1, w], f32[], f32[h, 1].
      rough, grain: f32[h, w], smooth noise of about 10 mm and of about 2 mm, deviation about 1.
      voxel: width over which surfaces are blurred, in the same unit.
    """
    signals, mus = signal_table(), attenuation_table()
    leg = pose.leg.local(x, y, z)
    in_femur, in_tibia = pose.femur.local(*leg), pose.tibia.local(*leg)
    in_patella = pose.patella.local(*leg)
    femur, notch = bones.femur(p, *in_femur)
    tibia, depth = bones.tibia(p, *in_tibia)
    fibula, patella = bones.fibula(p, *in_tibia), bones.patella(p, *in_patella)
    wobble = 0.22 * rough
    # Without the barrier XLA fuses the shapes into every layer that reads them, many times over.
    femur, notch, tibia, depth, fibula, patella = jax.lax.optimization_barrier(
        (femur, notch, tibia, depth, fibula, patella)
    )
    layers = _Layers(femur + 0.0 * tibia)

    def plain(name: str, distance: Array, texture: Array | float = 1.0) -> None:
        code = CODES[name]
        layers.add(code, _cover(distance, voxel), signals[code] * texture, mus[code])

    medial = sdf.smooth_step(-4.0, 4.0, in_tibia[0])
    sclerosis = p["sclerosis"] * (medial * p["medial_loss"] + (1 - medial) * p["lateral_loss"])
    sclerosis = p["sclerosis"] - sclerosis
    shafts = sdf.smooth_step(24.0, 58.0, jnp.abs(leg[2]))
    _bone(layers, p, "patella", patella + wobble, 0.0 * shafts, grain, voxel, 0.0 * sclerosis)
    tibial_sclerosis = sclerosis * sdf.smooth_step(11.0, 2.0, depth)
    femoral_sclerosis = sclerosis * sdf.smooth_step(9.0, 2.0, -femur) * (in_femur[2] > 8.0)
    _bone(layers, p, "femur", femur + wobble, shafts, grain, voxel, femoral_sclerosis)
    _bone(layers, p, "tibia", tibia + wobble, shafts, grain, voxel, tibial_sclerosis)
    _bone(layers, p, "fibula", fibula + wobble, 0.6 * shafts + 0.1, grain, voxel, 0.0 * sclerosis)

    cartilage_texture = 1.0 + 0.05 * grain
    for name, distance in _cartilages(
        p, (femur, notch, tibia, depth, patella), in_femur, in_tibia, in_patella, medial
    ):
        plain(name, distance + 0.15 * rough, cartilage_texture)
    centre = tuple(pose.patella.origin)
    bands = soft_tissue.tendons(p, *leg, patella=centre)
    plain("ligament", jnp.minimum(bands, soft_tissue.cruciates(*in_tibia)))
    for name, is_medial in (("medial_meniscus", True), ("lateral_meniscus", False)):
        ring = soft_tissue.meniscus(p, in_tibia[0], in_tibia[1], depth, is_medial)
        plain(name, ring + wobble)
    plain("fluid", _fluid(p, leg, in_femur, femur, notch, centre) + 0.5 * rough)
    plain("vessel", soft_tissue.vessels(*leg))
    outer = soft_tissue.skin(p, *leg, patella=patella)
    fascia = soft_tissue.fascia(p, leg[0], leg[1], outer)
    muscle = soft_tissue.muscles(p, *leg, fascia=fascia) + 1.2 * rough
    streaks = jnp.clip(1.0 + 0.07 * grain + 0.05 * rough, 0.4, 1.6)
    plain("muscle", muscle, streaks)
    plain("fat", outer + 1.6, jnp.clip(1.0 + 0.5 * grain + 0.3 * rough, 0.3, 3.0))
    plain("skin", outer)
    return layers.finish()


def _bone(
    layers: _Layers,
    p: Parameters,
    name: str,
    distance: Array,
    shaft: Array,
    grain: Array,
    voxel: Array,
    sclerosis: Array,
) -> None:
    """Adds a bone: cortical shell (thick at the shaft) around spongy bone with texture.

    Args:
      shaft: 0 at the joint, 1 at the diaphysis: marrow opens and the shell thickens.
      sclerosis: 0 to 1, share of the marrow that has hardened.
    """
    signals, mus = signal_table(), attenuation_table()
    code, cortical = CODES[name], CODES["cortical_bone"]
    cover = _cover(distance, voxel)
    shell = p["cortex"] * (0.9 + 3.2 * shaft)
    inside = _cover(distance + shell, voxel) / jnp.maximum(cover, 1e-3)
    spongy = p["density"] * (1.0 - 0.75 * shaft) * (1.0 + 0.45 * grain)
    marrow_mu = mus[CODES["fat"]] + (mus[code] - mus[CODES["fat"]]) * jnp.maximum(spongy, 0.0)
    hard = jnp.clip(1.0 - inside + 0.5 * sclerosis * inside, 0.0, 1.0)
    marrow = signals[code] * (1.0 + 0.2 * grain)
    layers.add(
        code,
        cover,
        marrow + (signals[cortical] - marrow) * hard,
        marrow_mu + (mus[cortical] - marrow_mu) * hard,
    )


def _cartilages(
    p: Parameters, surfaces: tuple, in_femur: Point, in_tibia: Point, in_patella: Point, medial: Array
) -> list[tuple[str, Array]]:
    """Distances of the four cartilages: layers on the bones where these articulate.

    A layer of thickness t is the bone grown by t; where a weight falls to 0 it retreats under the
    bone's surface, so that no film is left. Bones come first and cut what overlaps.
    """
    femur, notch, tibia, depth, patella = surfaces
    x, y, z = in_femur
    loss = p["lateral_loss"] + (p["medial_loss"] - p["lateral_loss"]) * medial
    weight = sdf.smooth_step(-15.0, -10.0, z + 0.35 * y + 6.0 * sdf.smooth_step(-5.0, -25.0, y))
    weight *= sdf.smooth_step(36.0, 32.0, jnp.abs(x)) * sdf.smooth_step(0.5, 3.0, notch)
    thickness = p["femoral_cartilage"] * (loss + (1.0 - loss) * sdf.smooth_step(2.0, -20.0, y))
    femoral = femur - _layer(thickness, weight)
    tx, ty, _ = in_tibia
    layers = []
    for name, sign, t in (
        ("medial_tibial_cartilage", 1.0, p["medial_cartilage"] * p["medial_loss"]),
        ("lateral_tibial_cartilage", -1.0, p["lateral_cartilage"] * p["lateral_loss"]),
    ):
        r2 = ((sign * tx - 20.0) / 14.5) ** 2 + ((ty - 1.0) / 20.0) ** 2
        distance = -depth - _layer(t * jnp.clip(1.1 - 0.4 * r2, 0.0, 1.0), r2 < 1.1)
        layers.append((name, jnp.maximum(distance, tibia - 3.5)))
    px, py, pz = in_patella
    r2 = (px / 18.0) ** 2 + ((pz + 2.0) / 15.0) ** 2
    weight = sdf.smooth_step(1.05, 0.85, r2) * (py > 0.0)
    thickness = p["patellar_cartilage"] * jnp.clip(1.1 - 0.5 * r2, 0.0, 1.0)
    layers.insert(0, ("patellar_cartilage", patella - _layer(thickness, weight)))
    layers.append(("femoral_cartilage", femoral))
    return layers


def _layer(thickness: Array, weight: Array) -> Array:
    return thickness * weight - 1.5 * (1.0 - weight)


def _fluid(
    p: Parameters, leg: Point, in_femur: Point, femur: Array, notch: Array, patella: tuple
) -> Array:
    """Distance of the synovial fluid: a film around the condyles and the suprapatellar pouch."""
    x, y, z = in_femur
    weight = sdf.smooth_step(-18.0, -8.0, z + 0.2 * y) * sdf.smooth_step(38.0, 33.0, jnp.abs(x))
    weight *= sdf.smooth_step(-3.0, 2.0, notch)
    film = femur - _layer(p["femoral_cartilage"] + 0.5 + 0.3 * p["effusion"], weight)
    swell = 1.2 + 1.6 * jnp.maximum(p["effusion"], 0.0)
    pouch = sdf.ellipsoid(
        leg[0] - patella[0], leg[1] - patella[1] - 9.0, leg[2] + 55.0, 17.0, swell, 17.0
    )
    gutter = sdf.ellipsoid(jnp.abs(x) - 33.0, y + 14.0, z + 2.0, 1.0 + 0.8 * swell, 9.0, 12.0)
    return jnp.minimum(film, jnp.minimum(pouch, gutter))


def voxelise(
    p: Parameters, key: Array, shape: tuple[int, int, int]
) -> Voxels:
    """Evaluates one knee on the canonical grid, one coronal slab after the other.

    Args:
      p: from `parameters.sample`.
      key: typed key of the textures and of the roughness of surfaces.
      shape: (d, h, w) in voxels over the canonical box.
    """
    pose = place(p)
    spacing = [extent / n for extent, n in zip(BOX_MM, shape, strict=True)]
    y, z, x = (
        ((jnp.arange(n) + 0.5) * step - 0.5 * extent) / p["size"]
        for n, step, extent in zip(shape, spacing, BOX_MM, strict=True)
    )
    voxel = float(np.mean(spacing)) / p["size"]
    rough = _noise(jax.random.fold_in(key, 0), (14, 14, 14), shape)
    grain = _noise(jax.random.fold_in(key, 1), (32, 36, 72), shape)
    one_slab: Callable = lambda slab: _slab(  # noqa: E731
        p, pose, x[None, :], slab[0], z[:, None], slab[1], slab[2], voxel
    )
    return jax.lax.map(one_slab, (y, rough, grain))


def _noise(key: Array, cells: tuple[int, int, int], shape: tuple[int, int, int]) -> Array:
    """Smooth noise f32[d, h, w] with deviation about 1, the same field at every grid size."""
    field = jax.random.normal(key, cells)
    return 1.6 * jax.image.resize(field, shape, "linear")
