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
    active = _needed(names, counts, lines, price)
    energy, misfit, corners = _energy(names, counts, lines, active, price)
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
    """Return the names of the cells, sorted, and how many (finer) raster cells each label has."""
    rows, cols = labels.shape
    height, width = rows * detail, cols * detail
    code = np.zeros(height * width, np.int64)
    for index in range(len(lines)):
        nx, ny, d = lines[index]
        bit = np.int64(1) << index
        for row in range(height):
            y = (row + 0.5) / detail - 0.5
            start = ny * y - d
            base = row * width
            for col in range(width):
                if nx * ((col + 0.5) / detail - 0.5) + start > 0:
                    code[base + col] |= bit
    names = np.unique(code)
    counts = np.zeros((len(names), labels.max() + 1), np.int64)
    at, last = 0, np.int64(-1)
    for row in range(height):
        for col in range(width):
            name = code[row * width + col]
            if name != last:
                at, last = np.searchsorted(names, name), name
            counts[at, labels[row // detail, col // detail]] += 1
    return names, counts


@njit(cache=True, nogil=True)
def _needed(
    names: NDArray[np.int64], counts: NDArray[np.int64], lines: Floats, price: float
) -> NDArray[np.bool_]:
    """Return which lines stay: the one whose removal helps most goes first.

    With many lines all are tried once a round, cheapest first, instead of once a removal.
    """
    active = np.ones(len(lines), np.bool_)
    energy, _, _ = _energy(names, counts, lines, active, price)
    trial = np.empty(len(lines))
    while active.sum() > 1:
        for index in range(len(lines)):
            trial[index] = np.inf
            if active[index]:
                active[index] = False
                trial[index], _, _ = _energy(names, counts, lines, active, price)
                active[index] = True
        order = np.argsort(trial)
        many = active.sum() > 14
        dropped = 0
        for index in order:
            if not active[index] or active.sum() == 1 or (dropped and not many):
                break
            active[index] = False
            value, _, _ = _energy(names, counts, lines, active, price)
            if value <= energy:
                energy = value
                dropped += 1
            else:
                active[index] = True
                if not many:
                    break
        if not dropped:
            break
    return active


@njit(cache=True, nogil=True)
def _energy(
    names: NDArray[np.int64],
    counts: NDArray[np.int64],
    lines: Floats,
    active: NDArray[np.bool_],
    price: float,
) -> tuple[float, float, int]:
    """Return energy, misfit and corners of the arrangement of the active lines."""
    keep = np.int64(0)
    for index in range(len(lines)):
        if active[index]:
            keep |= np.int64(1) << index
    masked = names & keep
    order = np.argsort(masked)
    merged = np.empty(len(names), np.int64)
    label = np.empty(len(names), np.int64)
    kinds = counts.shape[1]
    votes = np.zeros(kinds, np.int64)
    cells, misfit = 0, 0.0
    for position in range(len(order)):
        votes += counts[order[position]]
        name = masked[order[position]]
        if position + 1 == len(order) or masked[order[position + 1]] != name:
            best = np.argmax(votes)
            misfit += votes.sum() - votes[best]
            merged[cells], label[cells] = name, best
            votes[:] = 0
            cells += 1
    corners = _corners(merged[:cells], label[:cells], lines, active)
    return misfit + price * corners, misfit, corners


@njit(cache=True, nogil=True)
def _corners(
    names: NDArray[np.int64], label: NDArray[np.int64], lines: Floats, active: NDArray[np.bool_]
) -> int:
    """Count crossings of two lines where the border between labels turns or branches."""
    corners = 0
    four = np.empty(4, np.int64)
    for a in range(len(lines)):
        if not active[a]:
            continue
        for b in range(a + 1, len(lines)):
            if not active[b]:
                continue
            det = lines[a, 0] * lines[b, 1] - lines[a, 1] * lines[b, 0]
            if abs(det) < 0.05:
                continue
            x = (lines[a, 2] * lines[b, 1] - lines[b, 2] * lines[a, 1]) / det
            y = (lines[b, 2] * lines[a, 0] - lines[a, 2] * lines[b, 0]) / det
            name = np.int64(0)
            for c in range(len(lines)):
                other = active[c] and c != a and c != b
                if other and lines[c, 0] * x + lines[c, 1] * y > lines[c, 2]:
                    name |= np.int64(1) << c
            bit_a, bit_b = np.int64(1) << a, np.int64(1) << b
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
