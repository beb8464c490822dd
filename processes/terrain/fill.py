"""Heights where none are known: the membrane spanned by the known ones.

The discrete Laplace equation, with known cells held fixed and no slope across the rim, solved by
conjugate gradients. The preconditioner is one multigrid cycle over 2 × 2 aggregates, so the time
grows with the number of cells and not with the width of the voids.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

TOLERANCE = 3e-5
"""Largest residual that ends the solution, as a share of the first one."""
MAX_CYCLES = 60
OVERCORRECTION = 1.8
"""Piecewise constant aggregates make coarse corrections too small by nearly two. Braess, 1995."""

Array = NDArray[np.float32]
Weights = tuple[Array, Array, Array]
"""Of one level: the pull towards zero of each cell, conductance to the east, to the south."""


def fill(heights: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return *heights* with every NaN replaced by the membrane between the known cells.

    Known cells come back unchanged. With no known cell at all, everything stays NaN.
    """
    known = np.isfinite(heights)
    if known.all() or not known.any():
        return heights.astype(np.float32)
    level = np.float32(heights[known].mean())
    start = np.where(known, heights - level, 0.0).astype(np.float32)
    free = np.ascontiguousarray(~known)
    start = _first_guess(start, known)
    solution = _solve(start, free)
    return np.where(known, heights, solution + level).astype(np.float32)


def _first_guess(values: Array, known: NDArray[np.bool_]) -> Array:
    """Return *values* with unknown cells from the mean of the smallest aggregate that knows one."""
    if known.all() or min(values.shape) == 1:
        mean = values[known].mean() if known.any() else np.float32(0)
        return np.where(known, values, mean).astype(np.float32)
    count = _summed(known.astype(np.float32))
    coarse = _summed(np.where(known, values, 0).astype(np.float32)) / np.maximum(count, 1)
    guess = _first_guess(coarse, count > 0)
    spread = np.repeat(np.repeat(guess, 2, 0), 2, 1)[: values.shape[0], : values.shape[1]]
    return np.where(known, values, spread).astype(np.float32)


def _summed(values: Array) -> Array:
    """Return the sums over 2 × 2 cells; an odd last row or column stands alone."""
    rows, cols = values.shape
    padded = np.pad(values, ((0, rows % 2), (0, cols % 2)))
    return np.asarray(
        padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2], np.float32
    )


def _levels(free: NDArray[np.bool_]) -> list[Weights]:
    """Return the weights of every level, finest first.

    On the finest level free cells are joined to free neighbours by 1 and pulled to zero (the
    error of a known neighbour) by 1 for each known one; known cells are not joined to anything.
    """
    east = np.zeros(free.shape, np.float32)
    south = np.zeros(free.shape, np.float32)
    east[:, :-1] = free[:, :-1] & free[:, 1:]
    south[:-1] = free[:-1] & free[1:]
    pull = np.zeros(free.shape, np.float32)
    pull[:, :-1] += free[:, :-1] & ~free[:, 1:]
    pull[:, 1:] += free[:, 1:] & ~free[:, :-1]
    pull[:-1] += free[:-1] & ~free[1:]
    pull[1:] += free[1:] & ~free[:-1]
    levels = [(pull, east, south)]
    while max(pull.shape) > 4:
        pull, east, south = _coarser(pull, east, south)
        levels.append((pull, east, south))
    return levels


def _coarser(pull: Array, east: Array, south: Array) -> Weights:
    """Return the Galerkin weights of 2 × 2 aggregates: what leaves a block is summed."""
    leaving_east, leaving_south = east.copy(), south.copy()
    leaving_east[:, ::2] = 0  # a joint inside a block carries nothing out of it
    leaving_south[::2] = 0
    return _summed(pull), _summed(leaving_east), _summed(leaving_south)


def _solve(start: Array, free: NDArray[np.bool_]) -> Array:
    """Return *start* with its free cells moved to equilibrium: preconditioned conjugate gradients.

    float32 holds: the unknown is a correction, and heights come without their mean.
    """
    levels = _levels(free)
    residual = np.where(free, _imbalance(start), 0).astype(np.float32)
    first = float(np.abs(residual).max())
    solution = start.copy()
    if first == 0.0:
        return solution
    direction = np.zeros_like(start)
    old = 1.0
    for cycle in range(MAX_CYCLES):
        correction = _cycle(levels, 0, residual)
        new = float(np.vdot(residual, correction))
        if new <= 0.0:
            break
        direction = correction + np.float32(new / old if cycle else 0.0) * direction
        image = _apply(*levels[0], direction)
        step = np.float32(new / float(np.vdot(direction, image)))
        solution += step * direction
        residual -= step * image
        old = new
        if float(np.abs(residual).max()) <= TOLERANCE * first:
            break
    return solution


def _cycle(levels: list[Weights], depth: int, residual: Array) -> Array:
    """Return an approximate, symmetric inverse of level *depth* applied to *residual*."""
    pull, east, south = levels[depth]
    guess = np.zeros_like(residual)
    last = depth == len(levels) - 1
    for _ in range(8 if last else 1):
        _sweep(pull, east, south, residual, guess, 0)
        _sweep(pull, east, south, residual, guess, 1)
    if not last:
        coarse = _cycle(levels, depth + 1, _summed(residual - _apply(pull, east, south, guess)))
        spread = np.repeat(np.repeat(coarse, 2, 0), 2, 1)[: guess.shape[0], : guess.shape[1]]
        guess += np.float32(OVERCORRECTION) * spread
    for _ in range(8 if last else 1):
        _sweep(pull, east, south, residual, guess, 1)
        _sweep(pull, east, south, residual, guess, 0)
    return guess


@njit(cache=True, nogil=True)
def _imbalance(values: Array) -> Array:
    """Return the sum of differences to the four neighbours, no flow across the rim."""
    rows, cols = values.shape
    out = np.zeros_like(values)
    for r in range(rows):
        for c in range(cols):
            here, total = values[r, c], np.float32(0)
            if r > 0:
                total += values[r - 1, c] - here
            if r < rows - 1:
                total += values[r + 1, c] - here
            if c > 0:
                total += values[r, c - 1] - here
            if c < cols - 1:
                total += values[r, c + 1] - here
            out[r, c] = total
    return out


@njit(cache=True, nogil=True)
def _apply(pull: Array, east: Array, south: Array, values: Array) -> Array:
    """Return the level's matrix times *values*."""
    rows, cols = values.shape
    out = np.empty_like(values)
    for r in range(rows):
        for c in range(cols):
            here = values[r, c]
            total = pull[r, c] * here
            if r > 0:
                total += south[r - 1, c] * (here - values[r - 1, c])
            if r < rows - 1:
                total += south[r, c] * (here - values[r + 1, c])
            if c > 0:
                total += east[r, c - 1] * (here - values[r, c - 1])
            if c < cols - 1:
                total += east[r, c] * (here - values[r, c + 1])
            out[r, c] = total
    return out


@njit(cache=True, nogil=True)
def _sweep(
    pull: Array, east: Array, south: Array, target: Array, guess: Array, colour: int
) -> None:
    """Bring every second cell of *guess* to equilibrium with its neighbours, in place."""
    rows, cols = guess.shape
    for r in range(rows):
        for c in range((r + colour) % 2, cols, 2):
            weight, total = pull[r, c], target[r, c]
            if r > 0:
                weight += south[r - 1, c]
                total += south[r - 1, c] * guess[r - 1, c]
            if r < rows - 1:
                weight += south[r, c]
                total += south[r, c] * guess[r + 1, c]
            if c > 0:
                weight += east[r, c - 1]
                total += east[r, c - 1] * guess[r, c - 1]
            if c < cols - 1:
                weight += east[r, c]
                total += east[r, c] * guess[r, c + 1]
            if weight > 0:
                guess[r, c] = total / weight
