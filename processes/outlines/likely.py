"""Objects judged whole: what a house has and a crown, a cliff or a mound has not.

Used where no colour tells plants from roofs. Weak signs add up, each bounded, so that none decides
alone: it stands above what is seen around it on all sides, on walls and not on slopes, it is wide
and large, its surface is even, and its edge is one of the image too, not dark as crowns are. What
lies beyond the rim of the surface says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.outlines.near import from_edge, nearest
from processes.outlines.regions import labelled

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

LEAST = 2.2
"""Sum of all signs from which an object is a house …"""
LEAST_WALLED = -4.0
"""… and sum of those of its walls below which it is a piece of terrain, whatever its colour."""
LOW_M, HIGH_M = -1e5, 1e5
REACH_M = 6.0
"""How far what lies outside is from the object it is compared with, at most."""


@dataclass(frozen=True)
class Walls:
    """What is around each object, numbered from 1; the first row is none."""

    down: Floats
    """Share of what is seen 2.5 to 3.5 m outside that is 1.5 m lower."""
    steep: Floats
    """How much of the drop to there is done between two cells: 1 for a wall, less for a slope.

    More for crowns, whose surface has larger steps than the one down.
    """


@dataclass(frozen=True)
class Signs:
    """What each object itself is like, numbered from 1; the first row is none."""

    width_m: Floats
    area_m2: Floats
    rough_m: Floats
    """Median deviation from a plane."""
    contrast: Floats | None
    """Mean gradient of log brightness along the edge, a cell; None without an image."""
    grain: Floats | None
    """Median standard deviation of log brightness in the calmest window around each cell."""
    brightness: Floats | None
    """Median log brightness above that of the ground."""


def likely_houses(
    mask: Mask,
    surface: Floats,
    above_ground: Floats,
    rough: Floats,
    grain: Floats | None,
    bands: Mapping[str, Floats],
    cell_m: float,
) -> Mask:
    """Return the parts of a mask that are more likely houses than not.

    *rough* is the deviation of the surface from planes, metres, over 3 to 4 m; *grain* that of the
    logarithm of brightness in the calmest window around, where there is an image.
    """
    names, count = labelled(mask, across_corners=True)
    if not count:
        return mask
    around = walls(names, count, surface, cell_m)
    found = signs(names, count, above_ground, rough, grain, bands, cell_m)
    return _kept(names, walls_evidence(around) + evidence(found) > LEAST)


def walled(mask: Mask, surface: Floats, cell_m: float) -> Mask:
    """Return the parts of a mask that are not mere terrain: scarps, mounds, hills at the rim."""
    names, count = labelled(mask, across_corners=True)
    if not count:
        return mask
    return _kept(names, walls_evidence(walls(names, count, surface, cell_m)) > LEAST_WALLED)


def _kept(names: NDArray[np.int32], keep: Mask) -> Mask:
    keep[0] = False
    return np.asarray(keep[names])


def walls_evidence(found: Walls) -> Floats:
    """Return the sum of the signs of walls, above nought for a house."""
    total = np.clip((found.down - 0.7) / 0.1, -6.0, 1.5)
    total += np.clip((found.steep - 0.88) / 0.04, -5.0, 1.0)
    total -= np.clip((found.steep - 1.2) / 0.1, 0.0, 3.0)
    return np.asarray(total)


def evidence(found: Signs) -> Floats:
    """Return the sum of the other signs, above nought for a house."""
    total = np.clip((found.width_m - 5.0) / 1.0, -2.0, 1.5)
    total += np.clip(np.log(0.16 / np.maximum(found.rough_m, 1e-3)) / 0.4, -2.0, 2.0)
    total += np.clip(np.log2(np.maximum(found.area_m2, 1.0) / 35.0), -1.0, 1.5)
    if found.contrast is not None and found.grain is not None and found.brightness is not None:
        total += np.clip(np.log(0.048 / np.maximum(found.grain, 1e-3)) / 0.25, -3.0, 1.0)
        total += np.clip(np.log(np.maximum(found.contrast, 1e-3) / 0.17) / 0.4, -1.5, 1.5)
        total += np.clip((found.brightness + 0.45) / 0.12, -3.0, 0.5)
    return np.asarray(total)


def signs(
    names: NDArray[np.int32],
    count: int,
    above_ground: Floats,
    rough: Floats,
    grain: Floats | None,
    bands: Mapping[str, Floats],
    cell_m: float,
) -> Signs:
    """Return the signs of objects 0 to *count*."""
    mask = names > 0
    number = np.arange(count + 1)
    inner = from_edge(np.pad(mask, 1))[1:-1, 1:-1]
    deepest = np.zeros(count + 1)
    np.maximum.at(deepest, names[mask], inner[mask])
    area = np.bincount(names.ravel(), minlength=count + 1) * cell_m**2
    contrast = brightness = None
    if bands:
        contrast, brightness = _pictured(names, number, above_ground, bands)
    return Signs(
        width_m=2 * cell_m * deepest,
        area_m2=area,
        rough_m=_medians(rough, names, number),
        contrast=contrast,
        grain=None if grain is None else _medians(grain, names, number),
        brightness=brightness,
    )


def walls(names: NDArray[np.int32], count: int, surface: Floats, cell_m: float) -> Walls:
    """Return what is around objects 0 to *count*."""
    mask = names > 0
    core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    core &= np.isfinite(surface)
    number = np.arange(count + 1)
    if not core.any():
        nothing = np.zeros(count + 1)
        return Walls(nothing, nothing)
    away_m = from_edge(~mask) * cell_m

    reach_px = max(REACH_M / cell_m, 5.0)
    # wider where cells are
    band = (away_m >= 2.5) & (away_m <= max(3.5, 1.5 * cell_m)) & np.isfinite(surface)
    inside = nearest(core, band, reach_px)
    owner = np.where(inside < 0, 0, names.ravel()[inside])
    drop = surface.ravel()[inside] - surface[band]
    asked = np.bincount(owner, minlength=count + 1)
    lower = np.bincount(owner, drop > 1.5, minlength=count + 1)
    # without any neighbour in reach nothing speaks against it
    down = np.where(asked > 0, lower / np.maximum(asked, 1), 0.7)

    beside = (away_m > 0) & (away_m <= max(0.8, cell_m))
    inside = nearest(core, beside, reach_px)
    owner_beside = np.where(inside < 0, 0, names.ravel()[inside])
    steps = _medians(_steps(surface, cell_m)[beside], owner_beside, number)
    return Walls(down, steps / np.maximum(_medians(drop, owner, number), 1.0))


def _steps(surface: Floats, cell_m: float) -> Floats:
    """Return the largest difference between cells and their neighbours within a metre."""
    known = np.isfinite(surface)
    near = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(np.where(known, surface, LOW_M).astype(np.float32), near)
    lowest = cv2.erode(np.where(known, surface, HIGH_M).astype(np.float32), near)
    reach = max(1, round(1.0 / cell_m))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(np.where(known, highest - lowest, 0.0).astype(np.float32), disc))


def _pictured(
    names: NDArray[np.int32],
    number: NDArray[np.int64],
    above_ground: Floats,
    bands: Mapping[str, Floats],
) -> tuple[Floats, Floats]:
    level = np.mean(np.stack(list(bands.values())), axis=0)
    seen = np.isfinite(level) & (level > 0)
    logs = np.log(np.where(seen, level, 1.0)).astype(np.float32)
    ground = seen & (above_ground < 1.0)
    usual = float(np.median(logs[ground if ground.any() else seen])) if seen.any() else 0.0
    logs = np.where(seen, logs, np.float32(usual))
    steepness = np.hypot(cv2.Sobel(logs, cv2.CV_32F, 1, 0), cv2.Sobel(logs, cv2.CV_32F, 0, 1)) / 8
    mask = names > 0
    edge = mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    edge_names = np.where(edge, names, 0)
    total = np.bincount(edge_names.ravel(), steepness.ravel(), len(number))
    contrast = total / np.maximum(np.bincount(edge_names.ravel(), minlength=len(number)), 1)
    return contrast, _medians(logs - usual, np.where(seen, names, 0), number)


def _medians(values: Floats, names: NDArray[np.int32], number: NDArray[np.int64]) -> Floats:
    """Return the median of the known values of each object; nought of none."""
    asked = np.isfinite(values) & (names > 0)
    values, names = values[asked], names[asked]
    ordered = values[np.lexsort((values, names))]
    count = np.bincount(names, minlength=len(number))
    first = np.cumsum(count) - count
    found = np.zeros(len(number))
    some = count > 0
    low, high = (ordered[(first + half)[some]] for half in ((count - 1) // 2, count // 2))
    found[some] = (low.astype(float) + high) / 2
    return found
