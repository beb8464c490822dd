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

LEAN_CELLS = 0.5
"""If the points' centre of weight lies further off, the cell is beyond the rim of their surface."""

MOST_POINTS = 96

_STEPS = 1024
"""So finely distances are told apart where weights are looked up."""


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
    *,
    told_m: float = 0.0,
) -> Cells:
    """Return heights on *grid* of points in its reference system; NaN points are left out.

    *told_m*: heights no further apart cannot be told to be of two surfaces.
    """
    inverse = ~grid.transform
    points, begin, base = _in_cells(
        np.ascontiguousarray(x, np.float64).reshape(-1),
        np.ascontiguousarray(y, np.float64).reshape(-1),
        np.ascontiguousarray(z, np.float64).reshape(-1),
        np.ascontiguousarray(weight, np.float32).reshape(-1),
        np.array([inverse.d, inverse.e, inverse.f, inverse.a, inverse.b, inverse.c], np.float64),
        grid.height,
        grid.width,
    )
    gap_m = max(CLEAR_GAP_M, 1.2 * grid.cell_m, told_m)
    nearness = np.exp(-2.0 * (np.arange(_STEPS + 1) + 0.5) / _STEPS * REACH_CELLS**2)
    return Cells(
        *_cells(
            points, begin, base, grid.height, grid.width, np.float32(gap_m),
            np.float32(LEAN_CELLS**2), nearness.astype(np.float32),
        )
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def weights(x, y, weight, inverse, height, width):  # type: ignore[no-untyped-def]
    """Return the sum of the weights of the points in each cell, and how many these are.

    *inverse*: the six numbers that bring x, y to columns and rows.
    """
    total, count = np.zeros((height, width)), np.zeros((height, width), np.int32)
    for p in range(x.size):
        row = inverse[5] + x[p] * inverse[3] + y[p] * inverse[4] - 0.5
        col = inverse[2] + x[p] * inverse[0] + y[p] * inverse[1] - 0.5
        # NaN fails every comparison
        if row > -0.5 and col > -0.5 and row < height - 0.5 and col < width - 0.5:
            r, c = int(np.rint(row)), int(np.rint(col))
            total[r, c] += weight[p]
            count[r, c] += 1
    return total, count


@njit(cache=True, nogil=True, error_model="numpy")
def _in_cells(x, y, z, weight, inverse, height, width):  # type: ignore[no-untyped-def]
    """Return points cell by cell, where those of each begin, and the mean of their heights.

    Cells have a border of one. A point (4) is its place south and east of its cell's centre, in
    cells, its height above the mean and its weight: float32 is right to 1e-5 m at 100 m. Those of a
    cell are sorted, so that the order in which they came does not matter.
    """
    cell = np.full(x.size, -1, np.int32)
    begin = np.zeros((height + 2) * (width + 2) + 1, np.int32)
    total, known = 0.0, 0
    for p in range(x.size):
        row = x[p] * inverse[0] + y[p] * inverse[1] + inverse[2] - 0.5
        col = x[p] * inverse[3] + y[p] * inverse[4] + inverse[5] - 0.5
        # NaN fails every comparison
        if not (row >= -1.5 and col >= -1.5 and row <= height + 0.5 and col <= width + 0.5):
            continue
        if not (weight[p] > 0 and np.isfinite(z[p])):
            continue
        r, c = int(np.rint(row)) + 1, int(np.rint(col)) + 1
        if r < 0 or c < 0 or r > height + 1 or c > width + 1:
            continue
        cell[p] = r * (width + 2) + c
        begin[cell[p] + 1] += 1
        total += z[p]
        known += 1
    base = total / max(known, 1)
    for k in range(1, begin.size):
        begin[k] += begin[k - 1]
    free = begin.copy()
    points = np.empty((known, 4), np.float32)
    for p in range(x.size):
        if cell[p] < 0:
            continue
        row = x[p] * inverse[0] + y[p] * inverse[1] + inverse[2] - 0.5
        col = x[p] * inverse[3] + y[p] * inverse[4] + inverse[5] - 0.5
        south, east = np.float32(row - np.rint(row)), np.float32(col - np.rint(col))
        up = np.float32(z[p] - base)
        k, first = free[cell[p]], begin[cell[p]]
        free[cell[p]] += 1
        while k > first and (
            points[k - 1, 2] > up or (points[k - 1, 2] == up and points[k - 1, 0] > south)
        ):
            points[k] = points[k - 1]
            k -= 1
        points[k, 0], points[k, 1], points[k, 2], points[k, 3] = south, east, up, weight[p]
    return points, begin, base


@njit(cache=True, nogil=True, error_model="numpy")
def _cells(points, begin, base, height, width, gap_m, lean, nearness):  # type: ignore[no-untyped-def]
    """Choose each cell's surface. Points lie cell by cell; *begin* has a border of one cell."""
    dsm = np.full((height, width), np.nan, np.float32)
    spread = np.full((height, width), np.nan, np.float32)
    count = np.zeros((height, width), np.int32)
    heights = np.empty(MOST_POINTS, np.float32)
    weights = np.empty(MOST_POINTS, np.float32)
    south = np.empty(MOST_POINTS, np.float32)
    east = np.empty(MOST_POINTS, np.float32)
    scale = np.float32(_STEPS / REACH_CELLS**2)
    near2, reach2 = np.float32(NEAR_CELLS**2), np.float32(REACH_CELLS**2)
    for r in range(height):
        for c in range(width):
            around = 0
            for i in range(3):
                at = (r + i) * (width + 2) + c
                around += begin[at + 3] - begin[at]
            if around == 0:
                continue
            for wide in (False, True):
                limit = reach2 if wide else near2
                n = 0
                for i in range(3):
                    for j in range(3):
                        at = (r + i) * (width + 2) + c + j
                        for p in range(begin[at], begin[at + 1]):
                            down = points[p, 0] + np.float32(i - 1)
                            right = points[p, 1] + np.float32(j - 1)
                            d2 = down * down + right * right
                            if d2 > limit or n == MOST_POINTS:
                                continue
                            up = points[p, 2]
                            k = n
                            while k > 0 and heights[k - 1] > up:
                                heights[k] = heights[k - 1]
                                weights[k] = weights[k - 1]
                                south[k] = south[k - 1]
                                east[k] = east[k - 1]
                                k -= 1
                            heights[k] = up
                            weights[k] = points[p, 3] * nearness[int(d2 * scale)]
                            south[k], east[k] = down, right
                            n += 1
                if n == 0:
                    continue
                lo, hi = _surface(heights, weights, n, gap_m, wide)
                if _aside(south, east, weights, lo, hi) > lean:
                    continue
                mean, deviation = _robust_mean(heights, weights, lo, hi)
                dsm[r, c] = mean + base
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
