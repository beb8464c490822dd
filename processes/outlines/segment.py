"""Which cells are buildings: raised, not green, and smooth where colour cannot tell.

Rules, no weights. With near infrared, vegetation is told by NDVI; its threshold is read off the
raised cells of the scene (Otsu, 1979), since uncalibrated counts shift it. With red, green and
blue alone the excess-green index takes its place, which misses dark and autumn trees; with one
panchromatic band or none, only texture is left: how far the surface is from a plane, and how much
the image varies even in the calmest window around. Dense smooth crowns then pass for roofs, and
rough old roofs are lost. Each step down costs precision, none stops a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.outlines.likely import REACH_M, likely_houses, walled
from processes.outlines.near import filled, from_edge, nearest, nearest_of_all
from processes.outlines.regions import labelled
from processes.outlines.sharpen import sharpened

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

UNEVEN_M, TEXTURE = 0.3, 0.08
"""Least values of `Limits.unevenness_m` and `Limits.texture`; noise raises them."""
WIDE_M, VOTE_M = 3.5, 1.5
STRIP_PX = 10.0
"""Width to which what no image shows goes with what lies beside it."""


@dataclass(frozen=True)
class Rules:
    """What counts as a building."""

    min_height_m: float = 2.2
    min_area_m2: float = 15.0
    min_courtyard_m2: float = 10.0
    min_width_m: float = 2.0
    roughness_m: float = 0.25
    """Deviation from a local plane that a roof may have on a perfect surface."""


@dataclass(frozen=True)
class Sample:
    """A piece of the scene: heights in metres, bands by common name; NaN is unknown."""

    surface: Floats
    above_ground: Floats
    bands: Mapping[str, Floats]
    filled: Mask | None = None
    """Cells whose heights were filled from around, so that colour alone can tell, if known."""


@dataclass(frozen=True)
class Limits:
    """What the scene itself says about its noise and its plants: one value for all blocks."""

    roughness_m: float
    greenness: float
    leeway: float
    """How much greener a smooth surface may be and still pass for a roof."""
    unevenness_m: float = 0.3
    """Deviation from a plane, over a wider window, of what is as likely roof as crown."""
    texture: float = 0.08
    """The same for the contrast of the image: standard deviation of log brightness."""


def limits(samples: Sequence[Sample], cell_m: float, rules: Rules | None = None) -> Limits:
    """Return the thresholds that pieces of a scene suggest."""
    rules = rules or Rules()
    noise, grain, index, kind = [], [], [], ""
    for sample in samples:
        above = sample.above_ground
        rough = roughness(sample.surface, cell_m)[above < 0.5 * rules.min_height_m]
        noise.append(rough[np.isfinite(rough)])
        kind, green = greenness(sample.bands)
        if not kind and sample.bands:
            grains = texture(sample.bands)[above < 0.5 * rules.min_height_m]
            grain.append(grains[np.isfinite(grains)])
        if green is not None:
            index.append(green[np.isfinite(above) & (above > rules.min_height_m)])
    ground = np.concatenate(noise) if noise else np.zeros(0)
    noise_m = float(np.median(ground)) if ground.size else 0.0
    values = np.concatenate(index) if index else np.zeros(0)
    rough_m = max(rules.roughness_m, 1.6 * noise_m)
    if not kind:
        grains = np.concatenate(grain) if grain else np.zeros(0)
        fine = float(np.quantile(grains, 0.2)) if grains.size else 0.0
        uneven_m = max(UNEVEN_M, 2.0 * noise_m)
        return Limits(rough_m, 0.0, 0.0, uneven_m, max(TEXTURE, 2.0 * fine))
    if kind == "ndvi":
        return Limits(rough_m, _split(values, 0.1, 0.4, 0.25), 0.1)
    return Limits(rough_m, _split(values, 0.03, 0.1, 0.05), 0.02)


def building_mask(
    sample: Sample, cell_m: float, found: Limits | None = None, rules: Rules | None = None
) -> Mask:
    """Return the cells of buildings."""
    rules = rules or Rules()
    found = found or limits([sample], cell_m, rules)
    raised = sample.above_ground > rules.min_height_m
    green = greenness(sample.bands)[1]
    if green is None:
        mask = raised & ~_untidy(sample, raised, cell_m, found)
    else:
        rough = roughness(sample.surface, cell_m)
        mask = raised & ~_vegetation(green, raised, rough, found)
        if sample.filled is not None:
            leafy = green > found.greenness
            sample = replace(sample, filled=sample.filled & ~leafy)
    return tidied(mask, sample, cell_m, rules)


def tidied(
    mask: Mask,
    sample: Sample,
    cell_m: float,
    rules: Rules | None = None,
    *,
    peeled: bool = True,
) -> Mask:
    """Return a mask of buildings without specks and pinholes, with its edges where walls stand.

    *peeled* takes away the foot of walls that the surface blurs: thresholds on height need it, a
    network has learnt it (1 % of IoU lost on village if it is done again).
    """
    rules = rules or Rules()
    mask = _opened(mask, cell_m, rules.min_width_m)
    mask = without_small_holes(mask, cell_m, rules.min_courtyard_m2)
    if peeled:
        mask = _peeled(mask, sample.above_ground, cell_m)
    mask = sharpened(mask, sample.bands, cell_m, filled=sample.filled)
    mask = _opened(mask, cell_m, rules.min_width_m / 2)
    mask = without_small_holes(mask, cell_m, rules.min_courtyard_m2)
    return without_small_parts(mask, cell_m, rules.min_area_m2)


def buildings_only(mask: Mask, sample: Sample, cell_m: float) -> Mask:
    """Return the parts of a mask that look like buildings as a whole, with what is around them."""
    mask = standing(mask, sample.surface, cell_m)
    if not mask.any():
        return mask
    if greenness(sample.bands)[0]:
        return walled(mask, sample.surface, cell_m)
    rough = roughness(sample.surface, cell_m, WIDE_M)
    grain = texture(sample.bands) if sample.bands else None
    return likely_houses(
        mask, sample.surface, sample.above_ground, rough, grain, sample.bands, cell_m
    )


def standing(mask: Mask, surface: Floats, cell_m: float, least_share: float = 0.5) -> Mask:
    """Return the parts of a mask that stand above what is around them.

    Terraces and embankments that a terrain model took for objects step down on one side only.
    Compared are cells 2.5 to 3.5 m outside, beyond the blur of walls, with the nearest cells
    inside; a part goes unless more than *least_share* of them lie 1.5 m lower.
    """
    names, count = labelled(mask, across_corners=True)
    if not count:
        return mask
    core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    core &= np.isfinite(surface)
    if not core.any():
        return mask
    away_m = from_edge(~mask) * cell_m
    band = (away_m >= 2.5) & (away_m <= 3.5) & np.isfinite(surface)
    inside = nearest(core, band, REACH_M / cell_m)
    owner = np.where(inside < 0, 0, names.ravel()[inside])
    lower = surface.ravel()[inside] - surface[band] > 1.5
    asked = np.bincount(owner, minlength=count + 1)
    down = np.bincount(owner, lower, minlength=count + 1)
    keep = (down > least_share * asked) | (asked == 0)
    keep[0] = False
    return np.asarray(keep[names])


def off_decks(mask: Mask, deck: Mask, cell_m: float, min_width_m: float = 2.0) -> Mask:
    """Return the mask without bridges: parts that are mostly deck go, others lose their deck.

    What is then left of a part is opened, since a deck's rims are no house.
    """
    if not (mask & deck).any():
        return mask
    names, count = labelled(mask, across_corners=True)
    cells = np.bincount(names.ravel(), minlength=count + 1)
    share = np.bincount(names.ravel(), deck.ravel(), minlength=count + 1) / np.maximum(cells, 1)
    rest = mask & ~deck & (share < 0.5)[names]
    return np.asarray(np.where((share > 0)[names], _opened(rest, cell_m, min_width_m), rest))


def roughness(surface: Floats, cell_m: float, width_m: float = 2.5) -> Floats:
    """Return the standard deviation from the best plane in a square window, in metres.

    Of all windows that hold a cell the smoothest counts, so that roofs stay smooth up to their
    edges and ridges (Nagao & Matsuyama, 1979).
    """
    size = max(3, 2 * round(width_m / cell_m / 2) + 1)
    known = np.isfinite(surface)
    if not known.any():
        return np.full(surface.shape, np.nan)
    whole = np.full(surface.shape, np.nan)
    seen = _around(known)
    known, surface = known[seen], surface[seen]
    # float64 and a level near nought: squares of ellipsoidal heights would lose centimetres
    z = _with_nearest(surface, known, size).astype(np.float64) - float(np.median(surface[known]))
    offset = np.arange(size) - float(size // 2)
    flat = np.full(size, 1.0 / size)
    spread = float((offset**2).mean())
    slope = offset / size / spread
    mean = _separable(z, flat, flat)
    along_row, along_col = _separable(z, slope, flat), _separable(z, flat, slope)
    rest = _separable(z * z, flat, flat) - mean**2 - spread * (along_row**2 + along_col**2)
    rough = np.where(known, np.sqrt(np.maximum(rest, 0.0)), np.inf)
    whole[seen] = np.where(known, _least(rough, size), np.nan)
    return whole


def texture(bands: Mapping[str, Floats], size: int = 5) -> Floats:
    """Return the contrast of the image in the calmest window that holds a cell, NaN if unseen.

    Standard deviation of log brightness in *size* by *size* cells: crowns are speckled everywhere,
    roofs only at their edges.
    """
    level = np.mean(np.stack(list(bands.values())), axis=0)
    known = np.isfinite(level) & (level > 0)
    if not known.any():
        return np.full(level.shape, np.nan)
    logs = np.log(np.where(known, level, 1.0))
    logs = _with_nearest(logs - float(np.median(logs[known])), known, size)
    flat = np.full(size, 1.0 / size)
    mean = _separable(logs, flat, flat)
    spread = np.sqrt(np.maximum(_separable(logs * logs, flat, flat) - mean**2, 0.0))
    return np.where(known, _least(spread, size), np.nan)


def greenness(bands: Mapping[str, Floats]) -> tuple[str, Floats | None]:
    """Return the best vegetation index that these bands allow, and its name."""
    if {"red", "nir"} <= bands.keys():
        return "ndvi", _ratio(bands["nir"] - bands["red"], bands["nir"] + bands["red"])
    if {"red", "green", "blue"} <= bands.keys():
        total = bands["red"] + bands["green"] + bands["blue"]
        return "excess green", _ratio(2 * bands["green"] - bands["red"] - bands["blue"], total)
    return "", None


def without_small_parts(mask: Mask, cell_m: float, min_area_m2: float) -> Mask:
    """Return the mask without connected parts below an area."""
    labels, count = labelled(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1) * cell_m**2
    keep = areas >= min_area_m2
    keep[0] = False
    return np.asarray(keep[labels])


def without_small_holes(mask: Mask, cell_m: float, min_courtyard_m2: float) -> Mask:
    """Return the mask with holes below an area filled."""
    labels, count = labelled(~mask, across_corners=True)
    areas = np.bincount(labels.ravel(), minlength=count + 1) * cell_m**2
    fill = areas < min_courtyard_m2
    # what touches the edge goes on outside
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        fill[edge] = False
    fill[0] = False
    return np.asarray(mask | fill[labels])


def _untidy(sample: Sample, raised: Mask, cell_m: float, found: Limits) -> Mask:
    """Return the cells more like crowns than roofs by their texture and that of raised cells near.

    Log ratios to the even odds of surface and image are added up.
    """
    rough = roughness(sample.surface, cell_m, WIDE_M)
    score = np.nan_to_num(np.clip(np.log(np.maximum(rough, 1e-3) / found.unevenness_m), -2, 2))
    if sample.bands:
        grain = np.log(np.maximum(texture(sample.bands), 1e-3) / found.texture)
        score += np.nan_to_num(np.clip(grain, -1.5, 1.5))
    reach_px = VOTE_M / cell_m
    votes = _smooth(np.where(raised, score, 0.0), reach_px)
    voters = _smooth(raised, reach_px)
    return np.asarray((votes > 0) & (voters > 0))


def _vegetation(green: Floats, raised: Mask, rough: Floats, found: Limits) -> Mask:
    """Return which of the raised cells are plants; others may be called either."""
    crumpled = rough > found.roughness_m
    # occluded strips along walls go with what lies beside them
    index = filled(green, np.isfinite(green), raised, STRIP_PX)
    # a smooth cell may be a little green (moss, copper), a rough one may not
    leafy = index > np.where(crumpled, found.greenness, found.greenness + found.leeway)
    return np.asarray(leafy | (np.isnan(index) & crumpled))


def _smooth(values: NDArray[Any], spread_px: float) -> NDArray[np.float32]:
    """Return the means of values around each cell (Gaussian, four standard deviations far)."""
    size = 2 * int(4 * spread_px + 0.5) + 1
    wide = np.asarray(values, np.float32)
    found = cv2.GaussianBlur(wide, (size, size), spread_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(found, np.float32)


def _opened(mask: Mask, cell_m: float, width_m: float) -> Mask:
    radius = max(1, int(width_m / cell_m / 2))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc)
    return np.asarray(opened > 0)


def _peeled(mask: Mask, above_ground: Floats, cell_m: float, blur_m: float = 1.5) -> Mask:
    """Return the mask without the foot of blurred walls: a wall stands where half its height is."""
    radius = max(1, round(blur_m / cell_m))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    height = np.where(mask & np.isfinite(above_ground), above_ground, 0.0).astype(np.float32)
    roof = cv2.dilate(cv2.medianBlur(height, 3), disc)
    inside = cv2.erode(mask.astype(np.uint8), disc) > 0
    return np.asarray(mask & (inside | (height > 0.5 * roof)))


def _split(values: Floats, low: float, high: float, default: float) -> float:
    """Return Otsu's threshold within limits; the default where the values are not two groups."""
    values = values[np.isfinite(values)]
    if values.size < 100:
        return default
    counts, edges = np.histogram(values, bins=128)
    middle = (edges[1:] + edges[:-1]) / 2
    weight = np.cumsum(counts) / values.size
    mean = np.cumsum(counts * middle) / values.size
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * weight - mean) ** 2 / (weight * (1 - weight))
    if np.isnan(between).all():
        return default  # one value, or two next to each other
    best = int(np.nanargmax(between))
    if between[best] < 0.6 * values.var() or not 0.03 < weight[best] < 0.97:
        return default
    return float(np.clip(edges[best + 1], low, high))


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _with_nearest(values: Floats, known: Mask, size: int) -> Floats:
    """Return values where unknown ones are those of the nearest known cell, nought if far.

    Far are those that windows of *size* about known cells do not hold.
    """
    if known.all():
        return values
    known = np.ascontiguousarray(known)
    near = cv2.dilate(known.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    out = np.where(known, values, 0.0)
    out[near & ~known] = values.ravel()[nearest_of_all(known, near & ~known)]
    return out


def _around(known: Mask) -> tuple[slice, slice]:
    """Return the window that holds every known cell."""
    rows, cols = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def _separable(values: Floats, down: Floats, across: Floats) -> Floats:
    wide = np.asarray(values, np.float64)
    found = cv2.sepFilter2D(wide, cv2.CV_64F, across, down, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(found)


def _least(values: Floats, size: int) -> Floats:
    """Return the least value in the square window around each cell."""
    return np.asarray(cv2.erode(np.asarray(values, np.float64), np.ones((size, size), np.uint8)))
