"""Pieces of a surface between its steps, and how their borders step.

A surface model falls apart into regions where it is cut along every steep step. Walls make such
steps, slopes do not, once the trend of the terrain is taken off. A roof steps up from nearly
everything around it, a street or a courtyard steps down, and open land hardly steps at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.nearest import nearest, nearest_filled
from processes.terrain.shapes import disc, grown, larger

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
BENCH_M2 = 250.0
WALL_M, WALL_SLOPE = 1.0, 1.1
"""A wall falls by more than this slope within this distance on either side: no earth bank does."""
WALL_M2, WALL_NEAR_M = 12.0, 1.5
"""Smaller pieces are bushes or noise; what is so near to a larger one belongs to it."""

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
    inside_m2: NDArray[np.float64]
    """Area of the region within those steps: less than nothing where it lies around a pit."""
    gentle: NDArray[np.float64]
    """Share of those steps that are no walls: earth banks."""
    bank: NDArray[np.bool_]
    """Cells of cuts with no wall near."""


def cut(relief: Heights, cell_m: float, heights: Heights | None = None) -> Regions:
    """Return the regions of *relief* between its cuts, with the steps along their borders.

    Wide areas that are level in *heights* are not cut either: on the benches of a quarry the
    trend has the slope of the whole face. Roofs on a steep slope are level too, but not as wide.
    """
    known = np.isfinite(relief)
    filled = nearest_filled(relief)
    radius = int(REACH_M / cell_m)
    near = disc(radius) if radius > 1 else np.ones((3, 3), np.uint8)
    step_m = STEP_M * max(1.0, cell_m / REACH_M)
    steep = _range_within(filled, near) > step_m
    # crowns in a wood are joined by necks of one cell
    steep = cv2.morphologyEx(steep.astype(np.uint8), cv2.MORPH_CLOSE, disc(1)) > 0
    if heights is not None:
        level = _range_within(nearest_filled(heights), near) <= step_m
        steep &= ~larger(level & known, BENCH_M2 / cell_m**2, connectivity=4)
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
    wall = _near_walls(nearest_filled(relief if heights is None else heights), cell_m)
    steps = _border_steps(filled, label, count, seen, wall, cell_m)
    up, down, one_sided, rise_m, gentle, inside = steps
    return Regions(
        label=label,
        area_m2=np.bincount(label.ravel(), minlength=count).astype(np.float64) * cell_m**2,
        width_m=_widths(label, count, seen, cell_m),
        up=up,
        down=down,
        one_sided=one_sided,
        rise_m=rise_m,
        gentle=gentle,
        inside_m2=inside * cell_m**2,
        bank=known & (label == 0) & ~wall,
    )


def _near_walls(heights: Heights, cell_m: float) -> NDArray[np.bool_]:
    """Return the cells within WALL_NEAR_M of a fall that is too steep for an earth bank."""
    radius = max(1, round(WALL_M / cell_m))
    steep = _range_within(heights, disc(radius)) > WALL_SLOPE * 2 * radius * cell_m
    steep = larger(steep, WALL_M2 / cell_m**2, connectivity=4)
    return grown(steep, WALL_NEAR_M / cell_m)


def _without_small_voids(known: NDArray[np.bool_], cell_m: float) -> NDArray[np.bool_]:
    """Return the cells known or in a void too narrow to end a border."""
    if known.all():
        return known
    reach = max(1, round(ACROSS_M / 2 / cell_m))
    wide = np.pad(known.astype(np.uint8), reach)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc(reach))
    return np.asarray(closed[reach:-reach, reach:-reach] > 0)


def _range_within(heights: Heights, near: NDArray[np.uint8]) -> Heights:
    """Return highest minus lowest within a structuring element."""
    return np.asarray(cv2.dilate(heights, near) - cv2.erode(heights, near), np.float32)


def _widths(
    label: NDArray[np.int32], count: int, seen: NDArray[np.bool_], cell_m: float
) -> NDArray[np.float64]:
    # Land goes on beyond the rim of what was observed, whatever its shape.
    inner = cv2.distanceTransform(((label > 0) | ~seen).astype(np.uint8), cv2.DIST_L2, 5)
    found = np.zeros(count)
    at = np.flatnonzero(inner == cv2.dilate(inner, np.ones((3, 3), np.uint8)))
    np.maximum.at(found, label.ravel()[at], inner.ravel()[at])
    return np.asarray(found * 2 * cell_m, np.float64)


def _border_steps(
    heights: Heights,
    label: NDArray[np.int32],
    count: int,
    seen: NDArray[np.bool_],
    wall: NDArray[np.bool_],
    cell_m: float,
) -> tuple[NDArray[np.float64], ...]:
    """Return the shares of each region's border where it is the higher and the lower side.

    Every cell of a cut belongs to the region nearest to it; where two regions then touch, the
    heights of the cells they came from are compared. The other tables are
    `Regions.one_sided`, `Regions.rise_m`, `Regions.gentle` and `Regions.inside_m2`, in cells.
    """
    if count < 3:
        return tuple(np.zeros((6, count)))
    source, distance = nearest(label > 0)
    owner, level = label.ravel()[source], heights.ravel()[source]
    table = _borders(owner, level, distance, seen, wall, ACROSS_M / cell_m, count)
    length, up, down, unseen, rises, facing_east, facing_south, slopes, inside = table
    one_sided = (np.abs(facing_east) + np.abs(facing_south)) / np.maximum(up + unseen, 1)
    length, rise_m = np.maximum(length, 1), rises / np.maximum(up, 1)
    return up / length, down / length, one_sided, rise_m, slopes / np.maximum(up, 1), inside


def _borders(
    owner: NDArray[np.int32],
    level: Heights,
    distance: Heights,
    seen: NDArray[np.bool_],
    wall: NDArray[np.bool_],
    across_px: float,
    count: int,
) -> NDArray[np.float64]:
    """Return of each region the cells of its border, those where it is higher, where it is lower,
    those where nothing is near, the sum of rises, how many more face one way, in two axes, where it
    falls by no wall, and the area within (by the divergence of places)."""
    table = np.zeros((9, count))

    def add(row: int, label: NDArray[np.int32], weights: NDArray[Any] | None = None) -> None:
        table[row] += np.bincount(label, weights=weights, minlength=count)

    cols = owner.shape[1]
    for axis, ahead in enumerate((1, cols)):
        between = np.zeros(owner.shape, bool)
        if axis:
            between[:-1] = (owner[:-1] != owner[1:]) & seen[:-1] & seen[1:]
        else:
            between[:, :-1] = (owner[:, :-1] != owner[:, 1:]) & seen[:, :-1] & seen[:, 1:]
        here = np.flatnonzero(between)
        far = distance.ravel()[here] + distance.ravel()[here + ahead] > across_px
        for side in (here[far], here[far] + ahead):
            add(3, owner.ravel()[side])
        here = here[~far]
        one, other = owner.ravel()[here], owner.ravel()[here + ahead]
        add(0, one)
        add(0, other)
        rise = level.ravel()[here] - level.ravel()[here + ahead]
        steps = np.abs(rise) > MIN_STEP_M
        here, one, other, rise = here[steps], one[steps], other[steps], rise[steps]
        down = rise > 0
        high, way = np.where(down, one, other), np.where(down, 1, -1)
        place = here // cols if axis else here % cols
        gentle = ~(wall.ravel()[here] | wall.ravel()[here + ahead])
        add(1, high)
        add(2, np.where(down, other, one))
        add(4, high, np.abs(rise))
        add(5 + axis, high, way)
        add(7, high, gentle)
        add(8, high, way * place / 2)
    return table
