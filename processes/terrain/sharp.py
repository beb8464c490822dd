"""How far a surface is to be believed: up to the walls and cell by cell, or smoothed.

What is certainly ground ends short of walls, cars and hedges, since matching blurs them. A surface
from lidar does not, and there most of the land between houses is that close to something. So cells
that lie on the spanned ground are taken back, if they lie on it: as often below as above. Where
they lie above it, the surface is blurred, and noisy as well: it is smoothed farther instead. That
is decided once for the whole area, so that its blocks have no seams.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.shapes import disc
from processes.terrain.smooth import local_planes, planes
from processes.terrain.span import spanned_roughly

WITHIN_M = 0.3
"""Cells less far above the spanned ground than this may be ground …"""
BELOW_M, ALONE_M, PIT_M = 1.5, 1.5, 4.0
"""… and so may cells that are lower by less: a laser seldom sees too low, and a bush or a shed
taken for ground lifts what lies between it and the next. But in noise, or at the foot of a scarp,
something so near is higher, and something so near lower still."""
REACH_M = 5.0
"""What stands on the ground is higher by more than a plane through what lies lower so near …"""
STEP_M, OPEN, LARGEST_M2 = 0.2, 0.35, 300.0
"""… unless its rim steps by less along so much of it, as the crest of a bank, or it is as large as
the crown of a dam."""
SHARP_M = 0.02
"""Median of their heights above it on a sharp surface: at most 0.012 m on lidar and on exact ones,
0.025 to 0.09 m on surfaces from stereo pairs and triples."""
SAMPLED_PX = 4
ROUNDS = 2
CALM_M, ALIKE_M = 2.24, 0.2
"""Noise of matching is smoothed over so much more where that changes the ground around by less:
eight of nine stereo surfaces are 3 to 16 % more right. Cell by cell, terraces rounded."""

FAR_M = np.float32(1e6)

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


def above_ground(seen: Heights, surface: Heights, cell_m: float) -> Heights:
    """Return how high cells that are not *seen* lie above the ground it spans, if near to it.

    Of every few cells, along each side.
    """
    above = np.where(np.isnan(seen), surface - spanned_roughly(seen, cell_m), np.nan)
    some = above[::SAMPLED_PX, ::SAMPLED_PX]
    return np.asarray(some[np.abs(some) < WITHIN_M], np.float32)


def is_sharp(above: Heights) -> bool:
    """Return whether the heights of `above_ground` tell of a sharp surface.

    Where nothing stands, nothing speaks against it.
    """
    return not above.size or float(np.median(above)) <= SHARP_M


def taken_back(seen: Heights, surface: Heights, barred: Mask, cell_m: float) -> Heights:
    """Return the cells of a sharp *surface* that lie on the ground which *seen* spans.

    *barred* ones never. Of what was seen the surface itself is believed where it is as high, and
    nothing that stands on what lies lower: bushes, sheds and ramps that were taken for ground.

    RMSE on two lidar towns 0.205 and 0.122 m without, 0.131 and 0.083 while lower cells were asked
    to have none higher beside them, 0.114 and 0.081 since they are not, 0.098 and 0.077 m with the
    surface's own heights and without what stands; on exact ones 3 to 60 % less too. A
    choice of the cells by the reference itself, of those within 0.2 m of it, gives 0.079 and
    0.067 m. Done to a surface from three images, the bias under its blocks would rise from 0.11 to
    0.18 m.
    """
    here = np.isfinite(seen) & ~barred & (np.abs(surface - seen) < WITHIN_M)
    seen = np.where(here, surface, seen).astype(np.float32)
    seen = _with_near(seen, surface, barred, cell_m)
    seen = np.where(_standing(seen, cell_m) & ~barred, np.nan, seen).astype(np.float32)
    for _ in range(ROUNDS):
        seen = _with_near(seen, surface, barred, cell_m)
    return seen


def _with_near(seen: Heights, surface: Heights, barred: Mask, cell_m: float) -> Heights:
    """Return *seen* and the cells of *surface* that lie near the ground it spans, or below."""
    above = surface - spanned_roughly(seen, cell_m)
    high, pit = above >= WITHIN_M, above <= -BELOW_M
    low = ~high & ~pit
    if pit.any():
        low &= ~(_widened(high, ALONE_M / cell_m) & _widened(pit, PIT_M / cell_m))
    taken = np.isnan(seen) & ~barred & (low | (np.abs(above) < WITHIN_M))
    return np.where(taken, surface, seen).astype(np.float32)


def _widened(mask: Mask, radius_px: float) -> Mask:
    """Return the cells in a square around each of *mask*: a tenth of the time that discs take."""
    side = 2 * max(1, round(radius_px)) + 1
    square = np.ones((side, side), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), square) > 0)


def _standing(seen: Heights, cell_m: float) -> Mask:
    """Return what stands on the rest of *seen*, with a step along most of its rim."""
    kept = seen
    for _ in range(ROUNDS):
        above = seen - local_planes(kept, REACH_M / cell_m)
        kept = np.where(above <= WITHIN_M, seen, np.nan).astype(np.float32)
    dropped = np.isfinite(seen) & np.isnan(kept)
    count, label, stats, _ = cv2.connectedComponentsWithStats(dropped.astype(np.uint8))
    near = np.ones((3, 3), np.uint8)
    rim = dropped & (cv2.erode(dropped.astype(np.uint8), near) == 0)
    highest = cv2.dilate(np.where(np.isfinite(kept), kept, -FAR_M), near)
    level = rim & (seen - highest < STEP_M)
    cells, open_cells = (np.bincount(label[part], minlength=count) for part in (rim, level))
    small = stats[:, cv2.CC_STAT_AREA] < LARGEST_M2 / cell_m**2
    stands = small & (open_cells < OPEN * cells)
    stands[0] = False
    return np.asarray(stands[label])


def calmer(seen: Heights, cell_m: float) -> Heights:
    """Return *seen* smoothed where that changes little around: not at brinks and terraces."""
    smooth, weight = planes(seen, CALM_M / cell_m)
    off = np.nan_to_num(np.where(weight > 0, np.abs(smooth - seen), 0)).astype(np.float32)
    calm = np.isfinite(seen) & (weight > 0) & (cv2.dilate(off, disc(CALM_M / cell_m)) < ALIKE_M)
    return np.where(calm, smooth, seen).astype(np.float32)
