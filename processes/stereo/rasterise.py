"""Heights on a grid from points of visible surfaces: walls stay upright, one surface a cell.

A cell looks at the points near its centre, sorts them by height and cuts them into surfaces where
the heights leave a gap. It takes the highest surface that holds a fair share of the weight, since
that is what is seen from above, and the robust mean of that surface alone; so no cell lies
half-way up a wall. A cell whose points all lie on one side is beyond the rim of their surface and
stays empty. Points are put in order cell by cell first, which makes the result independent
of the order in which they come.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.raster import Grid

Floats = NDArray[np.float32]

NEAR_CELLS = 1.0
"""Points within this many cells of a centre speak for the cell."""

REACH_CELLS = 1.5
"""A cell without any looks this far, and takes its own surface: the heaviest one there."""

FAIR_SHARE = 0.35
"""A higher surface is taken if it has at least this share of the weight near the centre."""

CLEAR_GAP_M = 0.8
"""Heights further apart than this, and than 1.2 cells, with none between are two surfaces."""

LEAN_CELLS = 0.6
"""If the points' centre of weight lies further off, the cell is beyond the rim of their surface."""

MOST_POINTS = 96


class Cells(NamedTuple):
    """What was put on the grid. Arrays are (row, col).

    ``dsm``: float32 m, NaN where no point is near. ``spread_m``: float32, standard deviation of
    the points of the cell's surface. ``points``: int32, how many points that surface has near the
    centre; 0 where the height was taken from up to REACH_CELLS away.
    """

    dsm: Floats
    spread_m: Floats
    points: NDArray[np.int32]


def rasterise(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    weight: NDArray[np.float32],
    grid: Grid,
) -> Cells:
    """Return heights on *grid* of points in its reference system; NaN points are left out."""
    row, col = grid.rowcol(np.ravel(x), np.ravel(y))
    z, weight = np.ravel(z), np.ravel(weight)
    row_cell, col_cell = np.rint(row), np.rint(col)
    with np.errstate(invalid="ignore"):
        use = (row_cell >= -1) & (row_cell <= grid.height) & (col_cell >= -1)
        use &= (col_cell <= grid.width) & np.isfinite(z) & (weight > 0)
    index = np.flatnonzero(use)
    cell = (row_cell[index] + 1).astype(np.int64) * (grid.width + 2)
    cell += (col_cell[index] + 1).astype(np.int64)
    # by cell, then height: the order of the points themselves does not matter
    order = index[np.lexsort((z[index], cell))]
    ends = np.cumsum(np.bincount(cell, minlength=(grid.height + 2) * (grid.width + 2)))
    base = float(np.mean(z[order])) if order.size else 0.0
    gap_m = max(CLEAR_GAP_M, 1.2 * grid.cell_m)
    dsm, spread, count = _cells(
        row[order].astype(np.float64),
        col[order].astype(np.float64),
        # float32 relative to the mean height: 1e-5 m at 100 m
        (z[order] - base).astype(np.float32),
        weight[order].astype(np.float32),
        ends,
        grid.height,
        grid.width,
        gap_m,
        LEAN_CELLS,
    )
    return Cells((dsm + base).astype(np.float32), spread, count)


@njit(cache=True, nogil=True, error_model="numpy")
def _cells(row, col, z, weight, ends, height, width, gap_m, lean):  # type: ignore[no-untyped-def]
    """Choose each cell's surface. Points lie cell by cell; *ends* has a border of one cell."""
    dsm = np.full((height, width), np.nan, np.float32)
    spread = np.full((height, width), np.nan, np.float32)
    count = np.zeros((height, width), np.int32)
    heights = np.empty(MOST_POINTS, np.float32)
    weights = np.empty(MOST_POINTS, np.float32)
    south = np.empty(MOST_POINTS, np.float32)
    east = np.empty(MOST_POINTS, np.float32)
    for r in range(height):
        for c in range(width):
            for wide in (False, True):
                reach = REACH_CELLS if wide else NEAR_CELLS
                n = 0
                for i in range(3):
                    first = (r + i) * (width + 2) + c
                    begin = ends[first - 1] if first > 0 else 0
                    for p in range(begin, ends[first + 2]):
                        d2 = (row[p] - r) ** 2 + (col[p] - c) ** 2
                        if d2 > reach * reach or n == MOST_POINTS:
                            continue
                        k = n
                        while k > 0 and heights[k - 1] > z[p]:
                            heights[k] = heights[k - 1]
                            weights[k] = weights[k - 1]
                            south[k] = south[k - 1]
                            east[k] = east[k - 1]
                            k -= 1
                        heights[k] = z[p]
                        weights[k] = weight[p] * np.exp(-2.0 * d2)
                        south[k] = row[p] - r
                        east[k] = col[p] - c
                        n += 1
                if n == 0:
                    continue
                lo, hi = _surface(heights, weights, n, gap_m, wide)
                if _aside(south, east, weights, lo, hi) > lean * lean:
                    continue
                mean, deviation = _robust_mean(heights, weights, lo, hi)
                dsm[r, c] = mean
                spread[r, c] = deviation
                if not wide:
                    count[r, c] = hi - lo
                break
    return dsm, spread, count


@njit(cache=True, nogil=True, inline="always")
def _surface(heights, weights, n, gap_m, heaviest):  # type: ignore[no-untyped-def]
    """Return the part [lo, hi) of sorted heights that is the cell's surface."""
    total = np.float32(0.0)
    for k in range(n):
        total += weights[k]
    best_lo, best_hi, best = 0, n, np.float32(-1.0)
    hi = n
    share = np.float32(0.0)
    for k in range(n - 1, -1, -1):
        share += weights[k]
        if k == 0 or heights[k] - heights[k - 1] > gap_m:
            if not heaviest and share >= FAIR_SHARE * total:
                return k, hi
            if share >= best:
                best_lo, best_hi, best = k, hi, share
            hi = k
            share = np.float32(0.0)
    return best_lo, best_hi


@njit(cache=True, nogil=True, inline="always")
def _aside(south, east, weights, lo, hi):  # type: ignore[no-untyped-def]
    """Return the squared distance of the points' centre of weight from the cell's."""
    s0, s1, s2 = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for k in range(lo, hi):
        s0 += weights[k]
        s1 += weights[k] * south[k]
        s2 += weights[k] * east[k]
    return (s1 * s1 + s2 * s2) / (s0 * s0)


@njit(cache=True, nogil=True, inline="always")
def _robust_mean(heights, weights, lo, hi):  # type: ignore[no-untyped-def]
    """Return the mean around the weighted median, without the far points, and the deviation."""
    total = np.float32(0.0)
    for k in range(lo, hi):
        total += weights[k]
    half = np.float32(0.0)
    m = lo
    while m < hi - 1 and half + weights[m] < 0.5 * total:
        half += weights[m]
        m += 1
    middle = heights[m]
    s0, s1, s2 = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for k in range(lo, hi):
        e = heights[k] - middle
        w = weights[k] / (np.float32(1.0) + np.float32(4.0) * e * e)
        s0 += w
        s1 += w * e
        s2 += w * e * e
    mean = s1 / s0
    return middle + mean, np.sqrt(max(s2 / s0 - mean * mean, np.float32(0.0)))
