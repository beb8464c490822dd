"""Semi-global aggregation of a sliced cost volume along eight paths.

Hirschmüller, 2008; each path looks at two neighbours as in MGM (Facciolo, de Franchis & Meinhardt,
2015), which takes away most streaks. Path costs are bytes: a cost is at most 48, a penalty at most
50, so no path reaches more than 98 above its least. Two sweeps (down, then up) with four paths
each keep only two image rows of path costs.

The mean of two neighbours does not say which of them lies along the path: the paths from W and
from N are one and the same, to the bit, and so are those from NW and from NE. Each is followed once
and counts twice, in half the time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.stereo.census import Seen, Slices, cost_slices
from processes.stereo.lanes import (
    LANES,
    claim,
    claim_half,
    first_of,
    forget,
    gather,
    lowest,
    lowest_beyond,
    relax,
)

FAR = np.uint8(0xFF)
NOTHING = np.uint16(0xFFFF)
NEVER = np.int32(-(2**30))
PATHS = 2
"""From W and N, and from NW and NE."""


class Solution(NamedTuple):
    """What the cost volume says of a strip; see `winners`."""

    left: NDArray[np.int32]
    near: NDArray[np.uint16]
    rival: NDArray[np.uint16]
    right: NDArray[np.int32]


def solve(
    left: Seen,
    right: Seen,
    pad: int,
    slices: Slices,
    p1: np.uint8,
    p2: NDArray[np.uint8],
    right_cols: int,
) -> Solution:
    """Return the best disparity of every pixel of a strip.

    The arrays of *right* have *pad* more columns on both sides, and `slices.per_px` for each of
    its *right_cols* pixels. *p1* is the penalty for one step, *p2* that for more, by the difference
    of grey levels.
    """
    total = summed(costs(left, right, pad, slices), slices, left.greys, p1, p2)
    return chosen(total, slices, right_cols)


def costs(left: Seen, right: Seen, pad: int, slices: Slices) -> NDArray[np.uint8]:
    """Return the cost of every disparity of every pixel, a flat array."""
    cost = np.empty(slices.size, np.uint8)
    cost_slices(
        left.codes, left.valid, left.greys, right.codes, right.valid, right.greys, pad,
        slices.first, slices.count, slices.start, slices.per_px, cost,
    )  # fmt: skip
    return cost


def summed(
    cost: NDArray[np.uint8],
    slices: Slices,
    guide: NDArray[np.uint8],
    p1: np.uint8,
    p2: NDArray[np.uint8],
) -> NDArray[np.uint16]:
    """Return the costs of all paths together, a flat array as `winners` takes it."""
    lowest_step = int(slices.first.min())
    span = int((slices.first + slices.count).max()) - lowest_step
    total = np.empty(slices.size + LANES, np.uint16)
    for up in (False, True):
        sweep(
            cost, slices.first, slices.count, slices.start, guide, p1, p2, lowest_step, span, up,
            total,
        )  # fmt: skip
    return total


def chosen(total: NDArray[np.uint16], slices: Slices, right_cols: int) -> Solution:
    """Return the best disparities by the costs of all paths together."""
    where = (slices.first, slices.count, slices.start)
    return Solution(*winners(total, *where, slices.per_px, right_cols))


@njit(cache=True, nogil=True, error_model="numpy")
def sweep(cost, first, count, start, guide, p1, p2, lowest_step, span, up, total):  # type: ignore[no-untyped-def]
    """Sum into *total* (flat uint16) four path costs: from W, NW, N, NE, or when *up* the opposite.

    Down replaces what is there, *up* is added to it. *p2* is a table of 256 penalties (uint8) by
    difference of *guide* (uint8) along the step. *lowest_step* is the smallest disparity of all
    slices, *span* their whole extent. Pixels with an empty slice are gone around.
    """
    rows, cols = first.shape
    width = span + 2 * LANES
    block = PATHS * width
    # row parity, column, path, disparity: flat
    lines = np.full(2 * (cols + 2) * block, FAR, np.uint8)
    best = np.zeros((2, cols + 2, PATHS), np.uint8)
    used = np.zeros((2, cols + 2, 2), np.int32)
    step = -1 if up else 1
    none = np.uint8(0)
    for i in range(rows):
        r = rows - 1 - i if up else i
        behind = r - step
        now, then = i & 1, 1 - (i & 1)
        for j in range(cols):
            c = cols - 1 - j if up else j
            n = count[r, c]
            here = (now * (cols + 2) + c + 1) * block
            if used[now, c + 1, 1] > 0:
                for path in range(PATHS):
                    forget(lines, here + path * width + used[now, c + 1, 0], used[now, c + 1, 1])
            used[now, c + 1, 1] = n
            if n == 0:
                continue
            a = first[r, c] - lowest_step + LANES
            used[now, c + 1, 0] = a
            here += a
            s = start[r, c]
            g = np.int64(guide[r, c])
            west, east = c - step, c + step
            inside = west >= 0 and west < cols
            has_w = inside and count[r, west] > 0
            has_n = i > 0 and count[behind, c] > 0
            has_nw = i > 0 and inside and count[behind, west] > 0
            has_ne = i > 0 and east >= 0 and east < cols and count[behind, east] > 0
            p_w = p2[abs(g - np.int64(guide[r, west]))] if has_w else none
            p_n = p2[abs(g - np.int64(guide[behind, c]))] if has_n else none
            p_nw = p2[abs(g - np.int64(guide[behind, west]))] if has_nw else none
            p_ne = p2[abs(g - np.int64(guide[behind, east]))] if has_ne else none
            w = (now * (cols + 2) + west + 1) * block + a
            north = (then * (cols + 2) + c + 1) * block + a
            nw = (then * (cols + 2) + west + 1) * block + a
            ne = (then * (cols + 2) + east + 1) * block + a
            for path in range(PATHS):
                if path == 0:
                    has1, x1, q1, m1 = has_w, w, p_w, best[now, west + 1, 0]
                    has2, x2, q2, m2 = has_n, north, p_n, best[then, c + 1, 0]
                else:
                    has1, x1, q1, m1 = has_nw, nw, p_nw, best[then, west + 1, 1]
                    has2, x2, q2, m2 = has_ne, ne, p_ne, best[then, east + 1, 1]
                if not has1 and not has2:
                    # whatever lies there: a jump to it costs nothing
                    x1, q1, m1 = north, none, none
                    x2, q2, m2 = north, none, none
                elif not has1:
                    x1, q1, m1 = x2, q2, m2
                elif not has2:
                    x2, q2, m2 = x1, q1, m1
                at = path * width
                best[now, c + 1, path] = relax(
                    lines, here + at, x1 + at, x2 + at,
                    np.uint8(m1 + q1), m1, np.uint8(m2 + q2), m2, p1, cost, s, n,
                )  # fmt: skip
            gather(lines, here, width, total, s, n, up)


@njit(cache=True, nogil=True, error_model="numpy")
def winners(total, first, count, start, per_px, right_cols):  # type: ignore[no-untyped-def]
    """Return the best disparity of each left and each right pixel, and the left's three costs.

    Left: (row, col) int32 steps, with costs (row, col, 3) before, at and after the minimum, and the
    lowest cost two or more pixels away from it; 0 and NOTHING where the slice is empty. Right:
    steps of the whole right pixels, found along the volume's diagonals; NEVER where no left pixel
    looked. *per_px* is 1 or 2; *total* has LANES elements more than the slices need.
    """
    rows, cols = first.shape
    left = np.zeros((rows, cols), np.int32)
    near = np.full((rows, cols, 3), NOTHING, np.uint16)
    rival = np.full((rows, cols), NOTHING, np.uint16)
    right = np.empty((rows, right_cols), np.int32)
    # right columns that anything looks at, whether they exist or not
    before = max(0, -first.min() // per_px) + LANES
    width = max(cols + (first + count).max() // per_px + LANES, right_cols) + before
    best, steps = np.empty(width, np.uint16), np.empty(width, np.int32)
    for r in range(rows):
        best[:], steps[:] = NOTHING, NEVER
        for c in range(cols):
            n = count[r, c]
            if n == 0:
                continue
            s = start[r, c]
            low = lowest(total, s, n)
            m = first_of(total, s, n, low)
            left[r, c] = first[r, c] + m
            near[r, c, 1] = low
            if m > 0:
                near[r, c, 0] = total[s + m - 1]
            if m + 1 < n:
                near[r, c, 2] = total[s + m + 1]
            rival[r, c] = lowest_beyond(total, s, n, m, 2 * per_px)
            at = c * per_px + first[r, c]
            if per_px == 1:
                claim(total, s, n, best, steps, at + before, first[r, c])
            else:
                odd = at % 2
                to = (at + odd) // 2 + before
                claim_half(total, s + odd, n, best, steps, to, first[r, c] + odd)
        right[r] = steps[before : before + right_cols]
    return left, near, rival, right
