"""Bridges: ground that goes on at both ends and falls by walls on both sides.

A deck is joined to the road that it carries, so no step tells it from the terrain. Seen across,
it is what nothing else is: level, narrow, and lower land right and left behind an edge. A bench
falls on one side only, an embankment slopes down, a roof is no ground.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

HALF_WIDTH_M = 20.0
"""A deck's edge lies within this on either side."""
FALL_M, WITHIN_M = 2.5, 2.5
"""How far it falls there, metres, and over what distance: steeper than an earth bank."""
LEVEL = 0.12
"""Slope that a deck may have across."""
LEAST_M2, LEAST_WIDTH_M = 25.0, 2.5
WAYS = 8
"""Directions tried, over half a turn."""

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def bridges(surface: Heights, ground: Mask, cell_m: float) -> Mask:
    """Return the cells of decks among *ground*, their edges included; *surface* is gap-free."""
    angles = np.arange(WAYS) * np.pi / WAYS
    # only what is near a fall can be a deck
    reach = _disc(WITHIN_M / cell_m)
    edge = surface - cv2.erode(surface, reach) > FALL_M
    if not (edge & ground).any():
        return np.zeros(ground.shape, bool)
    away = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    asked = ground & (away * cell_m <= HALF_WIDTH_M)
    drow, dcol = np.sin(angles) / cell_m, np.cos(angles) / cell_m
    found = _decks(surface, asked, drow, dcol, int(HALF_WIDTH_M)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, _disc(LEAST_WIDTH_M / 2 / cell_m))
    _, label, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * cell_m**2 >= LEAST_M2
    large[0] = False
    core = large[label].astype(np.uint8)
    return np.asarray((cv2.dilate(core, reach) > 0) & (ground | edge), bool)


@njit(cache=True, nogil=True, error_model="numpy")
def _decks(
    surface: Heights,
    asked: Mask,
    drow: NDArray[np.float64],
    dcol: NDArray[np.float64],
    reach: int,
) -> Mask:
    """Return the asked cells from which, in one direction and its opposite, the land falls.

    *drow* and *dcol* are steps of one metre; between cell and fall everything is level.
    """
    rows, cols = surface.shape
    out = np.zeros((rows, cols), np.bool_)
    for row in range(rows):
        for col in range(cols):
            if not asked[row, col]:
                continue
            here = surface[row, col]
            for way in range(len(drow)):
                both = True
                for sign in (1.0, -1.0):
                    falls = False
                    for t in range(1, reach + 4):
                        r = int(np.round(row + sign * t * drow[way]))
                        c = int(np.round(col + sign * t * dcol[way]))
                        if r < 0 or r >= rows or c < 0 or c >= cols:
                            break
                        off = surface[r, c] - here
                        if abs(off) <= 0.5 + LEVEL * t:
                            continue
                        if off > 0:
                            break
                        # off the deck: is it down by a wall?
                        for more in range(3):
                            r = int(np.round(row + sign * (t + more) * drow[way]))
                            c = int(np.round(col + sign * (t + more) * dcol[way]))
                            if r < 0 or r >= rows or c < 0 or c >= cols:
                                break
                            if here - surface[r, c] >= FALL_M:
                                falls = True
                                break
                        break
                    if not falls:
                        both = False
                        break
                if both:
                    out[row, col] = True
                    break
    return out


def _disc(radius_px: float) -> NDArray[np.uint8]:
    size = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
