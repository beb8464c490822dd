"""Heights between cells: one raster read at the places of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bilinear(
    values: NDArray[np.floating], row: NDArray[np.floating], col: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return *values* at fractional cells (integers are cell centres).

    A place is known where its nearest cell is known; of the four cells around it the unknown ones
    have no weight, so a void neither spreads nor shrinks. Half a cell beyond the rim is known too.
    """
    rows, cols = values.shape
    row, col = np.asarray(row, np.float64), np.asarray(col, np.float64)
    inside = (row >= -0.5) & (row < rows - 0.5) & (col >= -0.5) & (col < cols - 0.5)
    row, col = np.where(inside, row, 0.0), np.where(inside, col, 0.0)
    r0, c0 = np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)
    fr, fc = row - r0, col - c0
    total, weight = np.zeros(row.shape), np.zeros(row.shape)
    for drow, dcol in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cell = values[np.clip(r0 + drow, 0, rows - 1), np.clip(c0 + dcol, 0, cols - 1)]
        share = (fr if drow else 1 - fr) * (fc if dcol else 1 - fc)
        share = np.where(np.isfinite(cell), share, 0.0)
        total += share * np.where(share > 0, cell, 0.0)
        weight += share
    nearest = values[(np.floor(row + 0.5)).astype(np.int64), (np.floor(col + 0.5)).astype(np.int64)]
    known = inside & np.isfinite(nearest)
    return np.where(known, total / np.maximum(weight, 1e-12), np.nan).astype(np.float32)
