"""How far cells are from others, and which of those is the nearest, where it is not far."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def from_edge(mask: Mask) -> NDArray[np.float32]:
    """Return how far each cell of a mask is from the nearest cell outside, in cells."""
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    found = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(found, np.float32)


def nearest(mask: Mask, asked: Mask, reach_px: float) -> NDArray[np.int64]:
    """Return for each asked cell, row by row, the flat index of the nearest cell of a mask.

    -1 where none is within reach. Where few cells are asked, and near the mask, this is many times
    faster than a distance transform of the whole.
    """
    radius = int(reach_px)
    row, col = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    square = row**2 + col**2
    order = np.argsort(square, kind="stable")
    order = order[square[order] <= reach_px**2]
    # one cell by itself lies otherwise in memory than many: for numba, another kind of array
    cells = np.ascontiguousarray(np.argwhere(asked))
    return np.asarray(_nearest(mask, cells, np.stack([row[order], col[order]], 1)))


def filled(values: Floats, known: Mask, asked: Mask, reach_px: float) -> Floats:
    """Return values where unknown ones that are asked are those of the nearest known cell.

    NaN where none is within reach, and where nothing is known or asked.
    """
    out = np.where(known, values, np.nan)
    asked = asked & ~known
    if asked.any():
        found = nearest(known, asked, reach_px)
        out[asked] = np.where(found < 0, np.nan, values.ravel()[found])
    return out


@njit(cache=True, nogil=True)
def nearest_of_all(mask: Mask, asked: Mask) -> NDArray[np.int64]:
    """Return for each asked cell, row by row, the flat index of the nearest cell of a mask.

    Of several the first column's first; -1 where the mask has none. It is faster than `nearest`
    where many cells are asked, or where they may be far: columns are searched for each cell, then
    the columns to both sides of one that is asked, as far as they can hold anything nearer.
    """
    rows, cols = mask.shape
    in_column = np.full((rows, cols), -1, np.int32)
    for row in range(rows):
        for col in range(cols):
            if mask[row, col]:
                in_column[row, col] = row
            elif row > 0:
                in_column[row, col] = in_column[row - 1, col]
    for row in range(rows - 2, -1, -1):
        for col in range(cols):
            above, below = in_column[row, col], in_column[row + 1, col]
            if below >= 0 and (above < 0 or below - row < row - above):
                in_column[row, col] = below
    found = np.full(np.count_nonzero(asked), -1, np.int64)
    index = 0
    for row in range(rows):
        for col in range(cols):
            if not asked[row, col]:
                continue
            least = rows * rows + cols * cols
            for away in range(cols):
                if away * away > least:
                    break
                for at in (col - away, col + away):
                    if 0 <= at < cols and in_column[row, at] >= 0:
                        square = away * away + (in_column[row, at] - row) ** 2
                        if square < least or (square == least and at < col):
                            least, found[index] = square, in_column[row, at] * cols + at
            index += 1
    return found


@njit(cache=True, nogil=True)
def _nearest(mask: Mask, asked: NDArray[np.int64], steps: NDArray[Any]) -> NDArray[np.int64]:
    rows, cols = mask.shape
    found = np.full(len(asked), -1, np.int64)
    for index in range(len(asked)):
        for step in range(len(steps)):
            row, col = asked[index, 0] + steps[step, 0], asked[index, 1] + steps[step, 1]
            if 0 <= row < rows and 0 <= col < cols and mask[row, col]:
                found[index] = row * cols + col
                break
    return found
