"""A height grid as few triangles: right-triangulated irregular networks.

Every triangle is a right one and is cut at the middle of its longest side where the height there
is off by more than is allowed. The error of a middle is at least that of all middles below it, so
that no cut leaves a gap beside a triangle that is not cut. Evans, Kirkpatrick & Townsend, 2001.

Middles of one size lie on two lattices: centres of squares, and middles of their sides. So each
size is a few operations on whole arrays, and there is no recursion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Surface:
    """Triangles over a square grid: row and column of each corner, anticlockwise from above."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    triangles: NDArray[np.int64]
    heights: Floats
    """(n, n) heights of the triangles at every sample; those of the grid itself at corners."""


def surface(heights: Floats, known: Flags, most_m: float) -> Surface:
    """Return triangles whose every cut that was left out is worth *most_m* or less.

    *heights* is (n, n) with n = 2^k + 1, finite everywhere; where *known* is false there are no
    triangles, to the sample.
    """
    kept = errors(heights, known) > most_m
    corners = _cut(kept)
    corners = corners[known[corners[..., 0], corners[..., 1]].all(axis=1)]
    size = len(heights)
    used, number = np.unique(corners[..., 0] * size + corners[..., 1], return_inverse=True)
    return Surface(used // size, used % size, number.reshape(-1, 3), _shape(heights, kept))


def between(heights: Floats) -> Floats:
    """Return (2n - 1, 2n - 1) heights: those of an (n, n) grid and of its triangles between."""
    found = np.zeros([2 * side - 1 for side in heights.shape])
    found[::2, ::2] = heights
    found[1::2, 1::2] = _diagonal(found, 1)
    found[::2, 1::2] = (heights[:, :-1] + heights[:, 1:]) / 2
    found[1::2, ::2] = (heights[:-1] + heights[1:]) / 2
    return found


def errors(heights: Floats, known: Flags) -> Floats:
    """Return what is lost where a sample and all that hang on it are left out.

    Infinite where some of the samples around are known and some are not.
    """
    error = np.zeros(heights.shape)
    step = 1
    while 2 * step < len(heights):
        _of_sides(heights, known, error, step)
        _of_sides(heights.T, known.T, error.T, step)  # a view: columns are set where they are
        _of_centres(heights, known, error, step)
        step *= 2
    return error


def _of_sides(heights: Floats, known: Flags, error: Floats, step: int) -> None:
    """Set the errors of middles of sides along rows: ends left and right, centres above, below."""
    here = (slice(None, None, 2 * step), slice(step, None, 2 * step))
    left, right = (slice(None, -1, 2 * step),), (slice(2 * step, None, 2 * step),)
    a, b = (slice(None, None, 2 * step), *left), (slice(None, None, 2 * step), *right)
    off = np.abs(heights[here] - (heights[a] + heights[b]) / 2)
    mixed = (known[here] != known[a]) | (known[here] != known[b])
    centres = known[step :: 2 * step, step :: 2 * step]
    mixed[:-1] |= known[here][:-1] != centres
    mixed[1:] |= known[here][1:] != centres
    off = np.where(mixed, np.inf, np.where(known[here], off, 0.0))
    if step > 1:
        half = step // 2
        for side in (half, step + half):
            below = error[half::step, side :: 2 * step]
            off[:-1] = np.maximum(off[:-1], below[0::2])
            off[1:] = np.maximum(off[1:], below[1::2])
    error[here] = off


def _of_centres(heights: Floats, known: Flags, error: Floats, step: int) -> None:
    """Set the errors of centres of squares, which hang on one of the two diagonals."""
    here = (slice(step, None, 2 * step),) * 2
    off = np.abs(heights[here] - _diagonal(heights, step))
    mixed = np.zeros(off.shape, bool)
    for corner in _corners(known, step):
        mixed |= known[here] != corner
    off = np.where(mixed, np.inf, np.where(known[here], off, 0.0))
    sides, tops = error[step :: 2 * step, :: 2 * step], error[:: 2 * step, step :: 2 * step]
    for below in (sides[:, :-1], sides[:, 1:], tops[:-1], tops[1:]):
        off = np.maximum(off, below)
    error[here] = off


def _corners(values: NDArray[Any], step: int) -> list[NDArray[Any]]:
    """Return the values at the four corners of each square: NW, NE, SW, SE."""
    lattice = values[:: 2 * step, :: 2 * step]
    return [lattice[:-1, :-1], lattice[:-1, 1:], lattice[1:, :-1], lattice[1:, 1:]]


def _diagonal(heights: Floats, step: int) -> Floats:
    """Return the height half-way along the diagonal that the triangles of each square share.

    It runs from the middle of the square twice as large outwards.
    """
    north_west, north_east, south_west, south_east = _corners(heights, step)
    row, col = np.indices(north_west.shape)
    main = (row + col) % 2 == 0
    return np.where(main, north_west + south_east, north_east + south_west) / 2


def _shape(heights: Floats, kept: Flags) -> Floats:
    """Return the heights of the triangles: own ones where *kept*, else between the two ends."""
    found = heights.copy()
    step = (len(heights) - 1) // 2
    while step:
        here = (slice(step, None, 2 * step),) * 2
        found[here] = np.where(kept[here], heights[here], _diagonal(found, step))
        for z, own, stays in ((found, heights, kept), (found.T, heights.T, kept.T)):
            rows = slice(None, None, 2 * step)
            here = (rows, slice(step, None, 2 * step))
            between = (z[rows, : -1 : 2 * step] + z[rows, 2 * step :: 2 * step]) / 2
            z[here] = np.where(stays[here], own[here], between)
        step //= 2
    return found


def _cut(kept: Flags) -> NDArray[np.int64]:
    """Return (n, 3, 2) rows and columns of corners: two halves of the square, cut at *kept*."""
    last = len(kept) - 1
    halves = [[[0, 0], [last, last], [last, 0]], [[last, last], [0, 0], [0, last]]]
    waiting = np.array(halves, np.int64)
    done = []
    while len(waiting):
        a, b, c = np.moveaxis(waiting, 1, 0)
        middle = (a + b) // 2
        cut = (np.abs(a - b).max(axis=1) > 1) & kept[middle[:, 0], middle[:, 1]]
        done.append(waiting[~cut][:, [0, 2, 1]])
        a, b, c, middle = a[cut], b[cut], c[cut], middle[cut]
        waiting = np.concatenate(
            [np.stack([c, a, middle], axis=1), np.stack([b, c, middle], axis=1)]
        )
    return np.concatenate(done)
