"""Co-registration: how far a scene stands beside an elevation model, horizontally.

Where the ground slopes, a horizontal offset shows as a height difference that goes with the slope
and its direction (Nuth & Kääb, 2011). Their cosine is fitted here in its linear form: difference
= up + east · slope to the east + north · slope to the north, over one value a cell of the elevation
model, robustly, and again from where that leads. A coarse model says little about a small scene,
and it may itself stand beside the truth, so nothing moves unless the offset is beyond doubt, and
then only as far as the model deserves. Doubt is judged where the scene stands: on flat land, later
steps creep from one chance likeness of the model's errors and the town to the next, 10 m and more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POINTING_M = 5.0
"""How far a satellite's own position is off, one standard deviation."""
MODEL_M = 2.0
"""The same of an elevation model."""
BEYOND_DOUBT = 18.0
"""Squared standard deviations at which an offset is believed (1 in 8,000 by chance)."""
RELATED_CELLS = 4.0
"""So many neighbouring cells err as one."""
ENOUGH_CELLS = 60
TURNS = 8


class Offset(NamedTuple):
    """What must be added to a scene's positions, metres, and how well that is known."""

    east_m: float
    north_m: float
    sigma_m: float
    """Of the worse direction; infinite where the ground is too flat to tell."""

    @property
    def moves(self) -> bool:
        return bool(self.east_m or self.north_m)


STILL = Offset(0.0, 0.0, float("inf"))


def offset(
    at: Floats, height: Floats, ground: Callable[[Floats, Floats], Floats], step_m: float
) -> Offset:
    """Return the horizontal offset of points *at* (east, north) from a model of spacing *step_m*.

    *ground* gives the model's heights at (east, north), NaN where it has none. Points of one cell
    count once, by their lower third: the model knows little of roofs and trees.
    """
    east, north, height = _thinned(at[0], at[1], height, step_m)
    moved = np.zeros(2)
    for turn in range(TURNS):
        x, y = east + moved[0], north + moved[1]
        half = 0.5 * step_m
        slope_x = (ground(x + half, y) - ground(x - half, y)) / step_m
        slope_y = (ground(x, y + half) - ground(x, y - half)) / step_m
        apart = height - ground(x, y)
        known = np.isfinite(apart) & np.isfinite(slope_x) & np.isfinite(slope_y)
        if known.sum() < ENOUGH_CELLS:
            return STILL
        design = np.stack([slope_x[known], slope_y[known], np.ones(known.sum())], axis=1)
        step, covariance = _robust(design, apart[known])
        if turn == 0 and step[:2] @ np.linalg.solve(covariance[:2, :2], step[:2]) < BEYOND_DOUBT:
            return Offset(0.0, 0.0, _worse(covariance))
        moved += step[:2]
        if np.hypot(*moved) > 20.0 * POINTING_M:
            return STILL
        if np.hypot(*step[:2]) < 0.01:
            break
    doubt = covariance[:2, :2] + MODEL_M**2 * np.eye(2)
    east_m, north_m = POINTING_M**2 * np.linalg.solve(doubt + POINTING_M**2 * np.eye(2), moved)
    return Offset(float(east_m), float(north_m), _worse(covariance))


def _worse(covariance: Floats) -> float:
    return float(np.sqrt(np.linalg.eigvalsh(covariance[:2, :2])[-1]))


def _thinned(east: Floats, north: Floats, height: Floats, step_m: float) -> tuple[Floats, ...]:
    """Return one point a cell: its middle, and the height that a third of its points lie below."""
    known = np.isfinite(height)
    east, north, height = east[known], north[known], height[known]
    cell = np.stack([np.floor(east / step_m), np.floor(north / step_m)])
    _, inverse, counts = np.unique(cell, axis=1, return_inverse=True, return_counts=True)
    order = np.lexsort((height, inverse))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    low = order[first + counts // 3]
    middle = (np.bincount(inverse.ravel(), values) / counts for values in (east, north))
    full = counts >= 0.3 * np.median(counts) if counts.size else counts > 0
    east, north = (values[full] for values in middle)
    return east, north, height[low][full]


def _robust(design: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return the solution by Tukey's weights, and its covariance."""
    weight = np.ones(values.size)
    solution = np.array([0.0, 0.0, float(np.median(values))])
    for _ in range(20):
        off = values - design @ solution
        scale = max(1.4826 * float(np.median(np.abs(off))), 1e-3)
        weight = np.maximum(1.0 - (off / (4.685 * scale)) ** 2, 0.0) ** 2
        normal = design.T @ (design * weight[:, None]) + 1e-9 * np.eye(3)
        solution = np.linalg.solve(normal, design.T @ (weight * values))
    return solution, RELATED_CELLS * scale**2 * np.linalg.inv(normal)
