"""Outlines of labelled cells between straight lines: walls, linked to rings.

Where two lines cross is computed once, so what touches there has the same corner to the last bit.
Crossings that all but coincide are one corner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.outlines.arrangement import Fit

Floats = NDArray[np.floating[Any]]
Whole = NDArray[np.int64]

APART_PX = 1e-6
"""Crossings of one line that are closer are one."""


def rings(fitted: Fit, labels: NDArray[np.int32]) -> Iterator[tuple[int, Floats, float]]:
    """Yield (label, points (x, y), area) of every ring around or within a label's cells.

    The area of a hole is negative. A ring touches itself nowhere; it has a point where it turns
    and where three labels meet. A line ends at the raster's edge. Raises ArithmeticError where
    walls do not close.
    """
    walls, places = _walls(fitted.lines, fitted.names, fitted.labels, labels)
    order, ends = _linked(walls, places)
    if len(ends) and ends[0] < 0:
        raise ArithmeticError("walls do not close")
    once = walls[walls[:, 2] > walls[:, 4], :2]
    branching = np.bincount(once.ravel(), minlength=len(places)) > 2
    start = 0
    for end in ends.tolist():
        ring = walls[order[start:end]]
        turns = (ring[:, 3] != np.roll(ring[:, 3], 1)) | branching[ring[:, 0]]
        points = places[ring[turns, 0]]
        x, y = (points - points[0]).T
        area = 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
        yield int(ring[0, 2]), points, area
        start = end


@njit(cache=True, nogil=True, error_model="numpy")
def _walls(
    lines: Floats, names: Whole, kinds: NDArray[np.int32], labels: NDArray[np.int32]
) -> tuple[Whole, Floats]:
    """Return walls (from corner, to corner, label on the left, line, label beyond), and corners.

    A wall between two labels is there twice, once for each.
    """
    rows, cols = labels.shape
    number = len(lines)
    every = np.empty((number + 4, 3))
    every[:number] = lines
    every[number] = 1.0, 0.0, -0.5
    every[number + 1] = -1.0, 0.0, 0.5 - cols
    every[number + 2] = 0.0, 1.0, -0.5
    every[number + 3] = 0.0, -1.0, 0.5 - rows
    crossing, places = _crossings(every, rows, cols)
    same = np.arange(len(places))
    strange, guessed = np.empty(len(every) ** 2, np.int64), np.empty(len(every) ** 2, np.int64)
    found = np.empty((2 * len(every) ** 2, 5), np.int64)
    count = guesses = 0
    for line in range(len(every)):
        nx, ny, _ = every[line]
        corners = crossing[line][crossing[line] >= 0]
        order = np.argsort(places[corners, 1] * nx - places[corners, 0] * ny)
        for index in range(1, len(order)):
            first, last = corners[order[index - 1]], corners[order[index]]
            x = (places[first, 0] + places[last, 0]) / 2
            y = (places[first, 1] + places[last, 1]) / 2
            if abs(places[last, 0] - x) + abs(places[last, 1] - y) < APART_PX:
                one, other = _root(same, first), _root(same, last)
                same[max(one, other)] = min(one, other)
                continue
            sides = np.zeros(2, np.int64)
            name = np.int64(0)
            for other in range(number):
                if lines[other, 0] * x + lines[other, 1] * y > lines[other, 2]:
                    name |= np.int64(1) << other
            for side in range(2):
                if line < number:
                    bit = np.int64(1) << line
                    name = name | bit if side else name & ~bit
                elif side == 0:
                    continue  # beyond the raster's edge
                at = int(np.searchsorted(names, name))
                if at < len(names) and names[at] == name:
                    sides[side] = kinds[at]
                    continue
                # a cell too small to hold the middle of any raster cell has no label yet
                for known in range(guesses + 1):
                    if known == guesses:
                        row, col = min(int(y + 0.5), rows - 1), min(int(x + 0.5), cols - 1)
                        strange[guesses], guessed[guesses] = name, labels[row, col]
                    if strange[known] == name:
                        sides[side] = guessed[known]
                        guesses = max(guesses, known + 1)
                        break
            if sides[0] == sides[1]:
                continue
            if sides[0] > 0:
                found[count] = first, last, sides[0], line, sides[1]
                count += 1
            if sides[1] > 0:
                found[count] = last, first, sides[1], line, sides[0]
                count += 1
    for wall in range(count):
        for end in range(2):
            found[wall, end] = _root(same, found[wall, end])
    return found[:count], places


@njit(cache=True, nogil=True, error_model="numpy")
def _crossings(lines: Floats, rows: int, cols: int) -> tuple[Whole, Floats]:
    """Return which corner two lines make within the raster, -1 for none, and where corners are."""
    crossing = np.full((len(lines), len(lines)), -1, np.int64)
    places = np.empty((len(lines) ** 2 // 2, 2))
    count = 0
    for a in range(len(lines)):
        for b in range(a + 1, len(lines)):
            det = lines[a, 0] * lines[b, 1] - lines[a, 1] * lines[b, 0]
            if abs(det) < 1e-9:
                continue
            x = (lines[a, 2] * lines[b, 1] - lines[b, 2] * lines[a, 1]) / det
            y = (lines[b, 2] * lines[a, 0] - lines[a, 2] * lines[b, 0]) / det
            within = -0.5 - APART_PX < x < cols - 0.5 + APART_PX
            if within and -0.5 - APART_PX < y < rows - 0.5 + APART_PX:
                crossing[a, b] = crossing[b, a] = count
                places[count] = x, y
                count += 1
    return crossing, places[:count]


@njit(cache=True, nogil=True)
def _root(same: Whole, at: int) -> int:
    while same[at] != at:
        at = same[at]
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def _linked(walls: Whole, places: Floats) -> tuple[Whole, Whole]:
    """Return the walls ring by ring, and where each ring ends; -1 where one does not close.

    Where a label's cells meet in a corner only, a ring turns left, and never comes twice to it.
    """
    order = np.argsort(walls[:, 0], kind="mergesort")
    starts = walls[order, 0]
    used = np.zeros(len(walls), np.bool_)
    linked, ends = np.empty(len(walls), np.int64), np.empty(len(walls), np.int64)
    path = np.empty(len(walls), np.int64)
    count = made = 0
    for begin in range(len(walls)):
        if used[begin]:
            continue
        path[0], length = begin, 1
        used[begin] = True
        while length > 0:
            wall = path[length - 1]
            corner = walls[wall, 1]
            for back in range(length):
                if walls[path[back], 0] == corner:
                    linked[count : count + length - back] = path[back:length]
                    count += length - back
                    ends[made] = count
                    made += 1
                    length = back
                    break
            else:
                dx, dy = _along(walls, places, wall)
                best, most = -1, -4.0
                for at in range(np.searchsorted(starts, corner), len(walls)):
                    following = order[at]
                    if starts[at] != corner:
                        break
                    if used[following] or walls[following, 2] != walls[begin, 2]:
                        continue
                    x, y = _along(walls, places, following)
                    turn = np.arctan2(dx * y - dy * x, dx * x + dy * y)
                    if turn > most:
                        best, most = following, turn
                if best < 0:
                    return linked, np.full(1, -1)
                used[best] = True
                path[length] = best
                length += 1
    return linked, ends[:made]


@njit(cache=True, nogil=True)
def _along(walls: Whole, places: Floats, wall: int) -> tuple[float, float]:
    start, end = places[walls[wall, 0]], places[walls[wall, 1]]
    return end[0] - start[0], end[1] - start[1]
