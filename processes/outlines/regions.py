"""Connected cells: their numbers, and the window around each.

As SciPy's `ndimage` does it, number for number; to import that takes .3 s, a tenth of a village.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Labels = NDArray[np.int32]
Window = tuple[slice, slice]


def labelled(mask: NDArray[np.bool_], *, across_corners: bool = False) -> tuple[Labels, int]:
    """Return regions numbered from 1, by their first cells row by row, and how many there are."""
    if not mask.size:
        return np.zeros(mask.shape, np.int32), 0
    count, names = cv2.connectedComponentsWithAlgorithm(
        np.asarray(mask, np.uint8), 8 if across_corners else 4, cv2.CV_32S, cv2.CCL_WU
    )
    return np.asarray(names, np.int32), count - 1


def windows(labels: NDArray[np.integer[Any]]) -> list[Window]:
    """Return the window around each number from 1 on; an empty one where there is no such cell."""
    ends = _ends(np.ascontiguousarray(labels, np.int32))
    return [(slice(top, bottom), slice(left, right)) for top, bottom, left, right in ends.tolist()]


@njit(cache=True, nogil=True)
def _ends(labels: Labels) -> NDArray[np.int64]:
    """Return first and past the last row, first and past the last column of each number."""
    rows, cols = labels.shape
    highest = 0
    for row in range(rows):
        for col in range(cols):
            highest = max(highest, labels[row, col])
    found = np.zeros((highest, 4), np.int64)
    for row in range(rows):
        for col in range(cols):
            if labels[row, col] > 0:
                own = found[labels[row, col] - 1]
                if own[1] == 0:
                    own[0], own[2] = row, col
                own[1] = row + 1
                own[2], own[3] = min(own[2], col), max(own[3], col + 1)
    return found
