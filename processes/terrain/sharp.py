"""Ground up to the wall, where the surface is sharp enough to show it.

What is certainly ground ends short of walls, cars and hedges, since matching blurs them. A surface
from lidar does not, and there most of the land between houses is that close to something. So cells
that lie on the spanned ground are taken back, if they lie on it: as often below as above.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processes.terrain.span import spanned, spanned_roughly

WITHIN_M = 0.3
"""Cells nearer to the spanned ground than this may be ground."""
BLURRED_M, SHARP_M = 0.04, 0.02
"""Median of their heights above it: 0.05 to 0.08 m on surfaces from stereo pairs and triples, at
most 0.015 m on lidar and on exact ones. Less than SHARP_M is sharp; in between fewer are taken."""
ROUNDS, ENOUGH_M = 2, 0.1
"""The span is good when it would move by no more: its coarse part is right at once, and a closer
one takes three times as long and changes the lidar towns' RMSE by 0.4 mm, up or down."""

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def taken_back(seen: Heights, surface: Heights, barred: Mask, cell_m: float) -> Heights:
    """Return *seen* with cells of *surface* that lie on the ground it spans, *barred* ones never.

    On lidar towns: RMSE 0.206 to 0.16 and 0.145 to 0.11 m. Taken back without asking, the bias
    under blocks of a surface from three images would rise from 0.11 to 0.18 m.
    """
    lift = _lift(seen, surface, barred, cell_m)
    within = WITHIN_M * float(np.clip((BLURRED_M - lift) / (BLURRED_M - SHARP_M), 0, 1))
    for _ in range(ROUNDS if within > 0 else 0):
        above = surface - spanned(seen, cell_m, ENOUGH_M)
        asked = np.isnan(seen) & ~barred & (np.abs(above) < within)
        if not asked.any():
            break
        seen = np.where(asked, surface, seen).astype(np.float32)
    return seen


def _lift(seen: Heights, surface: Heights, barred: Mask, cell_m: float) -> float:
    """Return the median height of what may be ground above it, metres."""
    above = surface - spanned_roughly(seen, cell_m)
    near = above[np.isnan(seen) & ~barred & (np.abs(above) < WITHIN_M)]
    return float(np.median(near)) if near.size else np.inf
