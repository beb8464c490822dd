"""How a surface model shows a roof: creases rounded, walls mostly kept.

Matching windows round ridges off: on surfaces from images a gable of 34° looks like one of 24°
although most of its cells are right. So a roof is compared with a surface as that would show it:
blurred within its own outline. How much is found on the buildings themselves, `blur_of`; on lidar
it is nothing. On walls the blur is smaller and lopsided, so they are kept out by reading inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.raster import Raster
from processes.roofs.heights import window_over

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

WIDTHS_M = (0.0, 0.5, 0.8, 1.1, 1.4, 1.7)
NOISE_CELLS = 12
"""Cells that share one matching window, so that errors are counted once."""
FINEST_M = 0.03
MOST_CELLS = 1200
"""Of a larger roof every second or third row and column is asked."""
FEWEST = 5
"""Roofs that are needed to say how blurred a surface is."""
LEAST_GAIN = 0.03
"""A blur must explain at least this share of what a sharp roof leaves."""


@dataclass(frozen=True)
class Seen:
    """The cells under an outline, and those of them whose heights are asked."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    """Of all cells under the outline."""
    z: NDArray[np.float64]
    """Of the cells that are asked."""
    every_z: NDArray[np.float64]
    """Of all cells under the outline, NaN where the surface has none."""
    blur_px: float
    _inside: NDArray[np.bool_]
    _asked: NDArray[np.bool_]
    _weight: NDArray[np.float32]

    def __call__(self, heights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return *heights*, one a cell under the outline, as the surface shows the asked cells."""
        canvas = np.zeros(self._inside.shape, np.float32)
        canvas[self._inside] = heights
        if self.blur_px:
            canvas = cv2.GaussianBlur(canvas, (0, 0), self.blur_px)
            return np.asarray(canvas[self._asked] / self._weight[self._asked], np.float64)
        return np.asarray(canvas[self._asked], np.float64)


def seen(outline: BaseGeometry, dsm: Raster, inset_m: float, blur_m: float) -> Seen:
    """Return what *dsm* shows of a roof, read *inset_m* inside the outline."""
    import shapely

    row0, col0, height, width = window_over(outline.bounds, dsm.grid)
    row0, col0 = max(row0, 0), max(col0, 0)
    values = dsm.values[row0 : row0 + height, col0 : col0 + width]
    rows, cols = np.mgrid[row0 : row0 + values.shape[0], col0 : col0 + values.shape[1]]
    x, y = dsm.grid.xy(rows, cols)
    shapely.prepare(outline)
    inside = shapely.contains_xy(outline, x, y)
    inner = outline.buffer(-inset_m) if inset_m else outline
    asked = inside & shapely.contains_xy(inner, x, y) & np.isfinite(values)
    stride = int(np.ceil(np.sqrt(asked.sum() / MOST_CELLS)))
    if stride > 1:
        asked &= (rows % stride == 0) & (cols % stride == 0)
    blur_px = blur_m / dsm.grid.cell_m
    weight = inside.astype(np.float32)
    if blur_px:
        weight = cv2.GaussianBlur(weight, (0, 0), blur_px)
    z, every_z = values[asked].astype(float), values[inside].astype(float)
    return Seen(x[inside], y[inside], z, every_z, blur_px, inside, asked, weight)


def blur_of(costs: Sequence[Sequence[float]]) -> float:
    """Return the blur that explains a scene's roofs best, metres.

    *costs* has a row a building: the mean squared residual of its best roof at each of WIDTHS_M.
    Each building counts alike, whatever its size and how rough it is.
    """
    if len(costs) < FEWEST:
        return WIDTHS_M[0]
    table = np.asarray(costs, float)
    share = np.median(table / np.maximum(table[:, :1], 1e-4), axis=0)
    best = int(np.argmin(share))
    return WIDTHS_M[best] if share[best] < 1 - LEAST_GAIN else WIDTHS_M[0]


def points(x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> Seen:
    """Return scattered heights, shown as they are."""
    every = np.ones((1, len(z)), bool)
    return Seen(x, y, z, z, 0.0, every, every, every.astype(np.float32))


def bic(cost: float, cells: int, unknowns: int) -> float:
    """Return the Bayesian information criterion of a mean squared residual, the less the better."""
    independent = max(cells / NOISE_CELLS, 2.0)
    return float(independent * np.log(max(cost, FINEST_M**2)) + unknowns * np.log(independent))
