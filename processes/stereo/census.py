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
        sought = np.ones(lo.shape, np.bool_) if where is None else where
        low, high = (np.ascontiguousarray(bound, np.float32) for bound in (lo, hi))
        first, count, start = _slices(low, high, np.float32(per_px), sought)
        return cls(first, count, start, per_px)


@njit(cache=True, nogil=True, error_model="numpy")
def _slices(lo, hi, per_px, where):  # type: ignore[no-untyped-def]
    rows, cols = lo.shape
    first, count = np.empty((rows, cols), np.int32), np.empty((rows, cols), np.int32)
    start = np.empty((rows, cols), np.int64)
    lanes, ends = np.int32(LANES), 0
    for r in range(rows):
        for c in range(cols):
            low = np.int32(np.floor(lo[r, c] * per_px))
            need = np.int32(np.ceil(hi[r, c] * per_px)) - low + np.int32(1)
            whole = (max(need, np.int32(1)) + lanes - np.int32(1)) // lanes * lanes
            first[r, c] = low - (whole - need) // np.int32(2)
            count[r, c] = whole if where[r, c] else 0
            start[r, c] = ends
            ends += count[r, c]
    return first, count, start


@dataclass(frozen=True)
class Seen:
    """What is compared of an image: census codes (uint32), whether each is valid, grey levels."""

    codes: NDArray[np.uint32]
    valid: NDArray[np.uint8]
    greys: NDArray[np.uint8]


@njit(cache=True, nogil=True)
def census(image, offsets, pad=0):  # type: ignore[no-untyped-def]
    """Return uint32 codes (row, col) of a float32 image and whether all its neighbours exist.

    *offsets* is (n ≤ 32, 2): row and column of each neighbour. A neighbour that is missing (NaN or
    beyond the border) leaves its bit 0; a pixel that is itself NaN is not valid. *pad* more columns
    on both sides are not valid.
    """
    rows, cols = image.shape
    codes = np.zeros((rows, cols + 2 * pad), np.uint32)
    valid = np.zeros((rows, cols + 2 * pad), np.uint8)
    for r in range(rows):
        for c in range(cols):
            valid[r, pad + c] = np.uint8(image[r, c] == image[r, c])
        for k in range(offsets.shape[0]):
            rr = r + offsets[k, 0]
            if rr < 0 or rr >= rows:
                continue
            dc = offsets[k, 1]
            first = max(0, -dc)
            last = min(cols, cols - dc)
            here = image[r, first:last]
            there = image[rr, first + dc : last + dc]
            code = codes[r, pad + first : pad + last]
            bit = np.uint32(k)
            for c in range(last - first):
                code[c] |= np.uint32(there[c] < here[c]) << bit
    return codes, valid


@njit(cache=True, nogil=True, error_model="numpy")
def greys(image, dark, spread, pad):  # type: ignore[no-untyped-def]
    """Return square roots (uint8) of how far a float32 image is above *dark*, in shares of …

    … *spread*: shadows have as much contrast as what is lit. What is not known is dark, and *pad*
    more columns on both sides are 0.
    """
    rows, cols = image.shape
    out = np.zeros((rows, cols + 2 * pad), np.uint8)
    for r in range(rows):
        for c in range(cols):
            share = (image[r, c] - dark) / spread
            root = np.sqrt(share if share > 0 else np.float32(0))
            out[r, pad + c] = np.uint8(
                min(root * np.float32(220) + np.float32(18), np.float32(255))
            )
    return out


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
