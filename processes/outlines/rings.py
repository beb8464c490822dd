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
        points, area = _turning(walls, order[start:end], branching, places)
        yield int(walls[order[start], 2]), points, area
        start = end


@njit(cache=True, nogil=True)
def _turning(
    walls: Whole, ring: Whole, branching: NDArray[np.bool_], places: Floats
) -> tuple[Floats, float]:
    """Return the points of a ring of walls where it turns or others branch off, and its area."""
    points = np.empty((len(ring), 2))
    count = 0
    for index in range(len(ring)):
        corner = walls[ring[index], 0]
        if branching[corner] or walls[ring[index], 3] != walls[ring[index - 1], 3]:
            points[count] = places[corner]
            count += 1
    area = 0.0
    for index in range(1, count - 1):
        (x, y), (u, v) = points[index] - points[0], points[index + 1] - points[0]
        area += 0.5 * (x * v - u * y)
    return points[:count], area


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
    found = np.empty((len(every) ** 2, 5), np.int64)
    slivers, middles = np.empty(len(every) ** 2, np.int64), np.zeros((len(every) ** 2, 3))
    count = strange = 0
    for line in range(len(every)):
        nx, ny, _ = every[line]
        corners = crossing[line][crossing[line] >= 0]
        order = np.argsort(places[corners, 1] * nx - places[corners, 0] * ny)
        for index in range(1, len(order)):
            first, last = corners[order[index - 1]], corners[order[index]]
            x = (places[first, 0] + places[last, 0]) / 2
            y = (places[first, 1] + places[last, 1]) / 2
            length = 2 * np.hypot(places[last, 0] - x, places[last, 1] - y)
            if length < APART_PX:
                one, other = _root(same, first), _root(same, last)
                same[max(one, other)] = min(one, other)
                continue
            name = np.int64(0)
            for other in range(number):
                if other != line and lines[other, 0] * x + lines[other, 1] * y > lines[other, 2]:
                    name |= np.int64(1) << other
            found[count] = first, last, 0, line, 0
            for side in range(2):
                if line < number:
                    name |= np.int64(side) << line
                elif side == 0:
                    continue
                at = int(np.searchsorted(names, name))
                if at < len(names) and names[at] == name:
                    found[count, 2 + 2 * side] = kinds[at]
                    continue
                # a cell too small to hold the middle of any raster cell: its border's middle
                # says what it is
                sliver = 0
                while sliver < strange and slivers[sliver] != name:
                    sliver += 1
                strange = max(strange, sliver + 1)
                slivers[sliver] = name
                middles[sliver, 0] += length * x
                middles[sliver, 1] += length * y
                middles[sliver, 2] += length
                found[count, 2 + 2 * side] = -1 - sliver
            count += 1
    for index in range(count):
        for end in range(2):
            found[index, end] = _root(same, found[index, end])
        for side in (2, 4):
            if found[index, side] < 0:
                x, y, length = middles[-1 - found[index, side]]
                row, col = int(y / length + 0.5), int(x / length + 0.5)
                found[index, side] = labels[min(row, rows - 1), min(col, cols - 1)]
    return _sides(found[:count]), places


@njit(cache=True, nogil=True, error_model="numpy")
def _sides(found: Whole) -> Whole:
    """Return each wall with its label on the left, so one of two labels twice; no idle walls."""
    walls, made = np.empty((2 * len(found), 5), np.int64), 0
    for first, last, left, line, right in found:
        if left != right and left > 0:
            walls[made] = first, last, left, line, right
            made += 1
        if left != right and right > 0:
            walls[made] = last, first, right, line, left
            made += 1
    return walls[:made]


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
