"""A terrain model as a textured mesh in 3D Tiles, for buildings to stand on.

The raster is a quadtree of squares of 512 cells. A square's mesh is a net of right triangles that
leaves its heights by little (`rtin.py`), and its picture 512 or 1024 pixels of the ortho; each
level up has every second sample and pixel, and twice the tolerance. Tiles replace their parents.

A tile's error is measured: how far its triangles are from the finest samples, step by step up the
tree, or what a texel of its picture is worth (`picture.SHARP`), whichever is larger. Where tiles
of different levels meet, skirts hide the crack: they reach down as far as both errors allow it to
open.

Only the squares on the path from the root to one of the finest are in memory, so a country needs
no more than a village. Colours are shown as they are (`KHR_materials_unlit`): an ortho has its
own light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import AssetUnreadable, GridMismatch
from processes.core.raster import Grid, RasterSource
from tiles import globe
from tiles.document import write_document
from tiles.node import Node, put, uri
from tiles.picture import SHARP, Bytes, MapPicture
from tiles.rtin import Surface, between, surface
from tiles.terrain_tile import content, relief, skirted

CELLS = 512
"""Sides of a square of the finest level, in cells of the terrain model."""
TOLERANCE_M = 0.1
LISTED = 500
"""Meshes of more tiles than this are implicit."""

Floats = NDArray[np.float64]
Progress = Callable[[float], None]


def write_terrain(
    dtm: RasterSource,
    folder: Path,
    *,
    picture: MapPicture | None = None,
    tolerance_m: float = TOLERANCE_M,
    progress: Progress = lambda share: None,
) -> Path:
    """Write tileset.json and its tiles into *folder*; return the tileset's path.

    Heights are above the WGS84 ellipsoid. Without *picture* the mesh shows a shaded relief.
    Raises AssetUnreadable where the raster has no georeference, UnknownCrs, and GridMismatch for a
    picture of another place.
    """
    if dtm.grid is None:
        raise AssetUnreadable("the dtm has no georeferencing: give one on a projected grid")
    if picture is not None and not picture.meets(dtm.grid):
        raise GridMismatch("ortho and dtm share no ground: give those of one place")
    builder = _Builder(dtm, dtm.grid, folder, picture, tolerance_m, progress)
    square = builder.square(0, 0, 0)
    root = builder.finished(square, square.off_m) if square else None
    return write_document(
        root,
        folder,
        listed=builder.count <= LISTED,
        error_m=dtm.grid.cell_m * max(dtm.grid.shape),  # else one exact tile is never worth showing
        axes=builder.axes,
    )


@dataclass(frozen=True)
class _Square:
    """A square whose tile waits for the error of its parent, which its skirts must cover."""

    level: int
    x: int
    row: int
    heights: Floats
    """(513, 513) samples; NaN where unknown."""
    colours: Bytes
    shape: Surface
    lost_m: float
    """How far its samples, joined by planes, are from the finest ones."""
    off_m: float
    """How far its triangles are."""
    error_m: float
    children: tuple[Node, ...]


@dataclass
class _Builder:
    dtm: RasterSource
    grid: Grid
    folder: Path
    picture: MapPicture | None
    tolerance_m: float
    progress: Progress
    count: int = 0
    """Tiles that were written."""
    done: float = 0.0
    levels: int = field(init=False)
    axes: Floats = field(init=False)

    def __post_init__(self) -> None:
        across = max(self.grid.height - 1, self.grid.width - 1, CELLS)
        self.levels = int(np.ceil(np.log2(across / CELLS)))
        west, south, east, north = self.grid.bounds
        middle = np.array([[(west + east) / 2, (south + north) / 2, 0.0]])
        self.axes = globe.east_north_up(globe.on_globe(middle, self.grid.crs)[0])

    def square(self, level: int, x: int, row: int) -> _Square | None:
        """Return a square of the tree, its descendants written; None where nothing is known."""
        step = 1 << (self.levels - level)
        outside = row * CELLS * step >= self.grid.height or x * CELLS * step >= self.grid.width
        if level < self.levels and not outside:
            return self._coarser(level, x, row, step)
        found = None if outside else self._finest(x, row)
        self.done += 0.25**level
        self.progress(self.done)
        return found

    def _finest(self, x: int, row: int) -> _Square | None:
        top, left = row * CELLS, x * CELLS
        heights = self.dtm.read(top, left, CELLS + 1, CELLS + 1, bands=(0,))[0].astype(float)
        shape = self._shape(heights, 1)
        if not len(shape.triangles):
            return None
        if self.picture is None:
            colours = relief(heights, self.grid.cell_m)
        else:
            finer = round(self.grid.cell_m / self.picture.grid.cell_m)
            side_px = CELLS * min(max(finer, 1), 2)
            colours = self.picture.over(self.grid.window(top, left, CELLS, CELLS), side_px)
        off = _largest(shape.heights - heights)
        return _Square(self.levels, x, row, heights, colours, shape, 0.0, off, 0.0, ())

    def _coarser(self, level: int, x: int, row: int, step: int) -> _Square | None:
        places = [(down, right) for down in (0, 1) for right in (0, 1)]
        quarters = {
            place: square
            for place in places
            if (square := self.square(level + 1, 2 * x + place[1], 2 * row + place[0]))
        }
        if not quarters:
            return None
        fine, colours = _joined(quarters)
        heights = _every_second(fine)
        shape = self._shape(heights, step)
        below = max(square.lost_m for square in quarters.values())
        known = np.where(np.isfinite(heights), shape.heights, np.nan)
        off = _largest(between(known) - fine) + below
        texel_m = self.grid.cell_m * CELLS * step / len(colours)
        error = max(off, SHARP * texel_m, *(square.error_m for square in quarters.values()))
        children = tuple(self.finished(square, off) for square in quarters.values())
        lost = _largest(between(heights) - fine) + below
        return _Square(level, x, row, heights, colours, shape, lost, off, error, children)

    def _shape(self, heights: Floats, step: int) -> Surface:
        known = np.isfinite(heights)
        filled = np.where(known, heights, heights[known].mean() if known.any() else 0.0)
        return surface(filled, known, self.tolerance_m * step)

    def finished(self, square: _Square, parent_off_m: float) -> Node:
        """Write the square's tile; return its place in the tree.

        The neighbour may be a level coarser, and its error that of another parent: twice is safe.
        """
        self.count += 1
        step = 1 << (self.levels - square.level)
        drop_m = square.off_m + 2 * parent_off_m + self.tolerance_m * step
        rows, cols, heights, triangles = skirted(square.shape, square.heights, drop_m)
        top, left = square.row * CELLS * step, square.x * CELLS * step
        x, y = self.grid.xy(top + rows * step, left + cols * step)
        places = globe.on_globe(np.column_stack([x, y, heights]), self.grid.crs)
        around = globe.margin(places[:, 1])
        low, high = places.min(axis=0) - around, places.max(axis=0) + around
        for child in square.children:
            low, high = _with(low, high, child.region)
        share = np.column_stack([cols, rows]) / CELLS + 0.5 / (CELLS * step)
        node = Node(
            square.level,
            square.x,
            (1 << square.level) - 1 - square.row,
            globe.region(low, high),
            square.error_m,
            square.children,
        )
        made = content(globe.y_up(places, self.axes), share, triangles, square.colours, step)
        put(self.folder / uri(node, "glb"), made)
        return node


def _joined(quarters: Mapping[tuple[int, int], _Square]) -> tuple[Floats, Bytes]:
    """Return (1025, 1025) samples of up to four squares, and their picture at half its size."""
    heights = np.full((2 * CELLS + 1, 2 * CELLS + 1), np.nan)
    side = len(next(iter(quarters.values())).colours)
    colours = np.full((2 * side, 2 * side, 3), 128, np.uint8)
    for (down, right), square in quarters.items():
        part = heights[down * CELLS :, right * CELLS :][: CELLS + 1, : CELLS + 1]
        # the first row and column of a square are the last of its neighbour, known in both or none
        np.copyto(part, square.heights, where=np.isfinite(square.heights))
        colours[down * side :, right * side :][:side, :side] = square.colours
    halves = colours.reshape(side, 2, side, 2, 3).astype(np.uint16).sum(axis=(1, 3))
    return heights, ((halves + 2) // 4).astype(np.uint8)


def _every_second(fine: Floats) -> Floats:
    """Return every second sample; an unknown one is the mean of those around it, if any is known.

    So what is known somewhere is known at every level, be it a strip of one cell.
    """
    heights = fine[::2, ::2].copy()
    padded = np.pad(fine, 1, constant_values=np.nan)
    shifts = [(row, col) for row in range(3) for col in range(3)]
    around = np.stack([padded[row:, col:][: len(fine) : 2, : len(fine) : 2] for row, col in shifts])
    seen = np.isfinite(around)
    mean = np.where(seen, around, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    fill = np.isnan(heights) & seen.any(axis=0)
    heights[fill] = mean[fill]
    return heights


def _largest(difference: Floats) -> float:
    return float(np.nan_to_num(np.abs(difference)).max(initial=0.0))


def _with(low: Floats, high: Floats, region: list[float]) -> tuple[Floats, Floats]:
    """Return the corners around themselves and *region*, on the same side of the antimeridian."""
    west, south, east, north, floor, ceiling = region
    turns = 2 * np.pi * np.round((low[0] - west) / (2 * np.pi))
    east += 2 * np.pi * (east < west) + turns
    corner, other = np.array([west + turns, south, floor]), np.array([east, north, ceiling])
    return np.minimum(low, corner), np.maximum(high, other)
