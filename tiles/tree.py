"""Which buildings are in which tile: a quadtree of longitude and latitude, coarse to fine.

Every square of the tree is cut while it holds more than *most* buildings. Then

- a square that is cut shows the blocks of its largest buildings, landmarks seen from afar;
- one that is not shows all its buildings as blocks, and its four quarters show their details;
- or, where blocks lack nothing, its buildings as they are, and that is all.

Tiles replace their parents. The error of a tile is what it lacks against the finest: the size of
the largest building it leaves out, and how far its blocks are from the roofs they stand for.
Squares are those of 3D Tiles' implicit tiling, so that one tree serves both ways to write it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiles.globe import region
from tiles.node import Node
from tiles.scene import Extents

DEEPEST = 24
"""Levels: a street of 50 km is then cut into squares of 3 mm."""
LANDMARKS = 4
"""One in so many of the buildings that a tile may hold is shown by the tiles above it."""

Content = Literal["blocks", "details"]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Tile(Node):
    """One square of the tree, and the numbers of the buildings that it shows."""

    content: Content
    shown: Numbers


def tree(reach: Extents, ids: list[str], deviation_m: NDArray[np.float64], most: int) -> Tile:
    """Return the root over at least one building; *ids* settle the order of equal sizes.

    *deviation_m* is what is lost where a building is shown as a block.
    """
    middle = (reach.low[:, :2] + reach.high[:, :2]) / 2
    west_south, east_north = middle.min(axis=0), middle.max(axis=0)
    side = np.maximum(east_north - west_south, 1e-12)
    finest = (middle - west_south) / side * 2**DEEPEST
    cell = np.clip(finest, 0, 2**DEEPEST - 1).astype(np.int64)
    size = np.round(reach.size_m, 3)
    order = np.array(sorted(range(len(size)), key=lambda i: (-size[i], ids[i])), np.int64)
    return _Tree(reach, cell, deviation_m, most).square(0, 0, 0, order)


@dataclass(frozen=True)
class _Tree:
    reach: Extents
    cell: Numbers
    """(n, 2) column and row of each building at the deepest level."""
    deviation_m: NDArray[np.float64]
    most: int

    def square(self, level: int, x: int, y: int, buildings: Numbers) -> Tile:
        """Return the tile of *buildings*, which come largest first."""
        tile = Tile(level, x, y, self._around(buildings), 0.0, (), "details", buildings)
        if len(buildings) > self.most and level < DEEPEST:
            shown, missing = np.split(buildings, [max(self.most // LANDMARKS, 1)])
            children = tuple(
                self.square(level + 1, *place, part)
                for place, part in self._quarters(level, x, y, buildings)
            )
            lacking = float(self.reach.size_m[missing].max(initial=0.0))
        elif self.deviation_m[buildings].any() and level < DEEPEST:
            shown, lacking = buildings, 0.0
            children = tuple(
                replace(tile, level=level + 1, x=place[0], y=place[1], shown=part,
                        region=self._around(part))
                for place, part in self._quarters(level, x, y, buildings)
            )  # fmt: skip
        else:
            return tile
        below = max(child.error_m for child in children)
        error = max(lacking, float(self.deviation_m[shown].max()), below)
        return replace(tile, content="blocks", shown=shown, error_m=error, children=children)

    def _around(self, buildings: Numbers) -> list[float]:
        return region(self.reach.low[buildings].min(axis=0), self.reach.high[buildings].max(axis=0))

    def _quarters(
        self, level: int, x: int, y: int, buildings: Numbers
    ) -> Iterator[tuple[tuple[int, int], Numbers]]:
        """Yield the squares of the next level that hold buildings, with them, in their order."""
        east, north = (self.cell[buildings] >> (DEEPEST - level - 1) & 1).T
        for number in range(4):
            part = buildings[(east + 2 * north) == number]
            if len(part):
                yield (2 * x + number % 2, 2 * y + number // 2), part
