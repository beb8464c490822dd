"""Which cells are ground: regions between steps, judged by how their borders step.

A surface model falls apart into regions where it is cut along every steep step. Walls make such
steps, slopes do not, once the trend of the terrain is taken off. A roof steps up from nearly
everything around it, a street or a courtyard steps down, and open land hardly steps at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.terrain.nearest import nearest, nearest_filled
from processes.terrain.span import spanned_roughly

REACH_M = 1.5
"""Radius in which a step is looked for."""
STEP_M = 1.5
"""Range of heights within REACH_M that makes a cut."""
MIN_STEP_M = 1.0
"""Difference between two regions that makes one higher than the other."""
ACROSS_M = 9.0
"""Regions farther apart than this have no border: a wood between two fields is none."""
SPECK_M2 = 4.0
"""Regions smaller than this are part of the cut between their neighbours."""
COURTYARD_M2 = 25.0
OPEN_M2, CLEAR_M = 400.0, 10.0
BRINK_M2, BRINK_SIDED = 100.0, 0.7
BENCH_M2 = 250.0
VAST_UP = 0.8
STOREY_M = 4.5
"""Land of which a part stands above others by more than this is a low roof between high ones …"""
PLATEAU_M2 = 1500.0
"""… unless it is larger."""
YARD_M, LEVEL_M = 0.8, 0.4
"""How far from the ground around a sunken and any other region may lie to belong to it …"""
SLACK = 0.02
"""… and by how much more for each metre of distance from that ground."""
JOINING_ROUNDS = 3

Heights = NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """Pieces of surface. Label 0 is the cut between them; tables have one row a label."""

    label: NDArray[np.int32]
    area_m2: NDArray[np.float64]
    width_m: NDArray[np.float64]
    """Diameter of the largest disc inside."""
    up: NDArray[np.float64]
    """Share of the border where the region is the higher side."""
    down: NDArray[np.float64]
    """Share of the border where it is the lower side."""
    one_sided: NDArray[np.float64]
    """How far what it stands above lies on one side: 1 along the brink of a terrace, less than a
    half around a house. Borders that are not seen, in trees, count against it."""
    rise_m: NDArray[np.float64]
    """Mean height of the steps where it is the higher side."""


def ground_cells(
    heights: Heights, relief: Heights, cell_m: float, largest_object_m: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the cells of regions that are ground, and the cells cut out between regions.

    *relief* is *heights* less their trend; NaN is void.
    Certain ground is a region wider than any object, open land that is mostly not the higher
    side, and what is higher on one side only, as terraces are. What is left joins it where it
    lies at the height of the ground around: closely if nothing else speaks for it, roughly if it
    is mostly lower than its neighbours, as a courtyard is and a low annexe between houses too,
    which only its height tells apart.
    """
    regions = cut(relief, cell_m, heights)
    # bushes and rocks leave a hillside no wide disc, and it may be higher than most around it
    vast = (regions.area_m2 > largest_object_m**2) & (regions.up < VAST_UP)
    wide = (regions.width_m > largest_object_m) | vast
    clear = (regions.up < 0.1) | ((regions.up < 0.5) & (regions.width_m > CLEAR_M))
    low = (regions.up < 0.1) | (regions.rise_m < STOREY_M) | (regions.area_m2 > PLATEAU_M2)
    land = clear & (regions.area_m2 > OPEN_M2)
    yard = (regions.down >= 0.5) & (regions.up < 0.2) & (regions.area_m2 > COURTYARD_M2)
    brink = (regions.one_sided > BRINK_SIDED) & (regions.area_m2 > BRINK_M2)
    ground = wide | ((land | brink) & low)
    if not ground[1:].any():
        ground = yard.copy()
    ground[0] = False
    tolerance = np.where(yard, YARD_M, LEVEL_M)
    for _ in range(JOINING_ROUNDS):
        above, away_m = _above_ground(heights, regions.label, ground, cell_m)
        level = np.abs(above) <= tolerance + SLACK * away_m
        joined = ground | level
        joined[0] = False
        if (joined == ground).all():
            break
        ground = joined
    cuts = np.isfinite(heights) & (regions.label == 0)
    return np.asarray(ground[regions.label]), cuts


def _above_ground(
    heights: Heights, label: NDArray[np.int32], ground: NDArray[np.bool_], cell_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each region's mean height above the ground so far and its distance from it, metres."""
    seen = ground[label]
    if not seen.any():
        return np.full(ground.size, np.inf), np.zeros(ground.size)
    surface = spanned_roughly(np.where(seen, heights, np.nan), cell_m)
    distance = cv2.distanceTransform((~seen).astype(np.uint8), cv2.DIST_L2, 5)
    above, away = _means(label, heights - surface, distance, ground.size)
    return above, away * cell_m


@njit(cache=True, nogil=True, error_model="numpy")
def _means(label: NDArray[np.int32], one: Heights, other: Heights, count: int) -> Any:
    """Return the means of two rasters over each label but 0."""
    rows, cols = label.shape
    cells, first, second = np.zeros(count), np.zeros(count), np.zeros(count)
    for row in range(rows):
        for col in range(cols):
            at = label[row, col]
            if at > 0:
                cells[at] += 1
                first[at] += one[row, col]
                second[at] += other[row, col]
    return first / np.maximum(cells, 1), second / np.maximum(cells, 1)


def cut(relief: Heights, cell_m: float, heights: Heights | None = None) -> Regions:
    """Return the regions of *relief* between its cuts, with the steps along their borders.

    Wide areas that are level in *heights* are not cut either: on the benches of a quarry the
    trend has the slope of the whole face. Roofs on a steep slope are level too, but not as wide.
    """
    known = np.isfinite(relief)
    filled = nearest_filled(relief)
    radius = max(1, round(REACH_M / cell_m))
    step_m = STEP_M * max(1.0, radius * cell_m / REACH_M)
    steep = _range_within(filled, radius) > step_m
    if heights is not None:
        level = _range_within(nearest_filled(heights), radius) <= step_m
        steep &= ~_larger(level & known, BENCH_M2 / cell_m**2)
    count, label, stats, _ = cv2.connectedComponentsWithStats(
        (known & ~steep).astype(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    size = stats[:, cv2.CC_STAT_AREA]
    kept = size * cell_m**2 >= SPECK_M2
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    label = number[label]
    count = int(kept.sum()) + 1
    seen = _without_small_voids(known, cell_m)
    up, down, one_sided, rise_m = _border_steps(filled, label, count, seen, cell_m)
    return Regions(
        label=label,
        area_m2=np.bincount(label.ravel(), minlength=count).astype(np.float64) * cell_m**2,
        width_m=_widths(label, count, seen, cell_m),
        up=up,
        down=down,
        one_sided=one_sided,
        rise_m=rise_m,
    )


def _larger(mask: NDArray[np.bool_], cells: float) -> NDArray[np.bool_]:
    """Return the connected parts of *mask* of more than so many cells."""
    _, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] > cells
    large[0] = False
    return np.asarray(large[label])


def _without_small_voids(known: NDArray[np.bool_], cell_m: float) -> NDArray[np.bool_]:
    """Return the cells known or in a void too narrow to end a border."""
    if known.all():
        return known
    reach = max(1, round(ACROSS_M / 2 / cell_m))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    wide = np.pad(known.astype(np.uint8), reach)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc)
    return np.asarray(closed[reach:-reach, reach:-reach] > 0)


def _range_within(heights: Heights, radius: int) -> Heights:
    """Return highest minus lowest within *radius* cells."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(heights, disc) - cv2.erode(heights, disc), np.float32)


def _widths(
    label: NDArray[np.int32], count: int, seen: NDArray[np.bool_], cell_m: float
) -> NDArray[np.float64]:
    # Land goes on beyond the rim of what was observed, whatever its shape.
    inner = cv2.distanceTransform(((label > 0) | ~seen).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(_largest(label, inner, count) * 2 * cell_m)


@njit(cache=True, nogil=True)
def _largest(label: NDArray[np.int32], values: Heights, count: int) -> Any:
    found = np.zeros(count)
    for row in range(label.shape[0]):
        for col in range(label.shape[1]):
            at = label[row, col]
            found[at] = max(found[at], values[row, col])
    return found


def _border_steps(
    heights: Heights,
    label: NDArray[np.int32],
    count: int,
    seen: NDArray[np.bool_],
    cell_m: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of each region's border where it is the higher and the lower side.

    Every cell of a cut belongs to the region nearest to it; where two regions then touch, the
    heights of the cells they came from are compared. The third table is `Regions.one_sided`, the
    fourth `Regions.rise_m`.
    """
    if count < 3:
        return np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
    source, distance = nearest(label > 0)
    owner, level = label.ravel()[source], heights.ravel()[source]
    table = _borders(owner, level, distance, seen, ACROSS_M / cell_m, count)
    length, up, down, unseen, rises, facing_east, facing_south = table
    one_sided = (np.abs(facing_east) + np.abs(facing_south)) / np.maximum(up + unseen, 1)
    length, rise_m = np.maximum(length, 1), rises / np.maximum(up, 1)
    return up / length, down / length, one_sided, rise_m


@njit(cache=True, nogil=True)
def _borders(
    owner: NDArray[np.int32],
    level: Heights,
    distance: Heights,
    seen: NDArray[np.bool_],
    across_px: float,
    count: int,
) -> Any:
    """Return of each region the cells of its border, those where it is higher, where it is lower,
    those where nothing is near, the sum of rises, and how many more face one way, in two axes."""
    rows, cols = owner.shape
    table = np.zeros((7, count))
    for row in range(rows):
        for col in range(cols):
            one = owner[row, col]
            for axis in range(2):
                r, c = row + axis, col + 1 - axis
                if r >= rows or c >= cols or not (seen[row, col] and seen[r, c]):
                    continue
                other = owner[r, c]
                if one == other:
                    continue
                if distance[row, col] + distance[r, c] > across_px:
                    table[3, one] += 1
                    table[3, other] += 1
                    continue
                table[0, one] += 1
                table[0, other] += 1
                rise = level[row, col] - level[r, c]
                if abs(rise) > MIN_STEP_M:
                    high, low, way = (one, other, 1) if rise > 0 else (other, one, -1)
                    table[1, high] += 1
                    table[2, low] += 1
                    table[4, high] += abs(rise)
                    table[5 + axis, high] += way
    return table
