"""Water: what is level at its shore, whatever the surface model shows there.

Laser light is swallowed or comes back from a level surface; images are matched on waves, so a
stereo surface is void, noise, or flat. All three are looked for on a coarse lattice that holds the
whole area, so that a lake has one level however many blocks it lies in. What is found must have a
shore: land around it that is ground, as low all around, and does not fall away from it.

A harbour seen by two images is not found: its shore is quays and, 3 m lower, patches of matched
waves, and tilts by 1.6 to 15 %. Robust planes through the shore let in a basin of 1,900 m2, as a
river falling by 0.5 m; heights within tilt by 4 to 14 % themselves. But voids and noise taken
together make bodies of more than 2,000 m2 there, and none on 18 towns, two of lidar, dunes and a
stadium: the place could be told, not the level (medians within: 43.4, 41.7, 42.6 m, true 42.7).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.core.nearest import nearest
from processes.terrain.blocks import block_extremes, block_means
from processes.terrain.shapes import disc, grown, larger
from processes.terrain.smooth import planes

LATTICE_M = 2.0
"""Water is looked for in cells so wide."""
NARROWEST_M, LEAST_M2 = 8.0, 200.0
"""Narrower and smaller voids are what walls hide; level land must be SURE times larger."""
SURE = 2.0
PIT_M, ROUGH_M, PITS, PITS_NEAR_M = 1.0, 1.5, 0.2, 10.0
"""Noise reaches so far below the land, within so rough a place, in so many cells so near …"""
RAISED_M = 1.0
"""… and is not mostly higher than the land by more, as a wood is."""
CALM_M, ROUGHEST_CALM_M = 0.06, 0.3
"""Neighbours on level water differ by less than thrice what calm ground does, and than these."""
RISE_M, BANK_M = 0.2, 8.0
"""Level land that is water has higher land this near, higher by so much …"""
BANKED, BANK_GROUND = 0.85, 0.3
"""… along so much of what surrounds it, of which so much is ground."""
STANDING_M, BUILT = 2.0, 0.01
"""Things so high stand on no more of it."""
SHORE_M, SHORE_GROUND = 4.0, 0.33
"""The shore is ground so near, and that on so much of the rim; walls and crowns are the rest."""
DROP_M, ALIKE_M, FEWEST, ECHOES = 0.3, 0.2, 5, 0.02
"""A void is water if so many cells, and such a share, in it or at its rim are so much lower than
the shore, and nearly as low as each other, …"""
BANK_RISE_M, BANK_RISES, WIDE_M = 0.15, 0.6, 20.0
"""… if the land rises from it by so much, so often, or if it is so wide. Else data are missing."""
SHORE_LOW = 0.2
"""The shore is steep: the level is that of its lowest fifth."""
OUTWARD_M, FALLS_M, FALLS = 12.0, 0.2, 0.35
"""So far out no more than this share of the land is lower than at the shore, by so much."""
LEVEL_M = 0.5
"""Shores of lakes differ by less; other water is a river …"""
STEEPEST, ALONG_M, ENVELOPE_M = 0.015, 80.0, 20.0
"""… that falls by less than this, is smooth over this, and lies at the lowest bank this near."""
REACH_CELLS = 2
"""So far beyond its coarse cells a water may go on."""
SHALLOW_M, WAVES_M = 0.1, 0.3
"""So little above the level cells are water: beside its coarse cells, and in them."""
EDGE_M = 2.5
"""A bank is no wider."""
FAR_M = 1e6

Heights = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Survey:
    """What each coarse cell holds; NaN where nothing is."""

    known: Heights
    """Share of its cells that have a height."""
    low: Heights
    high: Heights
    mean: Heights
    ground: Heights
    """Mean of those seen as ground, if a quarter are."""
    marked: Heights
    """Share of its cells that a mask says are water."""


def survey(dsm: Heights, ground: Heights, marked: Heights | None, step: int) -> Survey:
    """Return what blocks of *step* by *step* cells hold."""
    rows, cols = dsm.shape
    rest = ((0, -rows % step), (0, -cols % step))
    surface, land = (np.pad(z, rest, constant_values=np.nan) for z in (dsm, ground))
    cells = block_means(np.pad(np.ones(dsm.shape, np.float32), rest), step)
    known, mean = _known_means(surface, step)
    bare, height = _known_means(land, step)
    void = np.isnan(surface)
    low, _ = block_extremes(np.where(void, np.float32(FAR_M), surface), step)
    _, high = block_extremes(np.where(void, np.float32(-FAR_M), surface), step)
    wet = np.zeros(cells.shape, np.float32)
    if marked is not None:
        wet = block_means(np.pad((np.nan_to_num(marked) > 0).astype(np.float32), rest), step)
    return Survey(
        known=known / cells,
        low=np.where(known > 0, low, np.nan),
        high=np.where(known > 0, high, np.nan),
        mean=mean,
        ground=np.where(4 * bare >= cells, height, np.nan),
        marked=wet / cells,
    )


def _known_means(values: Heights, step: int) -> tuple[Heights, Heights]:
    """Return the share of cells with a height in each block, and their mean, NaN where none has."""
    known = block_means(np.isfinite(values).astype(np.float32), step)
    with np.errstate(divide="ignore", invalid="ignore"):
        return known, block_means(np.nan_to_num(values), step) / known


def joined(strips: list[Survey]) -> Survey:
    """Return the survey of strips that follow each other southwards."""
    names = Survey.__dataclass_fields__
    return Survey(*(np.concatenate([getattr(s, name) for s in strips]) for name in names))


def water_levels(
    held: Survey, land: Heights, observed: Mask, cell_m: float
) -> tuple[Heights, NDArray[np.uint8]]:
    """Return the level of the water in each coarse cell, metres; NaN where there is none.

    With it 2 where there is nothing but water, 1 where a shore may be as well, else 0. *land* is
    the ground spanned without knowing of water, *observed* where a terrain is claimed.
    """
    level = np.full(land.shape, np.nan, np.float32)
    firm = larger(np.isfinite(held.ground), LEAST_M2 / cell_m**2)  # crests of noise are not
    for found, sure in (
        (held.marked >= 0.5, True),
        (_wide((held.known < 0.5) & observed, cell_m), False),
        (_noise(held, land, firm, cell_m), False),
    ):
        count, label, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
        least = LEAST_M2 / cell_m**2
        for number in range(1, count):
            window = _window(stats[number], label.shape, round(2 * OUTWARD_M / cell_m))
            if sure or stats[number, cv2.CC_STAT_AREA] >= least:
                body = label[window] == number
                part = Survey(*(getattr(held, n)[window] for n in Survey.__dataclass_fields__))
                there = _level(body, part, cell_m, sure=sure)
                level[window] = np.where(np.isnan(level[window]), there, level[window])
    core = np.where(np.isfinite(level), np.where(firm, 1, 2), 0).astype(np.uint8)
    calm = np.isnan(level) & np.isfinite(seen := _calm(held, cell_m))
    core[calm] = 1
    return np.where(calm, seen, level).astype(np.float32), core


def _window(stats: NDArray[np.int32], shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    left, top, width, height = (int(n) for n in stats[:4])
    rows = slice(max(0, top - margin), min(shape[0], top + height + margin))
    return rows, slice(max(0, left - margin), min(shape[1], left + width + margin))


def _wide(mask: Mask, cell_m: float) -> Mask:
    """Return *mask* without what is narrower than water."""
    radius = max(1, round(NARROWEST_M / 2 / cell_m))
    return mask & grown(cv2.erode(mask.astype(np.uint8), disc(radius - 1)) > 0, radius)


def _noise(held: Survey, land: Heights, firm: Mask, cell_m: float) -> Mask:
    """Return where the surface is noise about the land: it goes far below, again and again."""
    low, high = np.nan_to_num(held.low, nan=FAR_M), np.nan_to_num(held.high, nan=-FAR_M)
    rough = cv2.dilate(high, disc(1)) - cv2.erode(low, disc(1)) > ROUGH_M
    pits = (rough & (held.low < land - PIT_M)).astype(np.float32)
    size = 2 * round(PITS_NEAR_M / 2 / cell_m) + 1
    noise = _wide(cv2.blur(pits, (size, size)) > PITS, cell_m)
    return grown(noise, PITS_NEAR_M / 2 / cell_m) & ~firm


def _level(body: Mask, held: Survey, cell_m: float, *, sure: bool) -> Heights:
    """Return the level of *body* in its cells, NaN all over if its shore is none of water."""
    none = np.full(body.shape, np.nan, np.float32)
    rim = grown(body, SHORE_M / cell_m) & ~body
    seen = rim & np.isfinite(held.ground)
    if not seen.any():
        return none
    shore = np.where(seen, held.ground, np.nan).astype(np.float32)
    lowest = float(np.quantile(shore[seen], SHORE_LOW))
    inside = held.mean[body & np.isfinite(held.mean)]
    filled = inside.size > body.sum() / 2
    echoes = (body | rim) & (held.low < np.median(shore[seen]) - DROP_M)
    echoed = not filled and echoes.sum() > max(FEWEST, ECHOES * body.sum())
    echoed = echoed and float(np.subtract(*np.quantile(held.low[echoes], (0.75, 0.25)))) < ALIKE_M
    if not sure:
        unseen = rim & (held.known > 0) & ~seen
        if seen.sum() < SHORE_GROUND * (seen | unseen).sum():
            return none
        if _tilt(shore) > STEEPEST * cell_m:
            return none
        beyond = _beyond(body, shore, held.ground, cell_m)
        if (beyond < -FALLS_M).mean() > FALLS:
            return none
        if filled and np.median(inside) > lowest + RAISED_M:
            return none
        banked = (beyond > BANK_RISE_M).mean() > BANK_RISES
        if not (filled or echoed or banked or _inner_width(body) * cell_m > WIDE_M):
            return none
    if filled:
        lowest = min(lowest, float(np.median(inside)))
    elif echoed:
        lowest = min(lowest, float(np.median(held.low[echoes])))
    banks = np.where(seen, _envelope(shore, cell_m), np.nan).astype(np.float32)
    if sure or np.ptp(banks[seen]) <= LEVEL_M:
        return np.where(body, lowest, np.nan).astype(np.float32)
    course, weight = planes(banks, ALONG_M / cell_m)
    course = np.where(weight > 0, course, lowest)
    if np.ptp(course[body]) > STEEPEST * cell_m * float(np.hypot(*body.shape)):
        return none
    source, _ = nearest(seen)
    course = np.minimum(course, banks.ravel()[source])
    if filled:
        course += min(0.0, float(np.nanmedian((held.mean - course)[body])))
    return np.where(body, course, np.nan).astype(np.float32)


def _tilt(heights: Heights) -> float:
    """Return the slope of the plane through *heights*, metres a cell."""
    row, col = np.nonzero(np.isfinite(heights))
    terms = np.stack([np.ones(len(row)), row, col], axis=1)
    plane = np.linalg.lstsq(terms, heights[row, col].astype(np.float64), rcond=None)[0]
    return float(np.hypot(plane[1], plane[2]))


def _inner_width(body: Mask) -> float:
    """Return the diameter of the largest disc in *body*, cells."""
    inner = cv2.distanceTransform(np.pad(body, 1).astype(np.uint8), cv2.DIST_L2, 5)
    return 2 * float(inner.max())


def _envelope(shore: Heights, cell_m: float) -> Heights:
    """Return the lowest shore near each cell of the shore."""
    filled = np.where(np.isfinite(shore), shore, np.float32(FAR_M)).astype(np.float32)
    return np.asarray(cv2.erode(filled, disc(ENVELOPE_M / cell_m)))


def _beyond(body: Mask, shore: Heights, ground: Heights, cell_m: float) -> Heights:
    """Return how much higher the land is some way out than the shore nearest to it."""
    outer = grown(body, (OUTWARD_M + cell_m) / cell_m) & ~grown(body, OUTWARD_M / cell_m)
    outer &= np.isfinite(ground)
    if not outer.any():
        return np.zeros(1, np.float32)
    source, _ = nearest(np.isfinite(shore))
    return np.asarray(ground[outer] - shore.ravel()[source[outer]], np.float32)


def _calm(held: Survey, cell_m: float) -> Heights:
    """Return the level of water that was seen as it is: level, and lower than all around."""
    heights = np.where(np.isfinite(held.ground), held.ground, held.mean)
    filled = cv2.medianBlur(np.nan_to_num(heights, nan=FAR_M).astype(np.float32), 3)
    # of four neighbours: a plane fitted to more would reach over the shore of a canal
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    spread = cv2.dilate(filled, cross) - cv2.erode(filled, cross)
    land = spread[np.isfinite(held.ground) & (spread < FAR_M / 2)]
    level = np.full(held.mean.shape, np.nan, np.float32)
    if not land.size:
        return level
    within = float(np.clip(3 * np.quantile(land, 0.1), CALM_M, ROUGHEST_CALM_M))
    flat = ((spread < within) & (filled < FAR_M)).astype(np.uint8)
    count, label, stats, _ = cv2.connectedComponentsWithStats(flat)
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] * cell_m**2 < SURE * LEAST_M2:
            continue
        window = _window(stats[number], label.shape, round(2 * BANK_M / cell_m))
        body = label[window] == number
        inside = filled[window][body]
        low, middle, high = (float(q) for q in np.quantile(inside, (0.05, 0.5, 0.95)))
        if high - low > 2 * within:
            continue
        body = grown(body, 1) & (filled[window] < middle + within)
        far, near = grown(body, BANK_M / cell_m), grown(body, BANK_M / 2 / cell_m)
        rim = far & ~near & np.isfinite(heights[window])
        ground = rim & np.isfinite(held.ground[window])
        if not rim.any() or ground.sum() < BANK_GROUND * rim.sum():
            continue
        banked = heights[window][rim] > middle + max(RISE_M, 2 * within, 1.5 * (high - low))
        if banked.mean() >= BANKED and not _built_on(body, held.mean[window], middle):
            level[window][body] = middle
    return level


def _built_on(body: Mask, heights: Heights, level: float) -> bool:
    """Return whether things stand in *body*: on a level field or yard, not in water."""
    label = cv2.connectedComponents((~np.pad(body, 1)).astype(np.uint8), connectivity=4)[1]
    enclosed = label[1:-1, 1:-1] > label[0, 0]
    return bool((enclosed & (heights > level + STANDING_M)).sum() > BUILT * body.sum())


def reached(level: Heights) -> Heights:
    """Return *level* continued into the coarse cells that its waters may reach."""
    known = np.isfinite(level)
    if not known.any():
        return level
    source, away = nearest(known)
    near = away <= REACH_CELLS
    return np.where(near, level.ravel()[source], np.nan).astype(np.float32)


def water_cells(dsm: Heights, ground: Heights, level: Heights, core: NDArray[np.uint8]) -> Mask:
    """Return the cells that are water of a *level*, metres, where that reaches; NaN elsewhere.

    *core* is as `water_levels` gives it.
    """
    near = np.isfinite(level)
    if not near.any():
        return near
    margin = np.where(core > 0, WAVES_M, SHALLOW_M)
    lower = np.isnan(dsm) | (dsm <= level + margin) | (ground <= level + margin)
    return np.asarray(near & (lower | (core == 2)))


def shores(dsm: Heights, ground: Heights, wet: Mask, cell_m: float) -> Mask:
    """Return the cells between water and *ground* that were cut out with its bank."""
    high = cv2.dilate(np.where(np.isfinite(ground), ground, -FAR_M), disc(EDGE_M / cell_m))
    near = grown(wet, EDGE_M / cell_m) & np.isnan(ground)
    return np.asarray(near & (dsm <= high + SHALLOW_M))
