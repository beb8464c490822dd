"""Points to cells, with walls whose place is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from processes.core.raster import Grid
from processes.stereo.rasterise import rasterise

EAST, NORTH = 431_000.0, 5_290_000.0
GRID = Grid.covering((EAST, NORTH, EAST + 20.0, NORTH + 15.0), 0.5, "EPSG:32631")


def lattice(step_m=0.43, angle_deg=17.0):
    """Return points over the grid and beyond, turned against it as an epipolar grid is."""
    u, v = np.meshgrid(np.arange(-40, 40, step_m), np.arange(-40, 40, step_m))
    t = np.radians(angle_deg)
    x = EAST + 10 + u * np.cos(t) - v * np.sin(t)
    y = NORTH + 7.5 + u * np.sin(t) + v * np.cos(t)
    return x, y


def ones(z):
    return np.ones(z.shape, np.float32)


@given(east=st.floats(-0.5, 0.5), north=st.floats(-0.5, 0.5))
@settings(max_examples=10, deadline=None)
def test_a_slope_comes_out_as_it_is(east, north):
    x, y = lattice()
    z = 150.0 + east * (x - EAST) + north * (y - NORTH)
    cells = rasterise(x, y, z, ones(z), GRID)
    cx, cy = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    truth = 150.0 + east * (cx - EAST) + north * (cy - NORTH)
    assert_allclose(cells.dsm, truth, atol=0.1)
    assert cells.dsm.dtype == np.float32
    assert np.all(cells.points > 0)


def test_a_wall_is_upright_within_a_cell():
    x, y = lattice()
    wall = EAST + 10.2
    z = np.where(x < wall, 108.0, 100.0)
    dsm = rasterise(x, y, z, ones(z), GRID).dsm
    cx, _ = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    assert np.all((np.abs(dsm - 108) < 0.01) | (np.abs(dsm - 100) < 0.01))
    assert np.all(np.abs(dsm - 108)[cx < wall - 0.5] < 0.01)
    assert np.all(np.abs(dsm - 100)[cx > wall + 0.5] < 0.01)


def test_the_upper_of_two_surfaces_is_seen_from_above():
    x, y = lattice()
    x, y = np.stack([x, x + 0.2]), np.stack([y, y + 0.1])
    z = np.stack([np.full(x.shape[1:], 120.0), np.full(x.shape[1:], 100.0)])
    assert_allclose(rasterise(x, y, z, ones(z), GRID).dsm, 120.0)


def test_a_few_stray_points_above_do_not_make_a_surface():
    x, y = lattice(0.25)
    z = np.full(x.shape, 100.0)
    z[::5, ::5] = 130.0
    assert np.mean(np.abs(rasterise(x, y, z, ones(z), GRID).dsm - 100.0) < 0.01) > 0.97


def test_light_points_yield_to_heavy_ones():
    x, y = lattice()
    z = np.full(x.shape, 100.0)
    weight = ones(z)
    z[:, ::2], weight[:, ::2] = 110.0, 0.05
    assert np.mean(np.abs(rasterise(x, y, z, weight, GRID).dsm - 100.0) < 0.01) > 0.97


def test_the_order_of_points_does_not_matter():
    x, y = (a.ravel() for a in lattice())
    rng = np.random.default_rng(0)
    z = 100 + rng.normal(size=x.shape)
    weight = rng.uniform(0.1, 1, x.shape).astype(np.float32)
    order = rng.permutation(x.size)
    one = rasterise(x, y, z, weight, GRID)
    other = rasterise(x[order], y[order], z[order], weight[order], GRID)
    assert_array_equal(one.dsm, other.dsm)
    assert_array_equal(one.spread_m, other.spread_m)


def test_a_hole_of_one_cell_is_closed_and_a_wide_one_stays_open():
    x, y = lattice()
    z = np.full(x.shape, 100.0)
    small = np.hypot(x - EAST - 5.25, y - NORTH - 5.25) < 0.5
    wide = np.hypot(x - EAST - 14, y - NORTH - 9) < 3.0
    z[small | wide] = np.nan
    cells = rasterise(x, y, z, ones(z), GRID)
    row, col = (int(np.rint(v)) for v in GRID.rowcol(EAST + 5.25, NORTH + 5.25))
    assert cells.dsm[row, col] == pytest.approx(100.0)
    assert cells.points[row, col] == 0
    row, col = (int(np.rint(v)) for v in GRID.rowcol(EAST + 14, NORTH + 9))
    assert np.isnan(cells.dsm[row - 2 : row + 3, col - 2 : col + 3]).all()


def test_a_hole_between_roof_and_ground_is_not_half_way_up():
    x, y = lattice()
    z = np.where(x < EAST + 10, 108.0, 100.0)
    z[np.abs(x - EAST - 10) < 1.0] = np.nan
    dsm = rasterise(x, y, z, ones(z), GRID).dsm
    seen = dsm[np.isfinite(dsm)]
    assert np.all((np.abs(seen - 108) < 0.01) | (np.abs(seen - 100) < 0.01))


def test_spread_is_that_of_the_surface_not_of_the_wall():
    x, y = lattice(0.2)
    noise = np.random.default_rng(1).normal(0, 0.1, x.shape)
    z = np.where(x < EAST + 10, 130.0, 100.0) + noise
    spread = rasterise(x, y, z, ones(z), GRID).spread_m
    assert np.median(spread) == pytest.approx(0.1, abs=0.03)
    assert spread.max() < 0.5


def test_points_that_are_not_there_or_weigh_nothing_are_left_out():
    x, y = lattice()
    z = np.full(x.shape, np.nan)
    cells = rasterise(x, y, z, ones(z), GRID)
    assert np.isnan(cells.dsm).all()
    cells = rasterise(np.full(3, np.nan), np.zeros(3), np.ones(3), np.ones(3, np.float32), GRID)
    assert np.isnan(cells.dsm).all()
    assert np.isnan(rasterise(x, y, 0 * x, 0 * ones(x), GRID).dsm).all()


def test_heights_keep_their_millimetres_far_from_zero():
    x, y = lattice()
    z = np.full(x.shape, 4807.123)
    assert_allclose(rasterise(x, y, z, ones(z), GRID).dsm, 4807.123, atol=1e-3)


def test_a_roof_does_not_grow_into_the_void_beside_it():
    x, y = lattice()
    rim = EAST + 10.0
    z = np.where(x < rim, 108.0, np.nan)
    dsm = rasterise(x, y, z, ones(z), GRID).dsm
    cx, _ = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])
    assert np.isnan(dsm[cx > rim + 0.3]).all()
    assert np.isfinite(dsm[cx < rim - 0.3]).all()


def test_a_steep_slope_measured_coarsely_is_one_surface():
    """A face of 52° seen with a narrow base: a step of disparity is more than a gap."""
    x, y = lattice()
    slope = 1.28 * (x - EAST)
    step = 1.1
    stepped = np.round(slope / step) * step
    of_steps = step / np.sqrt(12.0)
    cx, _ = GRID.xy(*np.mgrid[: GRID.height, : GRID.width])

    def error(told_m):
        dsm = rasterise(x, y, stepped, ones(slope), GRID, told_m=told_m).dsm
        assert told_m == 0 or np.isfinite(dsm).all()
        return np.nanstd(dsm - 1.28 * (cx - EAST))

    assert error(1.5) < 0.9 * of_steps < error(0.0)
