"""Which regions of a surface are ground, judged by how their borders step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.terrain.regions import cut
from processes.terrain.shapes import larger, open_parts
from processes.terrain.span import spanned_roughly

VAST_M, VAST_UP = 120.0, 0.8
"""Land as large as a square of this side is vast if it is higher than less of what is around, or
lies around that, as around a pit."""
COURTYARD_M2 = 25.0
OPEN_M2, CLEAR_M = 400.0, 10.0
BRINK_M2, BRINK_SIDED = 100.0, 0.7
STOREY_M = 4.5
"""Land of which a part stands above others by more than this is a low roof between high ones …"""
PLATEAU_M2 = 1500.0
"""… unless it is larger."""
GENTLE, DAM_M2, MOSTLY = 0.6, 300.0, 0.5
"""Share of its falls that are no walls, and size, of the crown of a dam; a dam is mostly higher."""
FLANK_OPEN, FLANK_M2 = 0.8, 60.0
"""Share of its rim that is ground, and size, of the flank of one …"""
FLANK_OFF_M, FLANK_FAR_M = 0.35, 1.0
"""… and how far from a straight slope it may lie on average, and each of its cells."""
YARD_M, LEVEL_M = 0.8, 0.4
"""How far from the ground around a sunken and any other region may lie to belong to it …"""
SLACK = 0.02
"""… and by how much more for each metre of distance from that ground."""
LOWEST_UP, RISE, RISE_M = 0.05, 0.15, 1.5
"""What is hardly anywhere the higher side, and no smaller than a courtyard, may be the land between
crowns on a hilltop: higher by so much for each metre of distance, and by so much at most. Less
than a storey: low annexes between houses look the same, and most of them are smaller."""
JOINING_ROUNDS = 8

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Land:
    """Cells of a surface."""

    ground: Mask
    """In regions that are ground."""
    cuts: Mask
    """Cut out between regions."""
    banks: Mask
    """Crowns and flanks of dams, and other slopes of earth."""


def land_of(heights: Heights, relief: Heights, cell_m: float, largest_object_m: float) -> Land:
    """Return which cells of *heights* are ground; *relief* is them less their trend, NaN void.

    Certain ground is a region wider than any object, open land that is mostly not the higher
    side, what is higher on one side only, as terraces are, and what falls by earth banks and not
    by walls: of 20 lands and 6 real and built scenes, only dams do. What is left joins it where it
    lies at the height of the ground around: closely if nothing else speaks for it, roughly if it
    is mostly lower than its neighbours, as a courtyard is and a low annexe between houses too,
    which only its height tells apart.
    """
    regions = cut(relief, cell_m, heights)
    # bushes and rocks leave a hillside no wide disc, and it may be higher than most around it
    vast = regions.area_m2 > min(largest_object_m, VAST_M) ** 2
    vast &= (regions.up < VAST_UP) | (regions.inside_m2 < 0)
    wide = (regions.width_m > largest_object_m) | vast
    clear = (regions.up < 0.1) | ((regions.up < 0.5) & (regions.width_m > CLEAR_M))
    low = (regions.up < 0.1) | (regions.rise_m < STOREY_M) | (regions.area_m2 > PLATEAU_M2)
    land = clear & (regions.area_m2 > OPEN_M2)
    yard = (regions.down >= 0.5) & (regions.up < 0.2) & (regions.area_m2 > COURTYARD_M2)
    brink = (regions.one_sided > BRINK_SIDED) & (regions.area_m2 > BRINK_M2)
    dam = (regions.gentle > GENTLE) & (regions.down < GENTLE / 2) & (regions.area_m2 > DAM_M2)
    ground = wide | ((land | brink) & low) | dam
    if not ground[1:].any():
        ground = yard.copy()
    ground[0] = False
    tolerance = np.where(yard, YARD_M, LEVEL_M)
    clearing = (regions.up < LOWEST_UP) & (regions.area_m2 > COURTYARD_M2)
    for _ in range(JOINING_ROUNDS):
        above, away_m = _above_ground(heights, regions.label, ground, cell_m)
        rise_m = np.where(clearing, np.minimum(RISE * away_m, RISE_M), 0)
        level = np.abs(above) <= tolerance + SLACK * away_m + rise_m
        joined = ground | level
        joined[0] = False
        if (joined == ground).all():
            break
        ground = joined
    cells = np.asarray(ground[regions.label])
    banks = (dam & (regions.up > MOSTLY))[regions.label]
    return Land(
        ground=cells,
        cuts=np.isfinite(heights) & (regions.label == 0),
        banks=banks | _flanks(regions.bank, cells, heights, cell_m),
    )


def _flanks(bank: Mask, ground: Mask, heights: Heights, cell_m: float) -> Mask:
    """Return the parts of *bank* with ground around, that lie on the land which that spans."""
    label, flank = open_parts(larger(bank, FLANK_M2 / cell_m**2), ground, FLANK_OPEN)
    if not flank.any():
        return np.asarray(flank[label])
    above = heights - spanned_roughly(np.where(ground, heights, np.nan), cell_m)
    off, _ = _means(label, np.abs(above), above, flank.size)
    flank &= off < FLANK_OFF_M
    return np.asarray(flank[label] & (np.abs(above) < FLANK_FAR_M))


def _above_ground(
    heights: Heights, label: NDArray[np.int32], ground: Mask, cell_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each region's mean height above the ground so far and its distance from it, metres."""
    seen = ground[label]
    if not seen.any():
        return np.full(ground.size, np.inf), np.zeros(ground.size)
    surface = spanned_roughly(np.where(seen, heights, np.nan), cell_m)
    distance = cv2.distanceTransform((~seen).astype(np.uint8), cv2.DIST_L2, 5)
    above, away = _means(np.where(seen, 0, label), heights - surface, distance, ground.size)
    return above, away * cell_m


def _means(
    label: NDArray[np.int32], one: Heights, other: Heights, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of two rasters over each label but 0."""
    at = np.flatnonzero(label)
    of = label.ravel()[at]
    cells = np.maximum(np.bincount(of, minlength=count), 1)
    first, second = (
        np.bincount(of, weights=values.ravel()[at], minlength=count) / cells
        for values in (one, other)
    )
    return first, second
