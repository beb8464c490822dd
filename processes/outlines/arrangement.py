"""Cells between straight lines: which lines a labelled raster needs, and the shapes they make.

Lines cut the plane into cells. A cell takes the label that most of its raster cells have, so
neighbours share their walls by construction. Energy is the area of raster cells that disagree
with their cell's label, plus a price for every corner; lines are dropped while that pays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

MAX_LINES = 62
"""A cell is named by one bit a line: on which side of it it lies."""


@dataclass(frozen=True)
class Fit:
    """Lines worth keeping, what they cost, and the label of each cell by its name."""

    lines: Floats
    energy: float
    misfit_px: float
    corners: int
    names: NDArray[np.int64]
    labels: NDArray[np.int32]


def fit(labels: NDArray[np.int32], lines: Floats, corner_px: float) -> Fit | None:
    """Return the best subset of *lines* for a labelled raster; None without lines.

    *labels* is (row, col), 0 is outside; *lines* are (nx, ny, d) in cells with x = column;
    *corner_px* is the price of a corner in raster cells.
    """
    lines = np.ascontiguousarray(lines[:MAX_LINES], np.float64)
    if not len(lines):
        return None
    detail = 2 if labels.size < 40_000 else 1
    names, counts = _tally(np.ascontiguousarray(labels), lines, detail)
    price = corner_px * detail**2
    active, names, best, misfit, corners = _needed(
        names, counts, _crossings(lines), len(lines), price
    )
    return Fit(
        lines[active],
        (misfit + price * corners) / detail**2,
        misfit / detail**2,
        corners,
        names,
        best,
    )


@njit(cache=True, nogil=True)
def _tally(
    labels: NDArray[np.int32], lines: Floats, detail: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the names of the cells, sorted, and how many (finer) raster cells each label has.

    A line changes its side once a row: rows fall into runs of cells with one name.
    """
    rows, cols = labels.shape
    height, width = rows * detail, cols * detail
    runs = np.empty((height * (len(lines) + 1), 3), np.int64)
    count = 0
    turn = np.empty(len(lines), np.int64)
    order = np.arange(len(lines))
    for row in range(height):
        y = (row + 0.5) / detail - 0.5
        name = np.int64(0)
        for index in range(len(lines)):
            nx, ny, d = lines[index]
            bit = np.int64(1) << index
            start = nx * (0.5 / detail - 0.5) + ny * y - d
            step = nx / detail
            if start > 0:
                name |= bit
            # the first cell on the other side
            turn[index] = width
            if step != 0 and (start > 0) != (step > 0):
                first = np.ceil(-start / step) if step < 0 else np.floor(-start / step) + 1
                if first < width:
                    turn[index] = int(max(float(first), 1.0))
        _sort(order, turn)  # it was sorted for the row before
        at = 0
        for line in order:
            if turn[line] > at:
                runs[count] = name, row * width + at, row * width + turn[line]
                count += 1
                at = int(turn[line])
            if at == width:
                break
            name ^= np.int64(1) << line
        if at < width:
            runs[count] = name, row * width + at, (row + 1) * width
            count += 1
    names, counts = _counted(labels, runs[:count], detail)
    return names, counts


@njit(cache=True, nogil=True)
def _sort(order: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
    """Sort the order of keys by insertion."""
    for index in range(1, len(order)):
        moved = order[index]
        at = index
        while at > 0 and keys[order[at - 1]] > keys[moved]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = moved


@njit(cache=True, nogil=True)
def _counted(
    labels: NDArray[np.int32], runs: NDArray[np.int64], detail: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the names of runs (name, first, end), once each, and the labels' shares of them."""
    rows, cols = labels.shape
    until = np.empty((rows, cols), np.int64)
    for row in range(rows):
        end = cols
        for col in range(cols - 1, -1, -1):
            if col + 1 < cols and labels[row, col] != labels[row, col + 1]:
                end = col + 1
            until[row, col] = end * detail
    order = np.argsort(runs[:, 0])
    names = np.empty(len(runs), np.int64)
    counts = np.zeros((len(runs), labels.max() + 1), np.int64)
    number = -1
    for run in order:
        if number < 0 or runs[run, 0] != names[number]:
            number += 1
            names[number] = runs[run, 0]
        row, at = divmod(runs[run, 1], cols * detail)
        end = at + runs[run, 2] - runs[run, 1]
        while at < end:
            stop = min(until[row // detail, at // detail], end)
            counts[number, labels[row // detail, at // detail]] += stop - at
            at = stop
    return names[: number + 1].copy(), counts[: number + 1].copy()


@njit(cache=True, nogil=True)
def _needed(
    names: NDArray[np.int64],
    counts: NDArray[np.int64],
    crossings: NDArray[np.int64],
    number: int,
    price: float,
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int32], float, int]:
    """Return which lines stay, their cells with their labels, the misfit and the corners.

    The one whose removal helps most goes first. With many lines all are tried once a round,
    cheapest first, instead of once a removal.
    """
    active = np.ones(number, np.bool_)
    label, wrong = _voted(counts)
    at = _located(names, crossings)
    misfit, corners = wrong.sum(), _corners(label, at)
    trial = np.empty(number)
    left = number
    while left > 1:
        for index in range(number):
            trial[index] = np.inf
            if active[index]:
                less = _without(names, counts, label, wrong, crossings, at, index)
                trial[index] = less[0] + price * less[1]
        order = np.argsort(trial)
        many = left > 14
        dropped = 0
        for index in order:
            if not active[index] or left == 1 or (dropped and not many):
                break
            less = _without(names, counts, label, wrong, crossings, at, index)
            if less[0] + price * less[1] > misfit + price * corners:
                if many:
                    continue
                break
            misfit, corners = less
            active[index] = False
            left -= 1
            dropped += 1
            names, counts, crossings, at = _merged(names, counts, crossings, at, index)
            label, wrong = _voted(counts)
        if not dropped:
            break
    return active, _renamed(names, active), label, misfit, corners


@njit(cache=True, nogil=True)
def _voted(counts: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the label of each cell, and how many of its raster cells have another."""
    label = np.empty(len(counts), np.int32)
    wrong = np.empty(len(counts), np.int64)
    for cell in range(len(counts)):
        label[cell] = np.argmax(counts[cell])
        wrong[cell] = counts[cell].sum() - counts[cell, label[cell]]
    return label, wrong


@njit(cache=True, nogil=True)
def _found(names: NDArray[np.int64], wanted: int) -> int:
    """Return where a cell is by its name; -1 for one that has no raster cells."""
    at = int(np.searchsorted(names, wanted))
    return at if at < len(names) and names[at] == wanted else -1


@njit(cache=True, nogil=True)
def _around(crossing: NDArray[np.int64], corner: int) -> int:
    """Return the name of one of the four cells around a crossing."""
    name = int(crossing[2])
    if corner & 1:
        name |= np.int64(1) << crossing[0]
    if corner & 2:
        name |= np.int64(1) << crossing[1]
    return name


@njit(cache=True, nogil=True)
def _located(names: NDArray[np.int64], crossings: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the four cells around each crossing."""
    at = np.empty((len(crossings), 4), np.int64)
    for index in range(len(crossings)):
        for corner in range(4):
            at[index, corner] = _found(names, _around(crossings[index], corner))
    return at


@njit(cache=True, nogil=True)
def _turns(a: int, b: int, c: int, d: int) -> bool:
    """Say whether the border between labels turns or branches where four cells meet."""
    return not ((a == b and c == d) or (a == c and b == d))


@njit(cache=True, nogil=True)
def _corners(label: NDArray[np.int32], at: NDArray[np.int64]) -> int:
    """Count crossings where the border between labels turns or branches.

    One beside a cell without raster cells, or outside the raster, is none.
    """
    corners = 0
    for index in range(len(at)):
        a, b, c, d = at[index]
        if min(min(a, b), min(c, d)) >= 0:
            corners += _turns(label[a], label[b], label[c], label[d])
    return corners


@njit(cache=True, nogil=True)
def _pairs(names: NDArray[np.int64], line: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells of either side, in the order of their names without a line; -1 for none."""
    bit = np.int64(1) << line
    one, other = np.empty(len(names), np.int64), np.empty(len(names), np.int64)
    size = len(names)
    i, j, count = 0, 0, 0
    while True:
        while i < size and names[i] & bit:
            i += 1
        while j < size and not names[j] & bit:
            j += 1
        if i == size and j == size:
            break
        first = i < size and (j == size or names[i] <= names[j] ^ bit)
        second = j < size and (i == size or names[j] ^ bit <= names[i])
        one[count] = i if first else -1
        other[count] = j if second else -1
        i, j, count = i + first, j + second, count + 1
    return one[:count], other[:count]


@njit(cache=True, nogil=True)
def _without(
    names: NDArray[np.int64],
    counts: NDArray[np.int64],
    label: NDArray[np.int32],
    wrong: NDArray[np.int64],
    crossings: NDArray[np.int64],
    at: NDArray[np.int64],
    line: int,
) -> tuple[int, int]:
    """Return misfit and corners of the arrangement without a line."""
    fresh = label.copy()
    misfit = wrong.sum()
    one, other = _pairs(names, line)
    for a, b in zip(one, other):  # noqa: B905  numba's zip is never strict
        if a < 0 or b < 0:
            continue
        best, most, total = 0, np.int64(-1), np.int64(0)
        for kind in range(counts.shape[1]):
            votes = counts[a, kind] + counts[b, kind]
            total += votes
            if votes > most:
                best, most = kind, votes
        misfit += total - most - wrong[a] - wrong[b]
        fresh[a] = fresh[b] = best
    corners = 0
    bit = np.int64(1) << line
    four = np.empty(4, np.int32)
    for index in range(len(crossings)):
        if crossings[index, 0] == line or crossings[index, 1] == line:
            continue
        for corner in range(4):
            cell = at[index, corner]
            if cell < 0:  # it may be joined with one that has raster cells
                cell = _found(names, _around(crossings[index], corner) ^ bit)
            if cell < 0:
                break
            four[corner] = fresh[cell]
        else:
            corners += _turns(four[0], four[1], four[2], four[3])
    return misfit, corners


@njit(cache=True, nogil=True)
def _merged(
    names: NDArray[np.int64],
    counts: NDArray[np.int64],
    crossings: NDArray[np.int64],
    at: NDArray[np.int64],
    line: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return cells and crossings without a line."""
    keep = ~(np.int64(1) << line)
    one, other = _pairs(names, line)
    total = np.zeros((len(one), counts.shape[1]), np.int64)
    fresh = np.empty(len(one), np.int64)
    became = np.empty(len(names), np.int64)
    for cell in range(len(one)):
        for part in (one[cell], other[cell]):
            if part >= 0:
                total[cell] += counts[part]
                fresh[cell] = names[part] & keep
                became[part] = cell
    kept = (crossings[:, 0] != line) & (crossings[:, 1] != line)
    crossings, at = crossings[kept], at[kept]
    for index in range(len(crossings)):
        crossings[index, 2] &= keep
        for corner in range(4):
            cell = at[index, corner]
            if cell < 0:
                at[index, corner] = _found(fresh, _around(crossings[index], corner))
            else:
                at[index, corner] = became[cell]
    return fresh, total, crossings, at


@njit(cache=True, nogil=True)
def _renamed(names: NDArray[np.int64], active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return names by the active lines alone, numbered anew; their order stays."""
    fresh = np.zeros_like(names)
    count = 0
    for line in range(len(active)):
        if active[line]:
            fresh |= ((names >> line) & 1) << count
            count += 1
    return fresh


@njit(cache=True, nogil=True)
def _crossings(lines: Floats) -> NDArray[np.int64]:
    """Return the pairs of lines that cross, and the name of the place: (first, second, name)."""
    found = np.empty((len(lines) * (len(lines) - 1) // 2, 3), np.int64)
    count = 0
    for a in range(len(lines)):
        for b in range(a + 1, len(lines)):
            det = lines[a, 0] * lines[b, 1] - lines[a, 1] * lines[b, 0]
            if abs(det) < 0.05:
                continue
            x = (lines[a, 2] * lines[b, 1] - lines[b, 2] * lines[a, 1]) / det
            y = (lines[b, 2] * lines[a, 0] - lines[a, 2] * lines[b, 0]) / det
            name = np.int64(0)
            for c in range(len(lines)):
                if c != a and c != b and lines[c, 0] * x + lines[c, 1] * y > lines[c, 2]:
                    name |= np.int64(1) << c
            found[count] = a, b, name
            count += 1
    return found[:count]
