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

from processes.terrain.shapes import disc, grown, larger

HALF_WIDTH_M = 20.0
"""A deck's edge lies within this on either side."""
FALL_M, WITHIN_M = 2.5, 2.5
"""How far it falls there, metres, and over what distance: steeper than an earth bank."""
LEVEL = 0.12
"""Slope that a deck may have across."""
LEAST_M2, LEAST_WIDTH_M = 25.0, 2.5
FOOT_M = 2
"""So far beyond the fall the land lies as it is."""
AS_LONG = 0.75
"""A deck goes on both ways for this share of its width; the corner of a plateau does not."""
ASKED_M = 1.0
"""Cells are asked at so wide a stride."""
WAYS = 8
"""Directions tried, over half a turn."""

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def bridges(surface: Heights, ground: Mask, cell_m: float) -> tuple[Mask, Heights]:
    """Return the cells of decks among *ground*, their edges included, and the ground below them.

    *surface* is gap-free. The ground is the line between the feet of both falls, NaN elsewhere: a
    membrane would climb to the abutments, which are as high as the deck.
    """
    angles = np.arange(WAYS) * np.pi / WAYS
    # only what is near a fall can be a deck
    edge = surface - cv2.erode(surface, disc(WITHIN_M / cell_m)) > FALL_M
    if not (edge & ground).any():
        return np.zeros(ground.shape, bool), np.full(ground.shape, np.nan, np.float32)
    away = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    asked = ground & (away * cell_m <= HALF_WIDTH_M)
    drow, dcol = np.sin(angles) / cell_m, np.cos(angles) / cell_m
    stride = max(1, round(ASKED_M / cell_m))
    below = _below(surface, asked, drow, dcol, int(HALF_WIDTH_M), stride)
    below = np.repeat(np.repeat(below, stride, 0), stride, 1)[: ground.shape[0], : ground.shape[1]]
    found = (np.isfinite(below) & asked).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, disc(LEAST_WIDTH_M / 2 / cell_m))
    core = larger(found > 0, LEAST_M2 / cell_m**2)
    decks = grown(core, WITHIN_M / cell_m) & (ground | edge)
    return np.asarray(decks), np.where(core, below, np.nan).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _below(
    surface: Heights,
    asked: Mask,
    drow: NDArray[np.float64],
    dcol: NDArray[np.float64],
    reach: int,
    stride: int,
) -> Heights:
    """Return the ground below asked cells from which, one way and its opposite, the land falls.

    Of blocks of *stride* by *stride* cells the first is asked. *drow* and *dcol* are steps of one
    metre. Of several ways the shortest counts. NaN elsewhere.
    """
    rows, cols = surface.shape
    out = np.full(
        ((rows + stride - 1) // stride, (cols + stride - 1) // stride), np.nan, np.float32
    )
    for row in range(0, rows, stride):
        for col in range(0, cols, stride):
            if not asked[row, col]:
                continue
            shortest = 2 * reach + 20.0
            for way in range(len(drow)):
                ahead, foot = _foot(surface, row, col, drow[way], dcol[way], reach)
                if np.isnan(foot):
                    continue
                behind, other = _foot(surface, row, col, -drow[way], -dcol[way], reach)
                if np.isnan(other) or ahead + behind >= shortest:
                    continue
                along = AS_LONG * (ahead + behind - 2 * FOOT_M)
                turned = (way + len(drow) // 2) % len(drow)
                if not (
                    _goes_on(surface, row, col, drow[turned], dcol[turned], along)
                    and _goes_on(surface, row, col, -drow[turned], -dcol[turned], along)
                ):
                    continue
                shortest = ahead + behind
                out[row // stride, col // stride] = (foot * behind + other * ahead) / shortest
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _foot(
    surface: Heights, row: int, col: int, drow: float, dcol: float, reach: int
) -> tuple[float, float]:
    """Return how far away, and how high, the land is where it has fallen by a wall; else NaN."""
    rows, cols = surface.shape
    here = surface[row, col]
    last, left = here, 0
    for t in range(1, reach + 4 + FOOT_M):
        r, c = int(np.round(row + t * drow)), int(np.round(col + t * dcol))
        if r < 0 or r >= rows or c < 0 or c >= cols:
            break
        if left == 0:
            if abs(surface[r, c] - here) <= 0.5 + LEVEL * t:
                last = surface[r, c]
                continue
            if surface[r, c] > here or t >= reach + 4:
                break
            left = t
        if last - surface[r, c] >= FALL_M and t < left + 2:
            at = t + FOOT_M
            r, c = int(np.round(row + at * drow)), int(np.round(col + at * dcol))
            if r < 0 or r >= rows or c < 0 or c >= cols:
                break
            return float(at), float(surface[r, c])
        if t >= left + 2:
            break
    return 0.0, np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _goes_on(surface: Heights, row: int, col: int, drow: float, dcol: float, length: float) -> bool:
    """Return whether it stays level for *length* metres, or to the rim of the map."""
    rows, cols = surface.shape
    for t in range(1, int(length) + 1):
        r, c = int(np.round(row + t * drow)), int(np.round(col + t * dcol))
        if r < 0 or r >= rows or c < 0 or c >= cols:
            return True
        if abs(surface[r, c] - surface[row, col]) > 0.5 + LEVEL * t:
            return False
    return True
