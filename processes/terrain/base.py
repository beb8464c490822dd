"""The whole terrain on a coarse lattice, water included: the one thing that is held whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import NoGround
from processes.core.raster import RasterSource
from processes.terrain.coverage import covered
from processes.terrain.smooth import at_cells
from processes.terrain.span import coarse_means, coarse_step, land
from processes.terrain.water import joined, reached, survey, water_levels

COARSE_CELLS = 16_000_000
"""It never has more cells than this."""
STRIP_ROWS = 512

Heights = NDArray[np.float32]


@dataclass(frozen=True)
class Water:
    """The water of the whole area on a coarse lattice, *step* cells of the fine one to a cell."""

    level: Heights
    """Metres, also a little beyond the shore; NaN far from water."""
    core: NDArray[np.uint8]
    """1 where there is water, 2 where there is nothing else."""
    step: int

    def at(self, row0: int, col0: int, shape: tuple[int, ...]) -> tuple[Heights, NDArray[np.uint8]]:
        """Return level and core at the fine cells of a window."""
        row = np.arange(row0, row0 + shape[0]) // self.step
        col = np.arange(col0, col0 + shape[1]) // self.step
        rows = slice(row[0], row[-1] + 1)
        level, core = (
            values[rows].take(col, axis=1).take(row - row[0], axis=0)
            for values in (self.level, self.core)
        )
        return level, core


@dataclass(frozen=True)
class Base:
    """The whole terrain on a coarse lattice, *step* cells of the fine one to a cell."""

    heights: Heights
    covered: Heights
    """1 where the terrain may be claimed, 0 beyond the rim of what was observed."""
    step: int
    water: Water

    def at(self, row0: int, col0: int, shape: tuple[int, ...]) -> tuple[Heights, NDArray[np.bool_]]:
        """Return heights at the fine cells of a window, and where the terrain may be claimed."""
        heights = at_cells(self.heights, self.step, shape, row0=row0, col0=col0)
        covered = at_cells(self.covered, self.step, shape, row0=row0, col0=col0)
        return heights, covered >= 0.5


def base_of(
    ground: RasterSource, surface: RasterSource, marked: RasterSource | None, cell_m: float
) -> Base:
    """Read the seen ground strip by strip and span it coarsely.

    *marked*: not nought where water is known to be. Raises NoGround.
    """
    _, rows, cols = surface.shape
    half = max(1, coarse_step(cell_m) // 2)
    while (rows // half) * (cols // half) > COARSE_CELLS:
        half *= 2
    step = 2 * half
    strip = step * max(1, STRIP_ROWS // step)
    means, observed, held = [], [], []
    for row0 in range(0, rows, strip):
        height = min(strip, rows - row0)
        seen = ground.read(row0, 0, height, cols)[0]
        dsm = surface.read(row0, 0, height, cols)[0]
        wet = marked.read(row0, 0, height, cols)[0] if marked else None
        means.append(coarse_means(seen, step))
        observed.append(np.isfinite(coarse_means(dsm, step)))
        held.append(survey(dsm, seen, wet, half))
    coarse = np.concatenate(means)
    if not np.isfinite(coarse).any():
        raise NoGround("the surface model shows no ground: is it empty, or of a single roof?")
    known = covered(np.concatenate(observed), step * cell_m)
    heights = land(coarse, step * cell_m)
    all_held = joined(held)
    shape = all_held.known.shape
    twice = np.ix_(np.arange(shape[0]) // 2, np.arange(shape[1]) // 2)
    level, core = water_levels(all_held, heights[twice], known[twice], half * cell_m)
    if core.any():
        wet_means = coarse_means(level, 2)
        heights = land(np.where(np.isfinite(wet_means), wet_means, coarse), step * cell_m)
    water = Water(reached(level), core, half)
    return Base(heights, known.astype(np.float32), step, water)
