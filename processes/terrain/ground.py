"""Bare earth: which cells of a surface model are ground, and how high the ground is there.

Region-based, after a comparison with cloth, window and progressive morphological filters: those
hang at the noise floor of a photogrammetric surface and come off on slopes. A surface cut at its
steps falls into regions of which most say by their borders alone what they are.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.bridges import bridges
from processes.terrain.brinks import brinks
from processes.terrain.land import land_of
from processes.terrain.nearest import nearest_filled
from processes.terrain.refit import refitted
from processes.terrain.shapes import grown
from processes.terrain.sharp import taken_back
from processes.terrain.span import spanned
from processes.terrain.trend import trend

AROUND_M = 60.0
"""So far around the cells that are asked for the ground is refined as well; what is land is judged
from farther away."""
EVERYTHING = (slice(None), slice(None))
BANK_M = 2.0
"""The ground is not smoothed so near to a bank: it would round off its edges."""
CALM_M = 2.5
"""Width of the median that takes single blunders off before steps are looked for."""

Heights = NDArray[np.float32]


def bare_earth(dsm: Heights, cell_m: float, largest_object_m: float = 200.0) -> Heights:
    """Return the ground under every raised object up to *largest_object_m* wide, gap-free.

    All NaN where the surface model shows no ground at all.
    """
    return spanned(ground_heights(dsm, cell_m, largest_object_m), cell_m)


def ground_heights(dsm: Heights, cell_m: float, largest_object_m: float = 200.0) -> Heights:
    """Return the ground where *dsm* (metres, NaN where void) shows it, smoothed; NaN elsewhere."""
    return ground_and_bridges(dsm, cell_m, largest_object_m)[0]


def ground_and_bridges(
    dsm: Heights,
    cell_m: float,
    largest_object_m: float = 200.0,
    *,
    asked: tuple[slice, slice] = EVERYTHING,
) -> tuple[Heights, NDArray[np.bool_]]:
    """Return `ground_heights`, and the cells of bridges, which are no ground.

    Only the *asked* rows and columns are right: the others tell what is land, and no more.
    """
    known = np.isfinite(dsm)
    if not known.any():
        return np.full(dsm.shape, np.nan, np.float32), known
    calm = nearest_filled(dsm)
    width = 5 if CALM_M / cell_m >= 4 else 3
    if width * cell_m <= 2 * CALM_M:
        calm = cv2.medianBlur(calm, width)
    heights = np.where(known, calm, np.nan).astype(np.float32)
    relief = heights - trend(calm, cell_m)
    land = land_of(heights, relief, cell_m, largest_object_m)
    near = _widened(asked, dsm.shape, round(AROUND_M / cell_m))
    calm, heights, surface = calm[near], heights[near], dsm[near]
    on_ground, cuts, banks = land.ground[near], land.cuts[near], land.banks[near]
    decks, below = bridges(calm, on_ground, cell_m)
    decks &= known[near]
    ground = (banks | on_ground) & ~decks
    banks, cuts = banks & ~decks, cuts & ~decks
    seen = refitted(np.where(ground, heights, np.nan).astype(np.float32), calm, cell_m)
    brink = brinks(heights, seen, ground, cuts, cell_m) | (grown(banks, BANK_M / cell_m) & ground)
    seen = np.where(brink, heights, seen).astype(np.float32)
    seen = np.where(decks, below, seen)
    found, off = np.full(dsm.shape, np.nan, np.float32), np.zeros(dsm.shape, bool)
    found[near], off[near] = taken_back(seen, surface, decks, cell_m), decks
    return found, off


def _widened(part: tuple[slice, slice], shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    """Return *part* and so many rows and columns around it, within an array."""
    first, last = ([s.indices(n)[k] for s, n in zip(part, shape, strict=True)] for k in (0, 1))
    rows, cols = (
        slice(max(0, a - margin), min(n, b + margin))
        for a, b, n in zip(first, last, shape, strict=True)
    )
    return rows, cols
