"""Longitudes near 180°."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from shapely import box

from processes.stereo.antimeridian import area_near, degrees_near, near


def test_longitudes_of_a_scene_lie_side_by_side():
    assert_allclose(near(np.array([179.999, -179.999]), 179.99), [179.999, 180.001])
    assert_allclose(near(np.array([179.999, -179.999]), -179.99), [-180.001, -179.999])


def test_longitudes_that_lie_well_stay_to_the_bit():
    lon = np.random.default_rng(1).uniform(-170, 170, 1000)
    assert_array_equal(near(lon, 0.0), lon)


def test_a_map_counted_to_360_is_the_same_map():
    lon, _ = degrees_near(lambda x, y: (x, y), -77.9)(np.array([282.1]), np.array([0.0]))
    assert lon == pytest.approx(-77.9)


def test_an_area_is_met_from_both_sides():
    both = box(179.9, 0, 180.0, 1).union(box(-180.0, 0, -179.9, 1))
    assert area_near(both, 179.95).intersects(box(180.02, 0.2, 180.05, 0.4))
    assert area_near(both, -179.95).intersects(box(-180.05, 0.2, -180.02, 0.4))
    assert area_near(box(1, 2, 3, 4), 2.0).equals(box(1, 2, 3, 4))
