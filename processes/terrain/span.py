"""The surface that the seen ground spans: planes of the neighbourhood, then a membrane.

A bare membrane is level at the rim and dips between slopes. So it spans only what is left after
the slope of the wider neighbourhood is taken off, and hillsides go on beyond the last ground that
was seen. It is laid twice: once over everything on a coarse lattice that fits into memory however
large the area is, and once finely, block by block, about the coarse one.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.blocks import block_means
from processes.terrain.fill import ENOUGH_M, fill, fill_smoothly
from processes.terrain.smooth import at_cells, planes

COARSE_M, ROUGH_M = 4.0, 2.0
REACHES_M = (160.0, 40.0)
TRUST = 0.1
"""Share of known weight at which a plane counts as much as the broader one behind it."""
ENOUGH = 0.25
ROUGHLY_M = 0.02
"""When the coarse membrane is good, if heights are only asked whether they lie near it."""
NEAR_ENOUGH_M = 0.1
"""When the fine membrane is good: its coarse part is right at once, and its mean error then is a
hundredth of this."""

Heights = NDArray[np.float32]


def spanned(ground: Heights, cell_m: float, coarse_enough_m: float = ENOUGH_M) -> Heights:
    """Return *ground* with its unknown cells filled; all NaN where nothing is known."""
    if not np.isfinite(ground).any():
        return ground.copy()
    step = coarse_step(cell_m)
    coarse = coarse_means(ground, step)
    if not np.isfinite(coarse).any():
        return fill(ground)
    base = land(coarse, step * cell_m, coarse_enough_m)
    return spanned_about(ground, at_cells(base, step, ground.shape))


def spanned_roughly(ground: Heights, cell_m: float) -> Heights:
    """Return `spanned` at cells of ROUGH_M, interpolated: nothing stays as it was."""
    step = max(1, round(ROUGH_M / cell_m))
    rough = coarse_means(ground, step)
    if not np.isfinite(rough).any():
        return spanned(ground, cell_m)
    return at_cells(spanned(rough, step * cell_m, ROUGHLY_M), step, ground.shape)


def spanned_about(ground: Heights, base: Heights) -> Heights:
    """Return *ground* with its unknown cells joined to *base*, a gap-free coarse surface.

    On the rim of the window unknown cells are the base itself, so that far from any ground two
    windows that overlap agree.
    """
    known = np.isfinite(ground)
    off = np.where(known, ground - base, np.nan).astype(np.float32)
    for rim in (off[0], off[-1], off[:, 0], off[:, -1]):
        rim[np.isnan(rim)] = 0
    return np.where(known, ground, base + fill_smoothly(off, NEAR_ENOUGH_M)).astype(np.float32)


def coarse_step(cell_m: float) -> int:
    """Return how many cells make one of the coarse lattice, along each side."""
    return max(1, round(COARSE_M / cell_m))


def coarse_means(ground: Heights, step: int) -> Heights:
    """Return the means of the known cells in blocks of *step* by *step* cells.

    A block is known where a quarter of it is: fewer cells are a fringe, and would weigh as much.
    """
    rows, cols = ground.shape
    padded = np.pad(ground, ((0, -rows % step), (0, -cols % step)), constant_values=np.nan)
    share = block_means(np.isfinite(padded).astype(np.float32), step)
    means = block_means(cv2.patchNaNs(padded, 0), step) / np.maximum(share, 1e-6)
    return np.where(share >= ENOUGH, means, np.nan).astype(np.float32)


def land(coarse: Heights, cell_m: float, enough_m: float = ENOUGH_M) -> Heights:
    """Return the gap-free surface through *coarse*, of which at least one cell is known."""
    slope = _slopes(coarse, cell_m)
    return np.asarray(slope + fill(coarse - slope, enough_m), np.float32)


def _slopes(coarse: Heights, cell_m: float) -> Heights:
    """Return planes of the neighbourhood; where it knows little, of a wider one, then of all."""
    row, col = np.nonzero(np.isfinite(coarse))
    z = coarse[row, col].astype(np.float64)
    terms = np.stack([np.ones(len(row)), row - row.mean(), col - col.mean()], axis=1)
    (level, drow, dcol), *_ = np.linalg.lstsq(terms, z, rcond=1e-3)
    rows, cols = np.mgrid[: coarse.shape[0], : coarse.shape[1]]
    slope = level + drow * (rows - row.mean()) + dcol * (cols - col.mean())
    for reach_m in REACHES_M:
        plane, weight = planes((coarse - slope).astype(np.float32), reach_m / cell_m)
        slope = slope + weight / (weight + TRUST) * plane
    return np.asarray(slope, np.float32)
