"""Bare earth: which cells of a surface model are ground, and how high the ground is there.

Region-based, after a comparison with cloth, window and progressive morphological filters: those
hang at the noise floor of a photogrammetric surface and come off on slopes. A surface cut at its
steps falls into regions of which most say by their borders alone what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.nearest import nearest_filled
from processes.terrain.blocks import block_means, repeated
from processes.terrain.bridges import bridges
from processes.terrain.brinks import brinks
from processes.terrain.land import land_of
from processes.terrain.refit import refitted
from processes.terrain.shapes import grown
from processes.terrain.sharp import above_ground, calmer, is_sharp, taken_back
from processes.terrain.smooth import at_cells
from processes.terrain.span import spanned
from processes.terrain.trend import trend

WORK_M = 1.0
"""What is ground is decided on cells so wide, which take a quarter of the time of half as wide ones
and are as right: a step is no sharper than that, and noise is halved."""
AROUND_M = 60.0
"""So far around the cells that are asked for the ground is refined as well; what is land is judged
from farther away."""
EVERYTHING = (slice(None), slice(None))
BANK_M = 2.0
"""The ground is not smoothed so near to a bank: it would round off its edges."""
CALM_M = 2.5
"""Width of the median that takes single blunders off before steps are looked for."""

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def bare_earth(dsm: Heights, cell_m: float, largest_object_m: float = 200.0) -> Heights:
    """Return the ground under every raised object up to *largest_object_m* wide, gap-free.

    All NaN where the surface model shows no ground at all.
    """
    return spanned(ground_heights(dsm, cell_m, largest_object_m), cell_m)


def ground_heights(dsm: Heights, cell_m: float, largest_object_m: float = 200.0) -> Heights:
    """Return the ground where *dsm* (metres, NaN where void) shows it, smoothed; NaN elsewhere."""
    seen, decks = ground_and_bridges(dsm, cell_m, largest_object_m)
    if is_sharp(above_ground(seen, dsm, cell_m)):
        return taken_back(seen, dsm, decks, cell_m)
    return calmer(seen, cell_m)


def ground_and_bridges(
    dsm: Heights,
    cell_m: float,
    largest_object_m: float = 200.0,
    *,
    asked: tuple[slice, slice] = EVERYTHING,
) -> tuple[Heights, NDArray[np.bool_]]:
    """Return smooth ground where it is certainly seen, NaN elsewhere, and the cells of bridges.

    Only the *asked* rows and columns are right: the others tell what is land, and no more.
    """
    known = np.isfinite(dsm)
    if not known.any():
        return np.full(dsm.shape, np.nan, np.float32), known
    step = max(1, round(WORK_M / cell_m))
    calm = _without_voids(dsm, known, step)
    width = 5 if CALM_M / cell_m >= 4 else 3
    if width * cell_m <= 2 * CALM_M:
        calm = cv2.medianBlur(calm, width)
    part, near = _widened(asked, dsm.shape, round(AROUND_M / cell_m), step)
    ground = _ground(calm, known, step, cell_m * step, largest_object_m, part)
    calm, known = calm[near], known[near]
    shape = known.shape
    sure, brink, deck = (
        repeated(mask, step, shape) & known for mask in (ground.sure, ground.brinks, ground.decks)
    )
    seen = np.where(sure, at_cells(ground.smooth, step, shape), np.nan)
    seen = np.where(brink, calm, seen)
    seen = np.where(deck, repeated(ground.below, step, shape), seen).astype(np.float32)
    found, off = np.full(dsm.shape, np.nan, np.float32), np.zeros(dsm.shape, bool)
    found[near], off[near] = seen, deck
    return found, off


def _without_voids(dsm: Heights, known: Mask, step: int) -> Heights:
    """Return *dsm* with its voids filled from the nearest cells, on a lattice *step* as coarse."""
    if known.all():
        return dsm
    share = block_means(known.astype(np.float32), step)
    means = block_means(cv2.patchNaNs(dsm.copy(), 0), step) / np.maximum(share, 1e-6)
    coarse = nearest_filled(np.where(share > 0, means, np.nan).astype(np.float32))
    return np.where(known, dsm, repeated(coarse, step, dsm.shape))


@dataclass(frozen=True)
class _Ground:
    """What is known of the ground on a lattice."""

    smooth: Heights
    """Gap-free."""
    sure: Mask
    brinks: Mask
    """Cells that are ground as they are."""
    decks: Mask
    below: Heights
    """Ground under decks, NaN where it is not seen."""


def _ground(
    calm: Heights,
    known: Mask,
    step: int,
    cell_m: float,
    largest_object_m: float,
    part: tuple[slice, slice],
) -> _Ground:
    """Find the ground of *part* of a lattice, *step* of the cells that are given to one of it."""
    coarse = block_means(calm, step)
    observed = block_means(known.astype(np.float32), step) >= 0.5
    heights = np.where(observed, coarse, np.nan).astype(np.float32)
    relief = heights - trend(coarse, cell_m)
    parts = land_of(heights, relief, cell_m, largest_object_m)
    coarse, heights, on_ground = coarse[part], heights[part], parts.ground[part]
    decks, below = bridges(coarse, on_ground, cell_m)
    decks &= observed[part]
    banks, cuts = parts.banks[part] & ~decks, parts.cuts[part] & ~decks
    ground = banks | (on_ground & ~decks)
    given = np.where(ground, heights, np.nan).astype(np.float32)
    smooth, sure = refitted(given, coarse, cell_m)
    smooth = np.where(sure, smooth, np.nan).astype(np.float32)
    brink = brinks(heights, smooth, ground, cuts, cell_m) | (grown(banks, BANK_M / cell_m) & ground)
    return _Ground(nearest_filled(smooth), sure, brink, decks, below)


def _widened(
    part: tuple[slice, slice], shape: tuple[int, ...], margin: int, step: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return *part* and at least so many rows and columns around it, within an array.

    First on a lattice *step* times as coarse, and then in the array's own cells.
    """
    wide = []
    for s, n in zip(part, shape, strict=True):
        first, last, _ = s.indices(n)
        wide.append(slice(max(0, first - margin) // step, -(-min(n, last + margin) // step)))
    rows, cols = wide
    fine = (slice(s.start * step, min(n, s.stop * step)) for s, n in zip(wide, shape, strict=True))
    return (rows, cols), (next(fine), next(fine))
