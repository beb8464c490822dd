"""One cloud of points from what several pairs of images measured, before anything is gridded.

Every pair measures the same roofs and streets again, each a little off. So all pairs are brought
to the level of the fused surface, points that lie on no surface near them are dropped, and what
lies in one cell of the map and on one surface becomes one point, in the middle of those it stands
for. Walls keep their points: they lie between the surfaces of neighbouring cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.raster import POINT, Grid, Points

Floats = NDArray[np.float32]

NEAR_M = 1.0
"""Points are strays that lie this far above or below all surfaces of their cell and its eight
neighbours; and points of a cell that lie within it are of one surface."""
ENOUGH = 100
"""Cells from which the level of a pair can be told."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What one pair of images measured around a grid."""

    points: Floats
    """(n, 4): row and column in cells of the grid, height (m, less *base_m*), confidence."""
    base_m: float
    dsm: Floats
    """The same, gridded."""
    views: tuple[int, int]
    """Numbers of its two images."""
    share: float
    """How much its confidence counts beside that of the pair with the widest base."""

    @classmethod
    def of(
        cls,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        z: NDArray[np.float64],
        confidence: Floats,
        grid: Grid,
        dsm: Floats,
        *,
        views: tuple[int, int],
        share: float,
    ) -> Measured:
        """Keep the points within the grid, in a third of the memory that they come in."""
        inverse = ~grid.transform
        base_m = float(np.nanmedian(dsm)) if np.isfinite(dsm).any() else 0.0
        to_cells = np.array([inverse.d, inverse.e, inverse.f, inverse.a, inverse.b, inverse.c])
        points = _within(x, y, z, confidence, to_cells, grid.height, grid.width, base_m)
        return cls(points, base_m, dsm, views, share)

    def only(self, where: NDArray[np.bool_]) -> Measured:
        """Keep the points of some cells."""
        row, col = np.rint(self.points[:, :2]).astype(np.int64).T
        return replace(self, points=self.points[where[row, col]])


def cloud(measured: Sequence[Measured], dsm: Floats, error_m: Floats, grid: Grid) -> Points:
    """Return the points of all pairs that lie on the fused surface *dsm*, no two the same.

    `likelihood` is that of all pairs taken together that have a point, `images` how many images
    these are. Its error is that of the cell it lies in, *error_m*.
    """
    if not measured:
        return Points(np.empty(0, POINT))
    levels = np.array([m.base_m + level_m(m.dsm, dsm) for m in measured])
    base_m = float(levels.mean())
    points = np.concatenate([m.points for m in measured])
    pair = np.repeat(np.arange(len(measured)), [len(m.points) for m in measured]).astype(np.uint8)
    seen = [(1 << m.views[0]) | (1 << m.views[1]) for m in measured]
    row, col, up, likelihood, images = _thinned(
        points,
        pair,
        (levels - base_m).astype(np.float32),
        np.array([m.share for m in measured], np.float32),
        np.array(seen, np.uint64),
        (dsm - base_m).astype(np.float32),
        np.float32(NEAR_M),
    )
    found = np.empty(len(row), POINT)
    found["x"], found["y"] = grid.xy(row.astype(np.float64), col.astype(np.float64))
    found["z"] = up.astype(np.float64) + base_m
    found["likelihood"], found["images"] = likelihood, images
    found["error_m"] = error_m[np.rint(row).astype(np.int64), np.rint(col).astype(np.int64)]
    return Points(found)


def level_m(own: Floats, fused: Floats) -> float:
    """Return what to add to the heights of a pair to bring them to the level of all."""
    apart = (fused - own)[np.isfinite(fused) & np.isfinite(own)]
    return float(np.median(apart)) if apart.size >= ENOUGH else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _within(x, y, z, confidence, to_cells, height, width, base):  # type: ignore[no-untyped-def]
    """Return the points (row, column, height above *base*, confidence) whose cell is in a grid."""
    kept = 0
    found = np.empty((x.size, 4), np.float32)
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            if not (confidence[r, c] > 0 and np.isfinite(z[r, c])):
                continue
            row = x[r, c] * to_cells[0] + y[r, c] * to_cells[1] + to_cells[2] - 0.5
            col = x[r, c] * to_cells[3] + y[r, c] * to_cells[4] + to_cells[5] - 0.5
            if row < -0.499 or col < -0.499 or row > height - 0.501 or col > width - 0.501:
                continue
            found[kept, 0], found[kept, 1] = row, col
            found[kept, 2], found[kept, 3] = z[r, c] - base, confidence[r, c]
            kept += 1
    return found[:kept].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def _thinned(points, pair, level, share, seen, dsm, near):  # type: ignore[no-untyped-def]
    """Return row, column, height, confidence and number of images of one point a surface.

    From the highest point of a cell downwards, all within *near* of it are one.
    """
    height, width = dsm.shape
    low, high = _reach(dsm)
    begin = np.zeros(height * width + 1, np.int64)
    cell = np.full(len(points), -1, np.int64)
    for p in range(len(points)):
        r, c = int(np.rint(points[p, 0])), int(np.rint(points[p, 1]))
        up = points[p, 2] + level[pair[p]]
        if low[r, c] - near <= up <= high[r, c] + near:  # never true for NaN
            cell[p] = r * width + c
            begin[cell[p] + 1] += 1
    for k in range(1, begin.size):
        begin[k] += begin[k - 1]
    order = np.empty(begin[-1], np.int64)
    free = begin[:-1].copy()
    for p in range(len(points)):
        if cell[p] < 0:
            continue
        # highest first; equal ones by place, so that their order of arrival does not matter
        up, k = points[p, 2] + level[pair[p]], free[cell[p]]
        while k > begin[cell[p]]:
            q = order[k - 1]
            other = points[q, 2] + level[pair[q]]
            if other > up or (other == up and points[q, 0] <= points[p, 0]):
                break
            order[k] = q
            k -= 1
        order[k] = p
        free[cell[p]] += 1
    rows = np.empty(begin[-1], np.float32)
    cols = np.empty(begin[-1], np.float32)
    ups = np.empty(begin[-1], np.float32)
    sure = np.empty(begin[-1], np.float32)
    images = np.empty(begin[-1], np.uint8)
    total = np.zeros(len(level), np.float32)
    count = np.zeros(len(level), np.int64)
    found = 0
    for b in range(begin.size - 1):
        first = begin[b]
        while first < begin[b + 1]:
            top = points[order[first], 2] + level[pair[order[first]]]
            s0, s1, s2, s3 = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            total[:] = 0
            count[:] = 0
            views = np.uint64(0)
            last = first
            while last < begin[b + 1]:
                p = order[last]
                i = pair[p]
                up = points[p, 2] + level[i]
                if top - up > near:
                    break
                w = points[p, 3] * share[i]
                s0 += w
                s1 += w * points[p, 0]
                s2 += w * points[p, 1]
                s3 += w * (up - top)
                total[i] += points[p, 3]
                count[i] += 1
                views |= seen[i]
                last += 1
            doubt = np.float32(1.0)
            for i in range(len(level)):
                if count[i]:
                    mean = share[i] * total[i] / np.float32(count[i])
                    doubt *= np.float32(1.0) - min(mean, np.float32(0.99))
            number = 0
            while views:
                number += int(views & np.uint64(1))
                views >>= np.uint64(1)
            rows[found], cols[found], ups[found] = s1 / s0, s2 / s0, top + s3 / s0
            sure[found], images[found] = np.float32(1.0) - doubt, number
            found += 1
            first = last
    return (
        rows[:found].copy(),
        cols[:found].copy(),
        ups[:found].copy(),
        sure[:found].copy(),
        images[:found].copy(),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _reach(dsm):  # type: ignore[no-untyped-def]
    """Return the lowest and the highest surface of each cell and its eight neighbours."""
    height, width = dsm.shape
    low = np.full(dsm.shape, np.inf, np.float32)
    high = np.full(dsm.shape, -np.inf, np.float32)
    for r in range(height):
        for c in range(width):
            if not np.isfinite(dsm[r, c]):
                low[r, c] = high[r, c] = np.nan
                continue
            for i in range(max(r - 1, 0), min(r + 2, height)):
                for j in range(max(c - 1, 0), min(c + 2, width)):
                    if np.isfinite(dsm[i, j]):
                        low[r, c] = min(low[r, c], dsm[i, j])
                        high[r, c] = max(high[r, c], dsm[i, j])
    return low, high
