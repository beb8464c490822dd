"""One cloud from several pairs: built surfaces, so every point's place is known."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from processes.core.raster import POINT, Grid
from processes.stereo.cloud import Measured, cloud

GRID = Grid("EPSG:32631", Affine(0.5, 0, 500_000, 0, -0.5, 5_000_030), 60, 80)
ROWS, COLS = np.indices(GRID.shape)
ERROR_M = (ROWS / 100).astype(np.float32)


def pair(
    heights: NDArray[np.floating],
    *,
    views: tuple[int, int] = (0, 1),
    share: float = 1.0,
    confidence: float = 0.5,
    aside: float = 0.0,
) -> Measured:
    """Return a pair with a point in every cell of GRID, *aside* cells from its middle."""
    x, y = GRID.xy(ROWS + aside, COLS + aside)
    sure = np.full(GRID.shape, confidence, np.float32)
    flat = heights.astype(np.float64)
    return Measured.of(x, y, flat, sure, GRID, heights.astype(np.float32), views=views, share=share)


def test_pairs_of_one_surface_make_one_point_a_cell_at_the_fused_level() -> None:
    fused = (100 + 0.05 * COLS).astype(np.float32)
    pairs = [pair(fused + 0.8, aside=0.2), pair(fused - 0.8, views=(1, 2), aside=-0.2)]
    points = cloud(pairs, fused, ERROR_M, GRID).values
    assert points.dtype == POINT
    assert len(points) == fused.size
    row, col = GRID.rowcol(points["x"], points["y"])
    assert_allclose(np.sort(row * 1000 + col), (ROWS * 1000 + COLS).ravel(), atol=1e-3)
    assert_allclose(points["z"], 100 + 0.05 * col, atol=0.01)
    assert_allclose(points["error_m"], row / 100, atol=1e-4)
    assert_array_equal(np.unique(points["images"]), [3])
    assert_allclose(points["likelihood"], 1 - 0.5 * 0.5, atol=1e-6)


def test_a_pair_with_a_narrow_base_counts_less() -> None:
    fused = np.full(GRID.shape, 50, np.float32)
    near = fused + 0.3 * (COLS % 2)  # the same level, but for noise
    points = cloud([pair(fused), pair(near, views=(0, 2), share=0.25)], fused, ERROR_M, GRID).values
    _, col = GRID.rowcol(points["x"], points["y"])
    odd = np.rint(col) % 2 == 1
    level = float(np.median(fused - near))
    assert_allclose(points["z"][odd], 50 + (0.3 + level) * 0.2, atol=1e-3)
    assert_allclose(points["likelihood"], 1 - 0.5 * (1 - 0.25 * 0.5), atol=1e-6)


def test_strays_go_and_walls_stay() -> None:
    fused = np.where(COLS < 40, 100, 112).astype(np.float32)
    measured = fused.copy()
    measured[10, 10], measured[20, 60] = 130, 80  # in the air, and under the roof
    measured[:, 39] = 106  # half-way up the wall, in the last cell of the ground
    measured[:, 30] = 106  # the same, far from the wall
    points = cloud([pair(measured)], fused, ERROR_M, GRID).values
    row, col = (np.rint(v).astype(int) for v in GRID.rowcol(points["x"], points["y"]))
    kept = np.zeros(GRID.shape, bool)
    kept[row, col] = True
    assert not kept[10, 10]
    assert not kept[20, 60]
    assert not kept[:, 30].any()
    assert kept[:, 39].all()
    assert kept.sum() == kept.size - 2 - GRID.height


def test_cells_without_a_surface_get_no_points() -> None:
    fused = np.where(ROWS < 30, 100, np.nan).astype(np.float32)
    points = cloud([pair(np.full(GRID.shape, 100.0))], fused, ERROR_M, GRID).values
    assert points["y"].min() > 5_000_030 - 15
    assert len(points) == 30 * GRID.width


def test_two_surfaces_in_a_cell_are_two_points() -> None:
    fused = np.where(COLS < 40, 100, 104).astype(np.float32)
    low, high = pair(np.full(GRID.shape, 100.0)), pair(np.full(GRID.shape, 104.0))
    levelled = [Measured(m.points, m.base_m, fused, m.views, m.share) for m in (low, high)]
    points = cloud(levelled, fused, ERROR_M, GRID).values
    _, col = GRID.rowcol(points["x"], points["y"])
    beside = (np.rint(col) == 39) | (np.rint(col) == 40)
    assert sorted(np.unique(points["z"][beside])) == pytest.approx([100, 104])
    assert beside.sum() == 4 * GRID.height
    assert len(points) == fused.size + 2 * GRID.height


def test_the_order_of_the_pairs_changes_nothing_but_rounding() -> None:
    rng = np.random.default_rng(3)
    fused = (100 + 5 * np.sin(COLS / 9)).astype(np.float32)
    noisy = [
        pair(fused + rng.normal(0, 0.2, fused.shape), views=views, aside=aside)
        for views, aside in (((0, 1), 0.3), ((0, 2), -0.3), ((1, 2), 0.0))
    ]
    one, other = (
        np.sort(cloud(order, fused, ERROR_M, GRID).values) for order in (noisy, noisy[::-1])
    )
    for name in ("x", "y", "z", "likelihood", "error_m", "images"):
        assert_allclose(one[name], other[name], atol=1e-3)


def test_points_outside_of_the_grid_or_without_confidence_are_not_kept() -> None:
    x, y = GRID.xy(ROWS - 30, COLS)
    sure = np.where(COLS < 5, 0, 0.5).astype(np.float32)
    heights = np.where(COLS == 6, np.nan, 100.0)
    dsm = np.full(GRID.shape, 100, np.float32)
    kept = Measured.of(x, y, heights, sure, GRID, dsm, views=(0, 1), share=1.0)
    assert len(kept.points) == 30 * (80 - 6)
    assert len(kept.only(ROWS < 10).points) == 10 * (80 - 6)


def test_nothing_measured_is_no_points() -> None:
    assert len(cloud([], np.full(GRID.shape, 100, np.float32), ERROR_M, GRID).values) == 0
    assert cloud([], np.full(GRID.shape, 100, np.float32), ERROR_M, GRID).values.dtype == POINT
