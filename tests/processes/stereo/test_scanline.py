"""Filling polygons, against asking each cell."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from shapely import contains_xy
from shapely.geometry import Polygon

from processes.stereo.scanline import filled

SHAPE = (23, 31)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_cells_are_those_that_the_polygon_contains(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
    reach = rng.uniform(2, 22, 9)
    star = Polygon(np.stack([11 + reach * np.sin(angle), 15 + reach * np.cos(angle)], axis=1))
    shape = star.buffer(0).difference(Polygon([(8.3, 9.1), (8.2, 17.4), (13.7, 12.2)]))
    parts = [part for part in getattr(shape, "geoms", [shape]) if isinstance(part, Polygon)]
    rings = [np.array(ring.coords) for p in parts for ring in (p.exterior, *p.interiors)]
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    assert_array_equal(filled(rings, SHAPE), contains_xy(shape, row, col))


def test_nothing_is_inside_of_no_ring():
    assert not filled([], SHAPE).any()
