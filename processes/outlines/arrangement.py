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
    names, counts = _tally(labels, lines, detail)
    price = corner_px * detail**2
    crossings = _crossings(lines)
    active = _needed(names, counts, crossings, len(lines), price)
    energy, misfit, corners = _energy(names, counts, crossings, active, price)
    kept = lines[active]
    names, counts = _tally(labels, kept, detail)
    return Fit(
        kept,
        energy / detail**2,
        misfit / detail**2,
        int(corners),
        names,
        counts.argmax(axis=1).astype(np.int32),
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
    runs = np.empty((height * (len(lines) + 1), 4), np.int64)
    count = 0
    turn = np.empty(len(lines), np.int64)
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
        order = np.argsort(turn)
        at = 0
        for index in order:
            if turn[index] > at:
                runs[count, 0], runs[count, 1] = name, row
                runs[count, 2], runs[count, 3] = at, turn[index]
                count += 1
                at = turn[index]
            if at == width:
                break
            name ^= np.int64(1) << index
        if at < width:
            runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3] = name, row, at, width
            count += 1
    names = np.unique(runs[:count, 0])
    counts = np.zeros((len(names), labels.max() + 1), np.int64)
    for run in range(count):
        at = np.searchsorted(names, runs[run, 0])
        row = runs[run, 1] // detail
        for col in range(runs[run, 2], runs[run, 3]):
            counts[at, labels[row, col // detail]] += 1
    return names, counts


@njit(cache=True, nogil=True)
def _needed(
    names: NDArray[np.int64],
    counts: NDArray[np.int64],
    crossings: NDArray[np.int64],
    number: int,
    price: float,
) -> NDArray[np.bool_]:
    """Return which lines stay: the one whose removal helps most goes first.

    With many lines all are tried once a round, cheapest first, instead of once a removal.
    """
    active = np.ones(number, np.bool_)
    energy, _, _ = _energy(names, counts, crossings, active, price)
    trial = np.empty(number)
    while active.sum() > 1:
        for index in range(number):
            trial[index] = np.inf
            if active[index]:
                active[index] = False
                trial[index], _, _ = _energy(names, counts, crossings, active, price)
                active[index] = True
        order = np.argsort(trial)
        many = active.sum() > 14
        dropped = 0
        for index in order:
            if not active[index] or active.sum() == 1 or (dropped and not many):
                break
            active[index] = False
            value, _, _ = _energy(names, counts, crossings, active, price)
            if value <= energy:
                energy = value
                dropped += 1
            else:
                active[index] = True
                if not many:
                    break
        if not dropped:
            break
        names, counts = _merged(names, counts, active)
    return active


@njit(cache=True, nogil=True)
def _kept(active: NDArray[np.bool_]) -> np.int64:
    keep = np.int64(0)
    for index in range(len(active)):
        if active[index]:
            keep |= np.int64(1) << index
    return keep


@njit(cache=True, nogil=True)
def _merged(
    names: NDArray[np.int64], counts: NDArray[np.int64], active: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells of the active lines alone: there are fewer after each round."""
    masked = names & _kept(active)
    merged = np.unique(masked)
    total = np.zeros((len(merged), counts.shape[1]), np.int64)
    for index in range(len(masked)):
        at = np.searchsorted(merged, masked[index])
        for kind in range(counts.shape[1]):
            total[at, kind] += counts[index, kind]
    return merged, total


@njit(cache=True, nogil=True)
def _energy(
    names: NDArray[np.int64],
    counts: NDArray[np.int64],
    crossings: NDArray[np.int64],
    active: NDArray[np.bool_],
    price: float,
) -> tuple[float, float, int]:
    """Return energy, misfit and corners of the arrangement of the active lines."""
    keep = _kept(active)
    masked = names & keep
    order = np.argsort(masked)
    merged = np.empty(len(names), np.int64)
    label = np.empty(len(names), np.int64)
    kinds = counts.shape[1]
    votes = np.zeros(kinds, np.int64)
    cells, misfit = 0, 0.0
    for position in range(len(order)):
        for kind in range(kinds):
            votes[kind] += counts[order[position], kind]
        name = masked[order[position]]
        if position + 1 == len(order) or masked[order[position + 1]] != name:
            best = 0
            for kind in range(1, kinds):
                if votes[kind] > votes[best]:
                    best = kind
            for kind in range(kinds):
                if kind != best:
                    misfit += votes[kind]
                votes[kind] = 0
            merged[cells], label[cells] = name, best
            cells += 1
    corners = _corners(merged[:cells], label[:cells], crossings, keep)
    return misfit + price * corners, misfit, corners


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


@njit(cache=True, nogil=True)
def _corners(
    names: NDArray[np.int64],
    label: NDArray[np.int64],
    crossings: NDArray[np.int64],
    keep: np.int64,
) -> int:
    """Count crossings of two kept lines where the border between labels turns or branches."""
    corners = 0
    four = np.empty(4, np.int64)
    for index in range(len(crossings)):
        bit_a, bit_b = np.int64(1) << crossings[index, 0], np.int64(1) << crossings[index, 1]
        if not (keep & bit_a) or not (keep & bit_b):
            continue
        name = crossings[index, 2] & keep
        found = True
        for corner in range(4):
            wanted = name
            if corner & 1:
                wanted |= bit_a
            if corner & 2:
                wanted |= bit_b
            at = np.searchsorted(names, wanted)
            if at == len(names) or names[at] != wanted:
                # a cell without raster cells, or a crossing outside the raster
                found = False
                break
            four[corner] = label[at]
        if not found:
            continue
        straight = (four[0] == four[1] and four[2] == four[3]) or (
            four[0] == four[2] and four[1] == four[3]
        )
        if not straight:
            corners += 1
    return corners
