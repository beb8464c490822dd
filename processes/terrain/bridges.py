"""Bridges: ground that goes on at both ends and falls by walls on both sides.

A deck is joined to the road that it carries, so no step tells it from the terrain. Seen across,
it is what nothing else is: level, narrow, and lower land right and left behind an edge. A bench
falls on one side only, an embankment slopes down, a roof is no ground.
"""

from __future__ import annotations

import cv2
import numpy as np
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
    if not edge.any():
        return np.zeros(ground.shape, bool), np.full(ground.shape, np.nan, np.float32)
    away = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    asked = ground & (away * cell_m <= HALF_WIDTH_M)
    drow, dcol = np.sin(angles) / cell_m, np.cos(angles) / cell_m
    below = _below(surface, asked, drow, dcol)
    found = (np.isfinite(below) & asked).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, disc(LEAST_WIDTH_M / 2 / cell_m))
    core = larger(found > 0, LEAST_M2 / cell_m**2)
    decks = grown(core, WITHIN_M / cell_m + 0.5) & (ground | edge)
    return np.asarray(decks), np.where(core, below, np.nan).astype(np.float32)


def _below(
    surface: Heights, asked: Mask, drow: NDArray[np.float64], dcol: NDArray[np.float64]
) -> Heights:
    """Return the ground below asked cells from which, one way and its opposite, the land falls.

    *drow* and *dcol* are steps of one metre. Of several ways the shortest counts. NaN elsewhere.
    """
    shortest = np.full(surface.shape, np.inf, np.float32)
    below = np.full(surface.shape, np.nan, np.float32)
    for way in range(len(drow)):
        step = drow[way], dcol[way]
        back = -step[0], -step[1]
        turned = (way + len(drow) // 2) % len(drow)
        lower = asked & _falls(surface, step) & _falls(surface, back)
        at = np.stack(np.nonzero(lower))
        ahead, foot = _foot(surface, at, step)
        at, ahead, foot = at[:, ahead > 0], ahead[ahead > 0], foot[ahead > 0]
        behind, other = _foot(surface, at, back)
        wide = ahead + behind
        good = (behind > 0) & (wide < shortest[*at])
        along = AS_LONG * (wide - 2 * FOOT_M)
        good &= _goes_on(surface, at, (drow[turned], dcol[turned]), along)
        good &= _goes_on(surface, at, (-drow[turned], -dcol[turned]), along)
        at = at[:, good]
        shortest[*at] = wide[good]
        below[*at] = ((foot * behind + other * ahead) / np.maximum(wide, 1))[good]
    return below


def _falls(surface: Heights, step: tuple[float, float]) -> Mask:
    """Return from where there is land lower by a fall one way, as far as a deck's foot may be."""
    reach = HALF_WIDTH_M + 4 + FOOT_M
    size = 2 * int(np.ceil(reach * max(map(abs, step)))) + 1
    ray = np.zeros((size, size), np.uint8)
    for t in np.arange(1, reach + 1):
        ray[round(size // 2 + t * step[0]), round(size // 2 + t * step[1])] = 1
    return np.asarray(surface - cv2.erode(surface, ray) >= FALL_M)


def _seen(
    surface: Heights, at: NDArray[np.intp], step: tuple[float, float], t: NDArray[np.intp] | int
) -> tuple[Mask, Heights]:
    """Return whether the map goes so many metres on from places, and the height there."""
    row = np.rint(at[0] + t * step[0]).astype(np.intp)
    col = np.rint(at[1] + t * step[1]).astype(np.intp)
    inside = (row >= 0) & (row < surface.shape[0]) & (col >= 0) & (col < surface.shape[1])
    return inside, surface[np.where(inside, row, 0), np.where(inside, col, 0)]


def _foot(
    surface: Heights, at: NDArray[np.intp], step: tuple[float, float]
) -> tuple[NDArray[np.intp], Heights]:
    """Return how far from places, and how high, the land is where it has fallen by a wall.

    Nought metres from where it does not. It is level up to the wall, which is two metres thick at
    the most.
    """
    here = surface[*at]
    last, fallen = here.copy(), np.zeros(here.size, np.intp)
    left = np.zeros(here.size, np.intp)
    going = np.ones(here.size, bool)
    reach = int(HALF_WIDTH_M) + 4
    for t in range(1, reach + FOOT_M):
        inside, there = _seen(surface, at, step, t)
        going &= inside
        level = going & (left == 0) & (np.abs(there - here) <= 0.5 + LEVEL * t)
        last = np.where(level, there, last)
        leaving = going & (left == 0) & ~level
        going &= ~(leaving & ((there > here) | (t >= reach)))
        left = np.where(leaving, t, left)
        beyond = going & (left > 0)
        down = beyond & (last - there >= FALL_M) & (t < left + 2)
        fallen[down] = t + FOOT_M
        going &= ~(down | (beyond & (t >= left + 2)))
        if not going.any():
            break
    inside, foot = _seen(surface, at, step, fallen)
    return np.where(inside, fallen, 0), foot


def _goes_on(
    surface: Heights, at: NDArray[np.intp], step: tuple[float, float], length: Heights
) -> Mask:
    """Return whether it stays level for *length* metres from places, or to the rim of the map."""
    here = surface[*at]
    level, going = np.ones(here.size, bool), np.ones(here.size, bool)
    for t in range(1, int(length.max(initial=0)) + 1):
        inside, there = _seen(surface, at, step, t)
        going &= inside & (t <= length)
        level &= ~going | (np.abs(there - here) <= 0.5 + LEVEL * t)
    return level
