"""What a match is worth: sub-step disparities, agreement of both images, reasons of refusal."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

from processes.stereo.sgm import NOTHING


class Reason(IntEnum):
    """Why a pixel has no disparity; MATCHED when it has one."""

    MATCHED = 0
    NO_DATA = 1
    """The pixel itself is NaN."""
    OUTSIDE = 2
    """What it would match lies outside the right image or is NaN there."""
    OCCLUDED = 3
    """The right pixel belongs to another left pixel: this one is hidden from the right."""
    MISMATCH = 4
    """The two images disagree otherwise."""
    NO_TEXTURE = 5
    """Nothing but one grey value around."""
    SPECKLE = 6
    """A small patch that stands apart from all around it."""


MATCHED, NO_DATA, OUTSIDE, OCCLUDED, MISMATCH = (
    np.uint8(reason)
    for reason in (
        Reason.MATCHED,
        Reason.NO_DATA,
        Reason.OUTSIDE,
        Reason.OCCLUDED,
        Reason.MISMATCH,
    )
)

NOISE = np.float32(32)
"""4 bits on each of 8 paths: what noise alone costs."""


@njit(cache=True, nogil=True, error_model="numpy")
def settled(best, near, rival, back, ok, there_ok, pad, per_px):  # type: ignore[no-untyped-def]
    """Return disparities (px), reasons, and how far behind the second best is, 0 to 1.

    *best* and *back* are steps from left to right and back, *near* the costs before, at and after
    the best, *rival* the least of others; *there_ok* has *pad* columns more on both sides. The
    disparity is the tip of a symmetric V through three costs: census costs grow linearly away
    from their minimum, so a V fits them better than a parabola.
    """
    rows, cols = best.shape
    disparity = np.zeros((rows, cols), np.float32)
    reason = np.full((rows, cols), NO_DATA, np.uint8)
    clear = np.zeros((rows, cols), np.float32)
    last = back.shape[1] - 1
    step = np.float32(1.0 / per_px)
    for r in range(rows):
        for c in range(cols):
            d = best[r, c]
            if ok[r, c] == 0:
                disparity[r, c] = d * step
                continue
            low, before, after = near[r, c, 1], near[r, c, 0], near[r, c, 2]
            offset = np.float32(0.0)
            if before != NOTHING and after != NOTHING:
                a, b = np.float32(before) - np.float32(low), np.float32(after) - np.float32(low)
                offset = np.float32(0.5) * (a - b) / max(a, b, np.float32(1.0))
            disparity[r, c] = (d + offset) * step
            clear[r, c] = np.float32(max(int(rival[r, c]) - int(low), 0)) / (rival[r, c] + NOISE)
            at = min(max(c + int(np.rint(d / per_px)), 0), last)
            if there_ok[r, c * per_px + d + pad] == 0:
                reason[r, c] = OUTSIDE
            else:
                reason[r, c] = MATCHED if abs(back[r, at] - d) <= per_px else MISMATCH
    return disparity, reason, clear


@njit(cache=True, nogil=True, error_model="numpy")
def compared(there, reason, back, agree_px):  # type: ignore[no-untyped-def]
    """Return reasons by what the right image, matched by itself, says of each disparity.

    *there* and *back* are disparities (px) from left to right and back, which add up to no more
    than *agree_px*. If the left pixel that the right one matches has a match of its own there, this
    one is hidden behind it.
    """
    rows, cols = there.shape
    out = reason.copy()
    agree = np.empty(cols, np.bool_)
    owner = np.empty(cols, np.int64)
    last = back.shape[1] - 1
    for r in range(rows):
        for c in range(cols):
            at = c + int(np.rint(there[r, c]))
            other = back[r, min(max(at, 0), last)]
            agree[c] = reason[r, c] != MISMATCH and abs(there[r, c] + other) <= agree_px
            owner[c] = min(max(at + int(np.rint(other)), 0), cols - 1)
        for c in range(cols):
            if reason[r, c] == NO_DATA or reason[r, c] == OUTSIDE:
                continue
            if agree[c]:
                out[r, c] = MATCHED
            else:
                out[r, c] = OCCLUDED if agree[owner[c]] else MISMATCH
    return out
