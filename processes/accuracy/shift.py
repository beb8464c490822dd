"""The best constant shift: what remains of a product's error once it is moved as a whole.

A model from images whose pointing is wrong lies beside the truth by one vector. The search tries
every shift of whole cells from coarse to fine, since walls make the cost far from convex and
gradient methods (Nuth & Kääb, 2011) need slopes that a town on a plain does not have; the last
steps are fractions of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.accuracy.sample import bilinear

OUTLIER_M = 3.0
"""Differences beyond this weigh no more: a missing roof must not pull the shift."""
MAX_SAMPLES, FEWEST_CELLS = 40_000, 100
EARNED = 0.03
"""Share of the cost that a shift sideways must take away to be believed."""


@dataclass(frozen=True)
class Shift:
    """What to add to a product's coordinates so that it fits its reference, metres."""

    dx_m: float
    dy_m: float
    dz_m: float


def shifted(heights: NDArray[np.floating], shift: Shift, cell_m: float) -> NDArray[np.float32]:
    """Return *heights* moved by *shift* on their own north-up lattice; NaN where nothing came."""
    row, col = np.mgrid[: heights.shape[0], : heights.shape[1]].astype(np.float64)
    moved = bilinear(heights, row + shift.dy_m / cell_m, col - shift.dx_m / cell_m)
    return np.asarray(moved + np.float32(shift.dz_m), np.float32)


def best_shift(
    heights: NDArray[np.floating],
    reference: NDArray[np.floating],
    cell_m: float,
    *,
    counted: NDArray[np.bool_] | None = None,
    reach_m: float = 10.0,
) -> Shift:
    """Return the shift of *heights* that fits *reference* best, both on one lattice.

    Searched within ±*reach_m* in x and y, to about a tenth of a cell; dz is unbounded. The cost
    is the mean of |dz − median dz| cut at 3 m; where moving sideways hardly lowers it, as on flat
    land, there is nothing to be said about x and y and they stay 0; so they do where the heights,
    interpolated between cells, fit no better for it. Fewer than 100 common cells: no shift at all.
    """
    cells = _sampled(heights, reference, counted)
    if len(cells) < FEWEST_CELLS:
        return Shift(0.0, 0.0, 0.0)
    # Interpolating halves the noise between cells, which would draw the shift to half cells;
    # smoothing both surfaces first makes the cost even.
    even = _smoothed(heights), _smoothed(reference)[cells[:, 0], cells[:, 1]]
    raw = heights, reference[cells[:, 0], cells[:, 1]]

    def cost(drow: float, dcol: float, both: tuple[Any, Any] = even) -> tuple[float, float]:
        return _misfit(*both, cells + np.array([drow, dcol]))

    best, step = (0.0, 0.0), 4.0
    reach = int(np.ceil(reach_m / cell_m / step))
    while step > 0.05:
        around = range(-reach, reach + 1)
        trials = [(best[0] + i * step, best[1] + j * step) for i, j in pairs(around, around)]
        trials = [trial for trial in trials if max(map(abs, trial)) * cell_m <= reach_m]
        best = min(trials, key=lambda trial: cost(*trial)[0])
        step, reach = step / 2, 2
    # between whole cells, where interpolation smooths neither of the two
    whole = (float(round(best[0])), float(round(best[1])))
    earned = cost(*whole)[0] <= (1 - EARNED) * cost(0.0, 0.0)[0]
    # a fraction of a cell blurs walls: worse than what it mends where that is little
    if (any(whole) and not earned) or cost(*best, raw)[0] >= cost(0.0, 0.0, raw)[0]:
        best = (0.0, 0.0)
    return Shift(-best[1] * cell_m, best[0] * cell_m, cost(*best)[1])


def best_shift_of_shapes(
    heights: NDArray[np.floating],
    reference: NDArray[np.floating],
    cell_m: float,
    *,
    counted: NDArray[np.bool_] | None = None,
) -> Shift:
    """Return the shift of outlines and solids that belong to *heights*, fractions of a cell too.

    Being moved blurs them not, as it does walls of heights, so what `best_shift` refuses for that
    is theirs: in `dense` .35 m, which made MAE of roofs 1.32 m where it is .83. Around the best
    whole cell the cost of walls grows with their distance alike on both sides, so its least lies
    where two lines of one slope meet (Shimizu & Okutomi, 2005): nothing is interpolated.
    """
    near = best_shift(heights, reference, cell_m, counted=counted)
    cells = _sampled(heights, reference, counted)
    if len(cells) < FEWEST_CELLS:
        return near
    true = reference[cells[:, 0], cells[:, 1]]

    def cost(drow: int, dcol: int) -> tuple[float, float]:
        return _misfit(heights, true, cells + np.array([drow, dcol]))

    start = round(near.dy_m / cell_m), round(-near.dx_m / cell_m)
    around = [(start[0] + i, start[1] + j) for i, j in pairs((-1, 0, 1), (-1, 0, 1))]
    row, col = min(around, key=lambda place: cost(*place)[0])
    here, level = cost(row, col)
    drow = _tip(cost(row - 1, col)[0], here, cost(row + 1, col)[0])
    dcol = _tip(cost(row, col - 1)[0], here, cost(row, col + 1)[0])
    return Shift(-(col + dcol) * cell_m, (row + drow) * cell_m, level)


def _tip(before: float, here: float, after: float) -> float:
    """Return where between three cells two lines of one slope meet; 0 where nothing is steep."""
    steep = max(before, after) - here
    return (before - after) / (2 * steep) if EARNED * here < steep < np.inf else 0.0


def _sampled(
    heights: NDArray[np.floating],
    reference: NDArray[np.floating],
    counted: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """Return row and column of cells that both know, MAX_SAMPLES at most."""
    wanted = np.isfinite(reference) & np.isfinite(heights)
    if counted is not None:
        wanted &= counted
    cells = np.argwhere(wanted)
    if len(cells) > MAX_SAMPLES:
        cells = cells[np.random.default_rng(0).choice(len(cells), MAX_SAMPLES, replace=False)]
    return cells


def _misfit(
    heights: NDArray[np.floating], true: NDArray[np.floating], places: NDArray[np.floating]
) -> tuple[float, float]:
    """Return the mean of |dz − median dz| cut at 3 m, and that median."""
    dz = true - bilinear(heights, *places.T.astype(np.float64))
    known = dz[np.isfinite(dz)]
    if known.size < len(dz) // 4:
        return float("inf"), 0.0
    level = float(np.median(known))
    return float(np.minimum(np.abs(known - level), OUTLIER_M).mean()), level


def _smoothed(heights: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the mean of the known heights in 3 × 3 cells; NaN stays NaN."""
    import cv2

    known = np.isfinite(heights)
    total = cv2.blur(np.where(known, heights, 0).astype(np.float64), (3, 3))
    share = cv2.blur(known.astype(np.float64), (3, 3))
    return np.where(known, total / np.maximum(share, 1e-9), np.nan).astype(np.float32)
