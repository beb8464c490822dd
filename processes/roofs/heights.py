"""Heights of one building, from the surface and terrain models under its outline.

A surface model from images is blurred at walls: the outermost metre of an outline holds heights
between roof and street. So roof heights are read one metre inside. Where that leaves too few
cells, as under a shed, the whole outline is read instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processes.core.raster import Grid, Raster

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

INSET_M = 1.0
DEEP_INSET_M = 2.0
ENOUGH_CELLS = 200
FEWEST_CELLS = 6
FEWEST_SHARE = 0.25
"""Cells with a height that are needed under an outline, and their least share of all cells."""


class NoHeights(Exception):
    """An outline without usable heights under it; the message says which are missing."""


@dataclass(frozen=True)
class Heights:
    """Ellipsoidal heights of one building, metres. All but the ground are of the roof."""

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
    """Height of the flat roof that stands for this one, see `flat_roof`."""
    cells: int
    """Surface cells that were read."""
    inset_m: float
    """How far inside the outline they lie."""


@dataclass(frozen=True)
class RoofCells:
    """Surface cells of a roof: ground coordinates and heights, one row a cell."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    inset_m: float


def roof_cells(outline: BaseGeometry, dsm: Raster) -> RoofCells:
    """Return the surface under *outline*, one metre inside where that leaves enough cells.

    Raises NoHeights where under a quarter of the cells, or fewer than six, have a height.
    """
    for inset_m in (INSET_M, 0.5 * INSET_M, 0.0):
        x, y, z = _cells_under(outline.buffer(-inset_m) if inset_m else outline, dsm)
        known = np.isfinite(z)
        if known.sum() >= max(FEWEST_CELLS, FEWEST_SHARE * len(z)):
            return RoofCells(x[known], y[known], z[known], inset_m)
    raise NoHeights("no surface heights under the outline")


def inner_cells(outline: BaseGeometry, dsm: Raster, roof: RoofCells) -> RoofCells:
    """Return the surface two metres inside where that is still large, else *roof* as it is.

    Blurred walls round the edge of a high flat roof until it looks like a hip; the height of a
    flat roof does not mind, the choice of its shape does.
    """
    x, y, z = _cells_under(outline.buffer(-DEEP_INSET_M), dsm)
    known = np.isfinite(z)
    if known.sum() < ENOUGH_CELLS:
        return roof
    return RoofCells(x[known], y[known], z[known], DEEP_INSET_M)


def measure(outline: BaseGeometry, roof: RoofCells, dtm: Raster) -> Heights:
    """Return the heights of a building from its roof cells and the terrain under its outline.

    Raises NoHeights where the terrain is unknown.
    """
    terrain = _cells_under(outline, dtm)[2]
    terrain = terrain[np.isfinite(terrain)]
    if not len(terrain):
        raise NoHeights("no terrain heights under the outline")
    low, median, high = np.percentile(roof.z, (5, 50, 98))
    return Heights(
        base_m=float(terrain.min()),
        ground_m=float(terrain.mean()),
        min_m=float(low),
        mean_m=float(roof.z.mean()),
        median_m=float(median),
        max_m=float(high),
        roof_m=flat_roof(roof.z),
        cells=len(roof.z),
        inset_m=roof.inset_m,
    )


def flat_roof(z: NDArray[np.float64]) -> float:
    """Return the height of the flat roof that differs least from *z*: their median."""
    return float(np.median(z))


def _cells_under(
    area: BaseGeometry, raster: Raster
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any]]:
    """Return x, y and value of the cells whose centre lies in *area*; NaN off the raster."""
    import shapely

    if area.is_empty:
        return np.empty(0), np.empty(0), np.empty(0)
    row0, col0, height, width = window_over(area.bounds, raster.grid)
    row0, col0 = max(row0, 0), max(col0, 0)
    values = raster.values[row0 : row0 + height, col0 : col0 + width]
    rows, cols = np.mgrid[row0 : row0 + values.shape[0], col0 : col0 + values.shape[1]]
    x, y = raster.grid.xy(rows, cols)
    inside = shapely.contains_xy(area, x, y)
    return x[inside], y[inside], values[inside].astype(np.float64)


def window_over(bounds: tuple[float, float, float, float], grid: Grid) -> tuple[int, int, int, int]:
    """Return row, column, height and width of the cells that touch *bounds*; may stick out."""
    xmin, ymin, xmax, ymax = bounds
    rows, cols = grid.rowcol([xmin, xmax], [ymax, ymin])
    row0, row1 = int(np.floor(min(rows) + 0.5)), int(np.floor(max(rows) + 0.5))
    col0, col1 = int(np.floor(min(cols) + 0.5)), int(np.floor(max(cols) + 0.5))
    return row0, col0, row1 - row0 + 1, col1 - col0 + 1
