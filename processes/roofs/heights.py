"""Heights of one building, from the surface and terrain models under its outline.

A surface model from images is blurred at walls: the outermost metre of an outline holds heights
between roof and street. So roof heights are read one metre inside. Where that leaves too few
cells, as under a shed, the whole outline is read instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.raster import Grid, Raster

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

INSET_M = 1.0
DEEP_INSET_M = 2.0
DEEPEST_M = 5.0
ENOUGH_CELLS = 400
FEWEST_CELLS = 6
FEWEST_SHARE = 0.25
"""Cells with a height that are needed under an outline, and their least share of all cells."""


class NoHeights(Exception):
    """An outline without usable heights under it; the message says which are missing."""


@dataclass(frozen=True)
class Heights:
    """Ellipsoidal heights of one building, metres. All but the ground are of the roof as read."""

    base_m: float
    """Lowest terrain under the outline: where a solid must start to stand on a slope."""
    ground_m: float
    """Mean terrain under the outline."""
    min_m: float
    """5th percentile of the surface: the lowest roof, without the cells that slip off its edge."""
    mean_m: float
    median_m: float
    max_m: float
    """98th percentile of the surface: the highest roof, without aerials and single bad cells."""
    roof_m: float
    """Height of the flat roof that stands for this one: half of the whole roof is higher. Of all
    flat roofs it differs least from the heights."""
    cells: int
    """Surface cells that were read."""
    inset_m: float
    """How far inside the outline they lie."""


@dataclass(frozen=True)
class Under:
    """The cells of a raster whose centre lies in an outline, one entry a cell, by rows."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    """NaN where the raster has no value."""
    depth_m: NDArray[np.float64]
    """How far inside the outline they lie, `DEEPEST_M` at most."""
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    """In the window around the outline."""
    corner: tuple[int, int]
    """Row and column of that window in the raster."""

    def of(self, raster: Raster) -> Under:
        """Return the same cells of a raster that lies on the same grid."""
        row, col = self.row + self.corner[0], self.col + self.corner[1]
        return replace(self, z=_values(raster, row, col))


def under(outline: BaseGeometry, raster: Raster) -> Under:
    """Return the cells of *raster* under *outline*; none where that lies beside it."""
    grid = raster.grid
    row0, col0, height, width = window_over(outline.bounds, grid)
    row1, col1 = min(row0 + height, grid.height), min(col0 + width, grid.width)
    row0, col0 = max(row0, 0), max(col0, 0)
    shape = max(row1 - row0, 0), max(col1 - col0, 0)
    ends, ring = rings_of(outline)
    step = grid.transform.a, grid.transform.e
    row, col, depth = _inside(ends - grid.xy(row0, col0), ring, *shape, *step, DEEPEST_M)
    in_row, in_col = row + row0, col + col0
    x, y = grid.xy(in_row, in_col)
    return Under(x, y, _values(raster, in_row, in_col), depth, row, col, (row0, col0))


def _values(raster: Raster, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(raster.values[row, col], np.float64)


def rings_of(outline: BaseGeometry) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the corners of an outline, ring after ring, each closed, and the ring of each."""
    import shapely

    if isinstance(outline, shapely.Polygon) and not shapely.get_num_interior_rings(outline):
        corners = shapely.get_coordinates(outline)  # a tenth of the time, and so are most
        return corners, np.zeros(len(corners), np.int64)
    rings = shapely.get_rings(shapely.get_parts(outline))
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    return corners, ring


@njit(cache=True, nogil=True, error_model="numpy")
def _inside(
    ends: NDArray[np.float64],
    ring: NDArray[np.int64],
    height: int,
    width: int,
    dx: float,
    dy: float,
    most: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return row and column of the cell centres in a polygon, and how deep inside they lie.

    *ends* are the corners of its closed rings. Centres are at column·dx, row·dy.
    """
    sides, count = np.empty((len(ends), 4)), 0
    for i in range(len(ends) - 1):
        if ring[i] == ring[i + 1]:
            sides[count, :2], sides[count, 2:] = ends[i], ends[i + 1]
            count += 1
    depth = _depths(sides[:count], height, width, dx, dy, most)
    size = np.count_nonzero(depth)
    rows, cols, deep = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    found = 0
    for row in range(height):
        for col in range(width):
            if depth[row, col] > 0:
                rows[found], cols[found], deep[found] = row, col, depth[row, col]
                found += 1
    return rows, cols, deep


@njit(cache=True, nogil=True, error_model="numpy")
def _depths(
    sides: NDArray[np.float64], height: int, width: int, dx: float, dy: float, most: float
) -> NDArray[np.float64]:
    """Return how deep in the polygon of *sides* (x, y, x, y) cell centres lie; 0 is outside.

    A row is inside between its odd and its even crossings.
    """
    depth = np.zeros((height, width))
    crossing = np.empty(len(sides))
    for row in range(height):
        y, count = row * dy, 0
        for x1, y1, x2, y2 in sides:
            if (y1 > y) != (y2 > y):
                crossing[count] = (x1 + (y - y1) / (y2 - y1) * (x2 - x1)) / dx
                count += 1
        ordered = np.sort(crossing[:count])
        for k in range(0, count - 1, 2):
            first, last = int(np.ceil(ordered[k])), int(np.floor(ordered[k + 1]))
            depth[row, max(first, 0) : min(last, width - 1) + 1] = most
    for x1, y1, x2, y2 in sides:
        top, bottom = (max(y1, y2) + most) / dy, (min(y1, y2) - most) / dy
        left, right = (min(x1, x2) - most) / dx, (max(x1, x2) + most) / dx
        size = max((x2 - x1) ** 2 + (y2 - y1) ** 2, 1e-12)
        for row in range(max(int(top), 0), min(int(bottom) + 1, height - 1) + 1):
            for col in range(max(int(left), 0), min(int(right) + 1, width - 1) + 1):
                if depth[row, col] > 0:
                    x, y = col * dx - x1, row * dy - y1
                    along = min(max((x * (x2 - x1) + y * (y2 - y1)) / size, 0.0), 1.0)
                    away = np.hypot(x - along * (x2 - x1), y - along * (y2 - y1))
                    depth[row, col] = min(depth[row, col], max(away, 1e-6))
    return depth


def inset_of(cells: Under) -> float:
    """Return how far inside an outline its roof can be read, metres.

    Raises NoHeights where under a quarter of the cells, or fewer than six, have a height.
    """
    for inset_m in (INSET_M, 0.5 * INSET_M, 0.0):
        asked = cells.depth_m >= inset_m
        known = asked & np.isfinite(cells.z)
        if known.sum() >= max(FEWEST_CELLS, FEWEST_SHARE * asked.sum()):
            return inset_m
    raise NoHeights("no surface heights under the outline")


def shape_inset_of(cells: Under, inset_m: float) -> float:
    """Return two metres where the outline is still large there, else *inset_m* as it is.

    Blurred walls round the edge of a high flat roof until it looks like a hip; the height of a
    flat roof does not mind, the choice of its shape does.
    """
    deep = (cells.depth_m >= DEEP_INSET_M) & np.isfinite(cells.z)
    return DEEP_INSET_M if deep.sum() >= ENOUGH_CELLS else inset_m


def measure(cells: Under, inset_m: float, ground: Under) -> Heights:
    """Return the heights of a building from the surface and the terrain under its outline.

    Raises NoHeights where the terrain is unknown.
    """
    terrain = ground.z[np.isfinite(ground.z)]
    if not len(terrain):
        raise NoHeights("no terrain heights under the outline")
    low, mean, median, high, roof, count = _levels(cells.z, cells.depth_m, inset_m)
    return Heights(
        base_m=float(terrain.min()),
        ground_m=float(terrain.mean()),
        min_m=low,
        mean_m=mean,
        median_m=median,
        max_m=high,
        roof_m=roof,
        cells=count,
        inset_m=inset_m,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _levels(
    z: NDArray[np.float64], depth_m: NDArray[np.float64], inset_m: float
) -> tuple[float, float, float, float, float, int]:
    """Return lowest, mean, median and highest of the heights that are asked, then the flat roof's.

    Last comes how many were asked.
    """
    asked = (depth_m >= inset_m) & np.isfinite(z)
    known = np.sort(z[asked])
    low, median, high = _quantiles(known, np.array([0.05, 0.5, 0.98]))
    rim = _rim(z[asked], depth_m[asked], inset_m, int((depth_m < inset_m).sum()))
    roof = np.median(np.concatenate((known, rim)))
    return low, known.mean(), median, high, roof, len(known)


@njit(cache=True, nogil=True, error_model="numpy")
def _rim(
    z: NDArray[np.float64], depth_m: NDArray[np.float64], inset_m: float, count: int
) -> NDArray[np.float64]:
    """Return the *count* heights that the rim must have, which is not asked, lowest first.

    On a sloping roof the rim is lower than the rest. From the ring beside it to the next, as wide,
    each quantile of the heights rises by a little, and from the rim to that ring by as much.
    """
    first = z[depth_m < 2 * inset_m]
    second = z[(depth_m >= 2 * inset_m) & (depth_m < 3 * inset_m)]
    if min(len(first), len(second)) < FEWEST_CELLS:
        return z[:0]
    at = (np.arange(count) + 0.5) / max(count, 1)
    beside, next_to_it = _quantiles(np.sort(first), at), _quantiles(np.sort(second), at)
    return np.asarray(2 * beside - next_to_it)


@njit(cache=True, nogil=True, error_model="numpy")
def _quantiles(ordered: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles of sorted values, between two of them in proportion."""
    found = np.empty(len(at))
    for k in range(len(at)):
        place = at[k] * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        found[k] = ordered[below] + (place - below) * (ordered[above] - ordered[below])
    return found


def window_over(bounds: tuple[float, float, float, float], grid: Grid) -> tuple[int, int, int, int]:
    """Return row, column, height and width of the cells that touch *bounds*; may stick out."""
    xmin, ymin, xmax, ymax = bounds
    rows, cols = grid.rowcol([xmin, xmax], [ymax, ymin])
    row0, row1 = int(np.floor(min(rows) + 0.5)), int(np.floor(max(rows) + 0.5))
    col0, col1 = int(np.floor(min(cols) + 0.5)), int(np.floor(max(cols) + 0.5))
    return row0, col0, row1 - row0 + 1, col1 - col0 + 1
