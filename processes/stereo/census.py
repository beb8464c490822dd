"""Matching cost: census codes and grey levels compared, one slice of disparities a pixel.

A code has one bit a neighbour, set where the neighbour is darker than the centre, so a gain or an
offset between the two images changes nothing (Zabih & Woodfill, 1994). It cannot tell a lawn from a
tree's crown; grey levels can, and are capped so that a change of light does little harm. The slices
may start at a different disparity at each pixel and lie one after another in one flat array, so
work and memory follow the range that is really searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.stereo.lanes import LANES, differences

NO_DATA_COST = np.uint8(16)
"""Cost of comparing with a pixel that is not there: what unrelated codes cost, so neutral."""

GREY_CAP = np.uint8(24)
"""Most that grey levels add to the cost, in bits."""


@dataclass(frozen=True)
class Slices:
    """Which disparities are looked at: ``first[r, c] + k`` for k < ``count[r, c]``.

    They are in steps of 1/``per_px`` pixel; those of a pixel begin at ``start`` in a flat array.
    ``count`` is a multiple of LANES, 0 where nothing is looked for.
    """

    first: NDArray[np.int32]
    count: NDArray[np.int32]
    start: NDArray[np.int64]
    per_px: int

    @property
    def size(self) -> int:
        """Length of a flat array that holds all slices."""
        return int(self.start[-1, -1] + self.count[-1, -1])

    @classmethod
    def between(
        cls,
        lo: NDArray[np.float32],
        hi: NDArray[np.float32],
        *,
        per_px: int = 1,
        where: NDArray[np.bool_] | None = None,
    ) -> Slices:
        """Return slices that cover [lo, hi] (pixels), widened to whole lanes around the middle.

        Nothing is looked for outside of *where*.
        """
        low = np.floor(lo * per_px).astype(np.int32)
        need = np.ceil(hi * per_px).astype(np.int32) - low + 1
        count = (np.maximum(need, 1) + LANES - 1) // LANES * LANES
        first = low - (count - need) // 2
        if where is not None:
            count *= where
        ends = np.cumsum(count, dtype=np.int64).reshape(count.shape)
        return cls(np.ascontiguousarray(first), np.ascontiguousarray(count), ends - count, per_px)


@dataclass(frozen=True)
class Seen:
    """What is compared of an image: census codes (uint32), whether each is valid, grey levels."""

    codes: NDArray[np.uint32]
    valid: NDArray[np.uint8]
    greys: NDArray[np.uint8]


@njit(cache=True, nogil=True)
def census(image, offsets):  # type: ignore[no-untyped-def]
    """Return uint32 codes (row, col) of a float32 image and whether all its neighbours exist.

    *offsets* is (n ≤ 32, 2): row and column of each neighbour. A neighbour that is missing (NaN or
    beyond the border) leaves its bit 0; a pixel that is itself NaN is not valid.
    """
    rows, cols = image.shape
    codes = np.zeros((rows, cols), np.uint32)
    valid = np.zeros((rows, cols), np.uint8)
    for r in range(rows):
        for c in range(cols):
            valid[r, c] = np.uint8(image[r, c] == image[r, c])
        for k in range(offsets.shape[0]):
            rr = r + offsets[k, 0]
            if rr < 0 or rr >= rows:
                continue
            dc = offsets[k, 1]
            first = max(0, -dc)
            last = min(cols, cols - dc)
            here = image[r, first:last]
            there = image[rr, first + dc : last + dc]
            code = codes[r, first:last]
            bit = np.uint32(k)
            for c in range(last - first):
                code[c] |= np.uint32(there[c] < here[c]) << bit
    return codes, valid


def window(rows: int, cols: int, *, spread: int = 1) -> NDArray[np.int64]:
    """Return the offsets of a *rows* by *cols* neighbourhood without its centre.

    *spread* widens its columns, for an image resampled to more of them.
    """
    grid = [
        (r, c * spread)
        for r in range(-(rows // 2), rows // 2 + 1)
        for c in range(-(cols // 2), cols // 2 + 1)
        if r or c
    ]
    return np.array(grid, np.int64)


@njit(cache=True, nogil=True, error_model="numpy")
def cost_slices(  # type: ignore[no-untyped-def]
    left, left_ok, left_grey, right, right_ok, right_grey, pad, first, count, start, per_px, cost
):
    """Fill *cost* (flat uint8): bits that differ plus half the grey levels, at most GREY_CAP.

    Right arrays have *pad* extra columns on both sides and *per_px* columns a pixel.
    """
    rows, cols = first.shape
    for r in range(rows):
        codes, oks, greys = right[r], right_ok[r], right_grey[r]
        for c in range(cols):
            n = count[r, c]
            s = start[r, c]
            if left_ok[r, c] == 0:
                cost[s : s + n] = NO_DATA_COST
                continue
            at = c * per_px + first[r, c] + pad
            differences(
                left[r, c], left_grey[r, c], GREY_CAP, NO_DATA_COST, codes, oks, greys, at,
                cost, s, n,
            )  # fmt: skip
