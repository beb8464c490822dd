"""Heights where none are known: the membrane spanned by the known ones.

The discrete Laplace equation, with known cells held fixed and no slope across the rim, solved by
conjugate gradients. The preconditioner is one multigrid cycle over 2 × 2 aggregates, so the time
grows with the number of cells and not with the width of the voids.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

ENOUGH_M = 2e-3
"""The solution is good when the next cycle would move no height by more."""
MAX_CYCLES = 60
OVERCORRECTION = 1.8
"""Piecewise constant aggregates make coarse corrections too small by nearly two. Braess, 1995."""

Array = NDArray[np.float32]
Weights = tuple[Array, Array, Array, Array]
"""Of one level: the pull towards zero of each cell, conductance to the east, to the south, and the
sum of all that holds a cell."""


def fill(heights: NDArray[np.floating], enough_m: float = ENOUGH_M) -> NDArray[np.float32]:
    """Return *heights*, metres, with every NaN replaced by the membrane between the known cells.

    Known cells come back unchanged. With no known cell at all, everything stays NaN. It is good
    when the next cycle would move no height by more than *enough_m*.
    """
    known = np.isfinite(heights)
    if known.all() or not known.any():
        return heights.astype(np.float32)
    level = np.float32(heights[known].mean())
    start = np.where(known, heights - level, 0.0).astype(np.float32)
    solution = _solve(_first_guess(start, known), ~known, enough_m)
    return np.where(known, heights, solution + level).astype(np.float32)


def _first_guess(values: Array, known: NDArray[np.bool_]) -> Array:
    """Return *values* with unknown cells from the mean of the smallest aggregate that knows one."""
    if known.all() or min(values.shape) == 1:
        mean = values[known].mean() if known.any() else np.float32(0)
        return np.where(known, values, mean).astype(np.float32)
    count = _summed(known.astype(np.float32))
    coarse = _summed(values) / np.maximum(count, 1)
    guess = values.copy()
    _spread(_first_guess(coarse, count > 0), ~known, np.float32(1), guess)
    return guess


def _levels(free: NDArray[np.bool_]) -> list[Weights]:
    """Return the weights of every level, finest first.

    On the finest level free cells are joined to free neighbours by 1 and pulled to zero (the
    error of a known neighbour) by 1 for each known one; known cells are not joined to anything.
    """
    levels = [_finest(free)]
    while max(levels[-1][0].shape) > 4:
        levels.append(_coarser(*levels[-1][:3]))
    return levels


def _solve(start: Array, free: NDArray[np.bool_], enough_m: float) -> Array:
    """Return *start* with its free cells moved to equilibrium: preconditioned conjugate gradients.

    float32 holds: the unknown is a correction, and heights come without their mean.
    """
    levels = _levels(free)
    residual = _imbalance(start, free)
    solution = start
    direction = np.zeros_like(start)
    old = 1.0
    for cycle in range(MAX_CYCLES):
        correction = _cycle(levels, 0, residual)
        new = float(np.vdot(residual, correction))
        if new <= 0.0:
            break
        direction *= np.float32(new / old if cycle else 0.0)
        direction += correction
        image = _apply(*levels[0], direction)
        step = np.float32(new / float(np.vdot(direction, image)))
        solution += step * direction
        if float(np.abs(correction).max()) <= enough_m:
            break
        residual -= step * image
        old = new
    return solution


def _cycle(levels: list[Weights], depth: int, residual: Array) -> Array:
    """Return an approximate, symmetric inverse of level *depth* applied to *residual*."""
    weights = levels[depth]
    guess = np.zeros_like(residual)
    last = depth == len(levels) - 1
    for _ in range(8 if last else 1):
        _sweep(*weights, residual, guess, 0)
        _sweep(*weights, residual, guess, 1)
    if not last:
        coarse = _cycle(levels, depth + 1, _left_over(*weights, residual, guess))
        _spread(coarse, weights[3] > 0, np.float32(OVERCORRECTION), guess)
    for _ in range(8 if last else 1):
        _sweep(*weights, residual, guess, 1)
        _sweep(*weights, residual, guess, 0)
    return guess


@njit(cache=True, nogil=True)
def _summed(values: Array) -> Array:
    """Return the sums over 2 × 2 cells; an odd last row or column stands alone."""
    rows, cols = values.shape
    out = np.zeros(((rows + 1) // 2, (cols + 1) // 2), np.float32)
    for r in range(rows):
        for c in range(cols):
            out[r // 2, c // 2] += values[r, c]
    return out


@njit(cache=True, nogil=True)
def _spread(coarse: Array, where: NDArray[np.bool_], factor: float, fine: Array) -> None:
    """Add *factor* times *coarse* to each cell of its 2 × 2 aggregates, in place."""
    rows, cols = fine.shape
    for r in range(rows):
        for c in range(cols):
            if where[r, c]:
                fine[r, c] += factor * coarse[r // 2, c // 2]


@njit(cache=True, nogil=True)
def _finest(free: NDArray[np.bool_]) -> Weights:
    rows, cols = free.shape
    east, south = np.zeros((rows, cols), np.float32), np.zeros((rows, cols), np.float32)
    pull, total = np.zeros((rows, cols), np.float32), np.zeros((rows, cols), np.float32)
    for r in range(rows):
        for c in range(cols):
            if not free[r, c]:
                continue
            if c < cols - 1 and free[r, c + 1]:
                east[r, c] = 1
            if r < rows - 1 and free[r + 1, c]:
                south[r, c] = 1
            for dr, dc in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                if 0 <= r + dr < rows and 0 <= c + dc < cols:
                    total[r, c] += 1
                    if not free[r + dr, c + dc]:
                        pull[r, c] += 1
    return pull, east, south, total


@njit(cache=True, nogil=True)
def _coarser(pull: Array, east: Array, south: Array) -> Weights:
    """Return the Galerkin weights of 2 × 2 aggregates: what leaves a block is summed."""
    rows, cols = pull.shape
    shape = ((rows + 1) // 2, (cols + 1) // 2)
    wide, right, down = (
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    for r in range(rows):
        for c in range(cols):
            wide[r // 2, c // 2] += pull[r, c]
            if c % 2 == 1:  # a joint inside a block carries nothing out of it
                right[r // 2, c // 2] += east[r, c]
            if r % 2 == 1:
                down[r // 2, c // 2] += south[r, c]
    total = wide + right + down
    total[:, 1:] += right[:, :-1]
    total[1:] += down[:-1]
    return wide, right, down, total


@njit(cache=True, nogil=True)
def _imbalance(values: Array, free: NDArray[np.bool_]) -> Array:
    """Return at free cells the sum of differences to the neighbours, no flow across the rim."""
    rows, cols = values.shape
    out = np.zeros_like(values)
    for r in range(rows):
        for c in range(cols):
            if not free[r, c]:
                continue
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
def _pushed(east: Array, south: Array, values: Array, r: int, c: int) -> np.float32:
    """Return what the neighbours of a cell bring to it."""
    rows, cols = values.shape
    total = np.float32(0)
    if r > 0:
        total += south[r - 1, c] * values[r - 1, c]
    if r < rows - 1:
        total += south[r, c] * values[r + 1, c]
    if c > 0:
        total += east[r, c - 1] * values[r, c - 1]
    if c < cols - 1:
        total += east[r, c] * values[r, c + 1]
    return total


@njit(cache=True, nogil=True)
def _apply(pull: Array, east: Array, south: Array, held: Array, values: Array) -> Array:
    """Return the level's matrix times *values*."""
    rows, cols = values.shape
    out = np.zeros_like(values)
    for r in range(rows):
        for c in range(cols):
            if held[r, c] > 0:
                out[r, c] = held[r, c] * values[r, c] - _pushed(east, south, values, r, c)
    return out


@njit(cache=True, nogil=True)
def _left_over(
    pull: Array, east: Array, south: Array, held: Array, target: Array, guess: Array
) -> Array:
    """Return what *guess* leaves of *target*, summed over 2 × 2 cells."""
    rows, cols = guess.shape
    out = np.zeros(((rows + 1) // 2, (cols + 1) // 2), np.float32)
    for r in range(rows):
        for c in range(cols):
            if held[r, c] > 0:
                image = held[r, c] * guess[r, c] - _pushed(east, south, guess, r, c)
                out[r // 2, c // 2] += target[r, c] - image
    return out


@njit(cache=True, nogil=True)
def _sweep(
    pull: Array, east: Array, south: Array, held: Array, target: Array, guess: Array, colour: int
) -> None:
    """Bring every second cell of *guess* to equilibrium with its neighbours, in place."""
    rows, cols = guess.shape
    for r in range(rows):
        for c in range((r + colour) % 2, cols, 2):
            if held[r, c] > 0:
                total = target[r, c] + _pushed(east, south, guess, r, c)
                guess[r, c] = total / held[r, c]
