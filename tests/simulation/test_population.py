"""Tests of the measured population: draws follow its table, displacements pass through places."""

import json

import numpy as np
import pytest

from xr2mri_jax.simulation import population
from xr2mri_jax.simulation.atlas import SIZE, VOXEL_MM
from xr2mri_jax.simulation.mean_knee import MeanGenerator
from xr2mri_jax.simulation.poses import compose, measured_pose


def sampled(field, points):
    """Values f64[n] of a field on nodes, at the nearest node to points f64[n, 3] in mm."""
    nodes = field.shape[0]
    place = np.rint((points / (SIZE * VOXEL_MM) + 0.5) * nodes - 0.5).astype(int)
    return field[tuple(place.T)]


def test_draws_have_the_tables_means_and_deviations():
    group, rng = population.population(), np.random.default_rng(0)
    drawn = [group.draw(rng) for _ in range(400)]
    for part, expected in group.parted(group.mean).items():
        values = np.array([one[part] for one in drawn])
        deviation = group.parted(group.deviation)[part]
        np.testing.assert_allclose(
            (values.mean(axis=0) - expected) / deviation, 0.0, atol=0.25, err_msg=part
        )
        np.testing.assert_allclose(values.std(axis=0) / deviation, 1.0, atol=0.2, err_msg=part)


def test_without_shapes_only_sizes_poses_and_spaces_are_drawn():
    group = population.population()
    drawn = group.without_shapes().draw(np.random.default_rng(0))
    for bone in population.BONES:
        np.testing.assert_array_equal(drawn[bone], 0.0)
    np.testing.assert_array_equal(drawn["cartilage"], 1.0)
    whole = group.draw(np.random.default_rng(0))
    for part in ("size", "pose", "tracking", "space"):
        np.testing.assert_array_equal(drawn[part], whole[part])


def test_quantities_are_correlated_as_measured():
    text = population.resources.files("xr2mri_jax.simulation").joinpath(population.FILE)
    table = json.loads(text.read_text())
    group = population.read(table)
    m = len(group.names)
    measured = np.zeros((m, m))
    measured[np.triu_indices(m, 1)] = table["correlation"]
    got = group.factor @ group.factor.T
    kept = np.array([name.split(".")[0] not in population.BONES for name in group.names])
    apart = np.triu(np.outer(kept, kept), 1)
    assert np.abs(got - 0.8 * measured)[apart].max() < 0.06
    np.testing.assert_allclose(np.diag(got), 1.0)


@pytest.mark.parametrize("bone", population.BONES)
def test_a_displacement_moves_a_place_along_its_normal(bone):
    places = population.population().places[bone]
    offsets = np.full(len(places.points), 2.0)
    field = np.moveaxis(population.displacement(bone, offsets), 0, -1)
    along = np.sum(sampled(field, places.points) * places.normals, axis=1)
    assert np.median(along) == pytest.approx(2.0, abs=0.5)
    none = population.displacement(bone, np.zeros(len(places.points)))
    np.testing.assert_array_equal(none, 0.0)


def test_cartilage_is_thickened_in_its_regions_alone():
    regions = population.population().regions
    factor = population.thickening(np.full(len(regions), 1.5))
    assert np.median(sampled(factor, regions)) == pytest.approx(1.5, abs=0.1)
    assert factor[0, 0, 0] == pytest.approx(1.0, abs=0.01)


def test_a_measured_pose_takes_the_shifted_pivot_to_the_pivot():
    pivot = np.array([5.0, -20.0, 1.0])
    matrix, offset = measured_pose(np.array([0.0, 0.0, 90.0, 1.0, 2.0, 3.0]), pivot)
    np.testing.assert_allclose(matrix @ (pivot + np.arange(1, 4)) + offset, pivot, atol=1e-9)
    # A quarter of a turn about w takes d to h.
    np.testing.assert_allclose(matrix @ [1, 0, 0], [0, 1, 0], atol=1e-9)
    twice = compose((matrix, offset), (matrix, offset))
    np.testing.assert_allclose(twice[0] @ [1, 0, 0], [-1, 0, 0], atol=1e-9)


def test_the_usual_knees_numbers_are_the_means():
    rng = MeanGenerator()
    assert rng.normal(3.0, 2.0) == 3.0 and rng.normal(0, (1.0, 2.0)).tolist() == [0.0, 0.0]
    assert rng.uniform(2.0, 4.0) == 3.0 and rng.choice(5, p=[0.2] * 5) == 0
    group = population.population()
    drawn = group.draw(rng)
    np.testing.assert_array_equal(np.concatenate(list(drawn.values())), group.mean)
