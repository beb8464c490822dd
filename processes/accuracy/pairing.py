"""A product and its reference on one lattice, read window by window.

The reference is the one that must not be smoothed: figures are taken at the centres of its cells,
and the product is read there bilinearly. A reference in degrees has no cells in metres, so there
it is the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from processes.accuracy.sample import bilinear
from processes.core.crs import known
from processes.core.errors import InvalidInput, NothingToCompare, UnknownCrs
from processes.core.raster import Grid, RasterSource

MAX_CELLS = 16_000_000
"""Beyond this every second, third … row and column of the lattice is compared."""
STRIP_CELLS = 2_000_000

Heights = NDArray[np.float32]


@dataclass(frozen=True)
class Pairing:
    """Heights of both at the same places; NaN where one of them knows none."""

    product: Heights
    reference: Heights
    cell_m: float
    """Distance between neighbouring places."""
    how: str
    """One sentence on whose cells they are and what was resampled."""
    grid: Grid
    """The lattice of the places."""


def paired(product: RasterSource, reference: RasterSource) -> Pairing:
    """Return both rasters where they overlap. Raises NothingToCompare, UnknownCrs, InvalidInput."""
    ours, theirs = _grid(product, "product"), _grid(reference, "reference")
    if _metric(theirs):
        lattice, other, whose = theirs, ours, "reference"
    elif _metric(ours):
        lattice, other, whose = ours, theirs, "product"
    else:
        raise UnknownCrs("neither raster is in metres: reproject the product to a UTM zone")
    part = _overlap(lattice, other)
    step = max(1, ceil((part.height * part.width / MAX_CELLS) ** 0.5))
    fixed, moved = (reference, product) if whose == "reference" else (product, reference)
    values, sampled = _read(fixed, moved, lattice, part, step)
    pair = (sampled, values) if whose == "reference" else (values, sampled)
    if not np.isfinite(pair[1]).any():
        raise NothingToCompare("the reference knows no height where the product lies")
    other_name = "product" if whose == "reference" else "reference"
    every = "every cell" if step == 1 else f"every {step}th cell along each side"
    resampled = f"the {other_name} is read there bilinearly"
    how = f"At {every} of the {whose}; {resampled}."
    return Pairing(*pair, part.cell_m * step, how, _thinned(part, step, values.shape))


def cells_of(source: RasterSource, lattice: Grid) -> Heights:
    """Return the cell of a raster that each cell centre of a lattice lies in; NaN off it."""
    grid = _grid(source, "raster")
    values = np.full(lattice.shape, np.nan, np.float32)
    strip = max(1, STRIP_CELLS // lattice.width)
    for row0 in range(0, lattice.height, strip):
        row, col = np.mgrid[row0 : min(row0 + strip, lattice.height), 0 : lattice.width]
        there = grid.rowcol(*_transformed(lattice.crs, grid.crs, *lattice.xy(row, col)))
        values[row0 : row0 + strip] = _sampled(source, *(np.rint(v) for v in there))
    return values


def _thinned(part: Grid, step: int, shape: tuple[int, ...]) -> Grid:
    """Return the lattice of every *step*th row and column, centred where those are."""
    first = part.transform @ Affine.translation(0.5 - 0.5 * step, 0.5 - 0.5 * step)
    return Grid(part.crs, first @ Affine.scale(step), shape[0], shape[1])


def at_points(
    product: RasterSource, x: NDArray[np.floating], y: NDArray[np.floating], crs: str
) -> Heights:
    """Return heights of *product* at places given in *crs*, bilinear; NaN off it and in voids."""
    grid = _grid(product, "product")
    row, col = grid.rowcol(*_transformed(crs, grid.crs, x, y))
    heights = np.full(np.shape(row), np.nan, np.float32)
    inside = np.flatnonzero(
        (row > -1) & (row < grid.height) & (col > -1) & (col < grid.width) & np.isfinite(row + col)
    )
    # points of one neighbourhood together: a window each, and never the whole raster
    tile = np.floor(np.stack([row[inside], col[inside]]) / 1024)
    _, number = np.unique(tile, axis=1, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    cuts = np.flatnonzero(np.diff(number.ravel()[order])) + 1
    for group in np.split(inside[order], cuts) if len(inside) else []:
        heights[group] = _sampled(product, row[group], col[group])
    return heights


def cells_at_points(
    source: RasterSource, x: NDArray[np.floating], y: NDArray[np.floating], crs: str
) -> Heights:
    """Return the cell of a raster that each place given in *crs* lies in; NaN off it."""
    grid = _grid(source, "raster")
    row, col = (np.rint(v) for v in grid.rowcol(*_transformed(crs, grid.crs, x, y)))
    return at_points(source, *grid.xy(row, col), grid.crs)


def _grid(source: RasterSource, name: str) -> Grid:
    if source.grid is None:
        raise InvalidInput(f"{name} has no georeference: give a map, not an image")
    if source.shape[0] != 1:
        raise InvalidInput(f"{name} has {source.shape[0]} bands: give one band of heights")
    return source.grid


def _crs(code: str) -> CRS:
    return known(code, f"{code} is unknown to PROJ: give an EPSG code")


def _metric(grid: Grid) -> bool:
    crs = _crs(grid.crs)
    return crs.is_projected and crs.axis_info[0].unit_name in ("metre", "meter")


def _overlap(lattice: Grid, other: Grid) -> Grid:
    """Return the part of *lattice* under the bounds of *other*."""
    xmin, ymin, xmax, ymax = Transformer.from_crs(
        _crs(other.crs), _crs(lattice.crs), always_xy=True
    ).transform_bounds(*other.bounds, densify_pts=21)
    # centres within the bounds; a cell is -0.5 … 0.5 about its centre
    row, col = lattice.rowcol([xmin, xmax], [ymax, ymin])
    row0, row1 = max(0, ceil(min(row) - 1e-6)), min(lattice.height - 1, int(max(row) + 1e-6))
    col0, col1 = max(0, ceil(min(col) - 1e-6)), min(lattice.width - 1, int(max(col) + 1e-6))
    if not np.isfinite([xmin, ymin, xmax, ymax]).all() or row1 < row0 or col1 < col0:
        raise NothingToCompare("product and reference share no ground: are both of one place?")
    return lattice.window(row0, col0, row1 - row0 + 1, col1 - col0 + 1)


def _read(
    fixed: RasterSource, moved: RasterSource, lattice: Grid, part: Grid, step: int
) -> tuple[Heights, Heights]:
    """Return the cells of *fixed* in *part*, every *step*th, and *moved* sampled there."""
    assert moved.grid is not None
    first_row, first_col = (round(float(v)) for v in lattice.rowcol(*part.xy(0, 0)))
    values, sampled = [], []
    strip = max(1, STRIP_CELLS // part.width // step) * step
    for row0 in range(0, part.height, strip):
        height = min(strip, part.height - row0)
        block = fixed.read(first_row + row0, first_col, height, part.width)[0][::step, ::step]
        row, col = np.mgrid[row0 : row0 + height : step, 0 : part.width : step]
        there = _transformed(part.crs, moved.grid.crs, *part.xy(row, col))
        values.append(block)
        sampled.append(_sampled(moved, *moved.grid.rowcol(*there)))
    return np.concatenate(values), np.concatenate(sampled)


def _transformed(
    source: str, target: str, x: NDArray[np.floating], y: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if source == target:
        return np.asarray(x, float), np.asarray(y, float)
    moved = Transformer.from_crs(_crs(source), _crs(target), always_xy=True).transform(x, y)
    return np.asarray(moved[0], float), np.asarray(moved[1], float)


def _sampled(source: RasterSource, row: NDArray[np.floating], col: NDArray[np.floating]) -> Heights:
    """Return *source* at fractional cells from one window around them all."""
    _, rows, cols = source.shape
    near = (row > -1) & (row < rows) & (col > -1) & (col < cols)
    if not near.any():
        return np.full(row.shape, np.nan, np.float32)
    row0, col0 = max(0, int(row[near].min()) - 1), max(0, int(col[near].min()) - 1)
    row1, col1 = min(rows, int(row[near].max()) + 3), min(cols, int(col[near].max()) + 3)
    return _window_sampled(source, row, col, (row0, col0, row1 - row0, col1 - col0))


def _window_sampled(
    source: RasterSource,
    row: NDArray[np.floating],
    col: NDArray[np.floating],
    window: tuple[int, int, int, int],
) -> Heights:
    """Return *source* at fractional cells within *window*, thinned where it is far too fine."""
    row0, col0, height, width = window
    if height * width > 4 * MAX_CELLS and height > 2:
        # a reference much coarser than the product: read only what is asked for, in halves
        heights = np.full(row.shape, np.nan, np.float32)
        half = height // 2
        for start, size in ((row0, half), (row0 + half, height - half)):
            mine = (row >= start - 0.5) & (row < start + size - 0.5)
            if mine.any():
                heights[mine] = _sampled(source, row[mine], col[mine])
        return heights
    values = source.read(row0, col0, height, width)[0]
    return bilinear(values, row - row0, col - col0)
