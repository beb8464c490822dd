"""Which tile of a scene owns which building, so that each is drawn once, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from processes.outlines.trace import joined

Window = tuple[int, int, int, int]
"""First row, first column, height, width."""


def tiles(shape: tuple[int, int], side_px: int) -> Iterator[Window]:
    """Yield tiles (row, col, height, width) of about one size: their margins cost too."""
    rows, cols = (
        np.linspace(0, size, max(1, round(size / side_px)) + 1).astype(int).tolist()
        for size in shape
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(cols):
            yield top, left, bottom - top, right - left


def owned(mask: NDArray[np.bool_], tile: Window) -> tuple[NDArray[np.bool_], bool]:
    """Return the cells of groups whose first cell lies in the tile, and whether any is cut.

    First is the topmost row's leftmost cell, so that each group has one owner whatever the
    window. Cut are those that reach the window's edge.
    """
    row, col, height, width = tile
    names = joined(mask)
    count = int(names.max())
    if count == 0:
        return mask, False
    flat = names.ravel()
    cells = np.flatnonzero(flat)
    first = np.full(count + 1, flat.size)
    np.minimum.at(first, flat[cells], cells)
    rows, cols = np.divmod(first, mask.shape[1])
    mine = (rows >= row) & (rows < row + height) & (cols >= col) & (cols < col + width)
    mine[0] = False
    edge = np.unique(np.concatenate([names[0], names[-1], names[:, 0], names[:, -1]]))
    # a group cut above or to the left may have its first cell beyond
    touched = np.zeros(count + 1, bool)
    touched[edge] = True
    inside = np.unique(names[row : row + height, col : col + width])
    near = np.zeros(count + 1, bool)
    near[inside] = True
    return mine[names], bool((touched & near)[1:].any())


def around(mask: NDArray[np.bool_], margin_px: float) -> tuple[slice, slice]:
    """Return the window around all cells of a mask and their surroundings."""
    found = []
    for axis in (1, 0):
        known = np.flatnonzero(mask.any(axis=axis))
        first, last = known[0] - round(margin_px), known[-1] + 1 + round(margin_px)
        found.append(slice(max(int(first), 0), min(int(last), mask.shape[1 - axis])))
    return found[0], found[1]
