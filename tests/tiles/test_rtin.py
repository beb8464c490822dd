"""Triangles over a height grid: as few as the error allows, without a gap, up to every void."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tiles.rtin import errors, surface

ALL = np.ones((33, 33), bool)


def hills(size=33, seed=1):
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[0:size, 0:size] / size
    z = np.zeros((size, size))
    for _ in range(6):
        a, b, phase = rng.uniform(1, 9, 3)
        z += rng.uniform(0, 3) * np.sin(a * row + b * col + phase)
    return z


def drawn(found, size):
    """Return heights of the triangles at every sample, by drawing each, and how often each cell."""
    z = np.full((size, size), np.nan)
    area = 0.0
    for a, b, c in found.triangles:
        rows, cols = found.rows[[a, b, c]], found.cols[[a, b, c]]
        heights = found.heights[rows, cols]
        matrix = np.array([rows, cols, np.ones(3)], float)
        area += abs(np.linalg.det(matrix)) / 2
        r, k = np.mgrid[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
        weights = np.linalg.solve(matrix, np.array([r.ravel(), k.ravel(), np.ones(r.size)]))
        inside = (weights > -1e-9).all(axis=0)
        z[r.ravel()[inside], k.ravel()[inside]] = (heights @ weights)[inside]
    return z, area


@pytest.mark.parametrize("most_m", [0.0, 0.05, 0.3, 2.0])
def test_the_triangles_cover_the_square_and_are_what_they_say(most_m):
    z = hills()
    found = surface(z, ALL, most_m)
    shape, area = drawn(found, 33)
    assert area == pytest.approx(32 * 32)
    np.testing.assert_allclose(shape, found.heights, atol=1e-9)
    np.testing.assert_array_equal(found.heights[found.rows, found.cols], z[found.rows, found.cols])


def test_more_error_needs_fewer_triangles():
    count = [len(surface(hills(), ALL, most).triangles) for most in (0.0, 0.02, 0.1, 0.5, 9.0)]
    assert count == sorted(count, reverse=True)
    assert count[0] == 2 * 32 * 32
    assert count[-1] == 2


def test_a_plane_is_two_triangles():
    row, col = np.mgrid[0:33, 0:33]
    assert len(surface(0.3 * row - 0.7 * col, ALL, 1e-9).triangles) == 2


def test_triangles_turn_anticlockwise_seen_from_above():
    found = surface(hills(), ALL, 0.1)
    x, y = found.cols[found.triangles], -found.rows[found.triangles]
    turn = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    assert (turn > 0).all()


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(float, (17, 17), elements=st.floats(-50, 50)), st.floats(0, 20))
def test_neighbours_share_their_corners(z, most_m):
    """Law: an edge is one triangle's on the border and two triangles' elsewhere: no gap."""
    found = surface(z, np.ones((17, 17), bool), most_m)
    edges: dict[tuple[int, int], int] = {}
    for a, b, c in found.triangles.tolist():
        for edge in ((a, b), (b, c), (c, a)):
            key = (min(edge), max(edge))
            edges[key] = edges.get(key, 0) + 1
    for (a, b), count in edges.items():
        along = [(axis[a] == axis[b]) and axis[a] in (0, 16) for axis in (found.rows, found.cols)]
        assert count == (1 if any(along) else 2)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(bool, (17, 17)), st.floats(0, 3))
def test_triangles_end_where_the_known_part_does(known, most_m):
    """Law: no triangle covers an unknown sample, and every known cell is covered."""
    found = surface(hills(17), known, most_m)
    shape, area = drawn(found, 17) if len(found.triangles) else (np.full((17, 17), np.nan), 0)
    assert not (np.isfinite(shape) & ~known).any()
    whole = known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:]
    assert area > whole.sum() - 1e-6


def test_the_error_of_a_middle_is_not_below_that_of_what_hangs_on_it():
    z = np.zeros((33, 33))
    z[5, 5] = 1.0  # the smallest kind of middle, beside the border of many larger ones
    error = errors(z, ALL)
    assert error[16, 16] >= 1.0
    assert len(surface(z, ALL, 0.5).triangles) > 2
