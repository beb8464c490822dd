"""The membrane obeys its laws: exact on planes, between its neighbours, unchanged where known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processes.terrain.fill import fill
from processes.terrain.smooth import local_planes
from processes.terrain.span import spanned


def holed(shape=(90, 110), seed=0):
    """Return a mask with a wide hole inside and many small ones."""
    holes = np.random.default_rng(seed).random(shape) < 0.3
    holes[20:70, 30:95] = True
    holes[[0, -1]] = holes[:, [0, -1]] = False
    return holes


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-4000, 4000))
@settings(max_examples=15, deadline=None)
def test_a_plane_is_filled_exactly(drow, dcol, level):
    row, col = np.mgrid[:90, :110]
    plane = (drow * row + dcol * col + level).astype(np.float32)
    filled = fill(np.where(holed(), np.nan, plane))
    assert np.abs(filled - plane).max() < 0.01 + 1e-4 * np.ptp(plane)


def test_every_filled_cell_is_the_mean_of_its_neighbours():
    heights = np.random.default_rng(2).normal(0, 5, (90, 110)).astype(np.float32)
    filled = fill(np.where(holed(), np.nan, heights)).astype(float)
    mean = (filled[:-2, 1:-1] + filled[2:, 1:-1] + filled[1:-1, :-2] + filled[1:-1, 2:]) / 4
    inside = holed()[1:-1, 1:-1]
    assert np.abs(filled[1:-1, 1:-1] - mean)[inside].max() < 0.01
    assert filled.min() >= heights[~holed()].min()
    assert filled.max() <= heights[~holed()].max()


def test_known_cells_are_not_touched():
    heights = np.random.default_rng(3).normal(100, 5, (33, 47)).astype(np.float32)
    heights[5:9, 6:40] = np.nan
    known = np.isfinite(heights)
    np.testing.assert_array_equal(fill(heights)[known], heights[known])


@pytest.mark.parametrize("seed", range(40))
def test_no_filled_cell_is_beyond_what_is_known(seed):
    """Full steps of the coarse corrections overshot beside odd rims, and grew without end."""
    rng = np.random.default_rng(seed)
    heights = rng.normal(size=rng.integers(2, 60, 2)).astype(np.float32)
    heights[rng.random(heights.shape) < rng.choice([0.1, 0.5, 0.9, 0.99])] = np.nan
    heights[:, heights.shape[1] // 2 :] = np.nan
    heights[0, 0] = 0
    assert np.abs(fill(heights)).max() <= np.nanmax(np.abs(heights)) + 0.01


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 3), (5, 5), (64, 3)])
def test_small_and_narrow_arrays(shape):
    heights = np.full(shape, np.nan, np.float32)
    assert np.isnan(fill(heights)).all()
    heights[0, 0] = 7
    np.testing.assert_allclose(fill(heights), 7, atol=1e-3)


def test_the_span_goes_on_with_the_slope_beyond_the_last_ground():
    row, col = np.mgrid[:300, :300]
    plane = (0.2 * row + 0.1 * col).astype(np.float32)
    seen = np.where((row < 220) & (col > 60), plane, np.nan).astype(np.float32)
    assert np.abs(spanned(seen, 0.5) - plane).max() < 0.7  # 30 m rise over 60 m unseen


def test_a_local_plane_is_exact_on_a_slope_beside_a_void():
    row, col = np.mgrid[:60, :60]
    plane = (0.4 * row - 0.3 * col).astype(np.float32)
    fitted = local_planes(np.where(col < 30, plane, np.nan).astype(np.float32), 4)
    assert np.abs(fitted - plane)[5:-5, 5:30].max() < 0.15
    assert np.isnan(fitted[:, 50:]).all()
