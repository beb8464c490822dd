"""Outlines moved to where the images themselves show the edges of roofs.

A stereo surface is blurred over its matching window, and a true ortho has the surface's own edges.
In the images a roof ends within a pixel, and along a wall that is seen at dozens of pixels. Each
wall is laid into every image at the height of the roof behind it (of two attached houses, the
higher); brightness is averaged along it, and each offset across it is asked how well a step there,
as wide as a pixel's blur, explains the profile. A height that is wrong moves the edge by what the
line of sight leans, one way in one image and the other way in the other: offset and height are
sought together, each with what is known of it beforehand, and the mean over all that is likely is
the offset. Where nothing is to be seen that mean is nought. A wall that two houses share moves for
both; one that is shared along a part of its line stays.

Distance of true edges (4 m and more) from ours, mean, without, with free walls moved, and with
shared ones: suburb3 .297, .269, .228 m; suburb2 .268, .239, .214; hilly3 .264, .222, .197; dense3
.270, .254, .181; quarter .210, .197, .150; village .186, .149, .130. `SPREAD_M` from .3 to .5,
`HEIGHT_M` from .15 to .6, `FREE` 10, `FLOOR` .05, profiles of 1.2 m or shorter walls change their
mean by .002 or less: nothing is fitted. With logarithms of brightness, edges lie .07 to .1 m too
far on the side of what is dark. Of an image that sees the wall itself beneath the edge less was
believed (.6, .3): no better, .001 to .003 worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erf
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.raster import Raster
from processes.outlines.sides import TINY, Sides, redrawn, sides_of

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.float32]
Indices = NDArray[np.int64]

SPREAD_M = 0.4
"""By how much walls drawn from a surface lie off, free or shared: standard deviation …"""
HEIGHT_M = 0.3
"""… and the surface's heights along the eaves."""
ACROSS_M = np.arange(-10, 11) * 0.1
OFFSETS_M = np.arange(-20, 21) * 0.05
HEIGHTS_M = np.arange(-9, 10) * 0.1
BLUR_PX = 0.5
FREE = 6.0
"""Numbers that a profile's samples across a wall are worth."""
FLOOR = 0.02
"""Share of a profile's variance that no step explains: what lies beside a wall is not even."""
LEAST_M, ENDS_M, EVERY_M = 2.0, 0.7, 0.5
"""The shortest wall that is asked, what is left out at its ends, and between two samples."""
INSIDE_M = 1.2
"""How far from the edge of a roof its heights are known."""
ALIKE_M = 4.0
"""Heights along a wall that lie further from their middle are not the roof's."""
STEEP = 0.9
"""Steeper is no roof: the height there is taken as it is."""
SIGHT_M, HIGHEST_M = 1.0, 60
"""What stands so far above an image's line of sight hides the wall, up to so high above it."""
FAR_PX = 1000.0


@dataclass(frozen=True)
class Look:
    """One image: where it shows a point of the ground, and its pixels."""

    project: Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]
    """x, y, height → row, col."""
    read: Callable[[int, int, int, int], Pixels]
    """(row0, col0, height, width) → (bands, height, width), NaN where there is nothing."""
    shape: tuple[int, int]
    """Rows and columns."""


def on_images(
    polygons: Sequence[Any], surface: Raster, looks: Sequence[Look]
) -> tuple[list[Any], Floats]:
    """Return polygons with their free walls where the images show them, and each wall's way, m.

    Shared corners stay shared, and walls keep their directions. A polygon that would not be valid
    stays as it is, and so do the corners that it shares.
    """
    if not len(polygons):
        return [], np.empty(0)
    sides = sides_of(polygons)
    offsets = measured(sides, surface, looks)
    return redrawn(polygons, sides, offsets), offsets[np.abs(offsets) > TINY]


def measured(sides: Sides, surface: Raster, looks: Sequence[Look]) -> Floats:
    """Return how far out each wall (by number) is to be moved, metres; 0 where nothing tells.

    Party walls as seen from the side that faces 1.
    """
    offsets = np.zeros(int(sides.wall.max()) + 1)
    xy, normal, face = _samples(sides)
    heights = _eaves(surface, xy, normal, face)
    kept = np.isfinite(heights) & _higher(heights, face)
    if not looks or not kept.any():
        return offsets
    xy, normal, face, heights = xy[kept], normal[kept], face[kept], heights[kept]
    asked, first = np.unique(face, return_index=True)
    spans = np.stack([first, np.append(first[1:], len(face))], axis=1)
    found = [_likely(look, surface, xy, normal, heights, spans) for look in looks]
    likely, leans = (np.array(each) for each in zip(*found, strict=True))
    out = _mean(likely, leans, OFFSETS_M, HEIGHTS_M, SPREAD_M, HEIGHT_M)
    offsets[asked // 2] = np.where(asked % 2, -out, out)
    return offsets


def _samples(sides: Sides) -> tuple[Floats, Floats, Indices]:
    """Return points along the walls that are asked, the normal there, and the face, in order.

    A face is twice the wall's number, one more on the side that faces -1.
    """
    length, face = sides.length, 2 * sides.wall + (sides.facing < 0)
    asked = np.flatnonzero((sides.wall >= 0) & (length >= LEAST_M))
    asked = asked[np.argsort(face[asked], kind="stable")]
    length = length[asked]
    ends = np.minimum(ENDS_M, length / 4)
    count = np.maximum(3, ((length - 2 * ends) / EVERY_M).astype(int))
    piece = np.repeat(np.arange(len(asked)), count)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    place = ends[piece] + (length - 2 * ends)[piece] * (number + 0.5) / count[piece]
    share = (place / length[piece])[:, None]
    start, stop = sides.start[asked][piece], sides.stop[asked][piece]
    return start + share * (stop - start), sides.normal[asked][piece], face[asked][piece]


def _higher(heights: Floats, face: Indices) -> NDArray[np.bool_]:
    """Return which points lie on the higher side of their wall: its roof ends there."""
    known = np.isfinite(heights)
    size = int(face.max(initial=0)) + 2
    count = np.bincount(face[known], minlength=size)
    total = np.bincount(face[known], heights[known], minlength=size)
    mean = np.where(count > 0, total / np.maximum(count, 1), -np.inf)
    here, there = mean[face], mean[face ^ 1]
    return np.asarray((here > there) | ((here == there) & (face % 2 == 0)))


def _eaves(surface: Raster, xy: Floats, normal: Floats, face: Indices) -> Floats:
    """Return the height of the roof's edge at each point, NaN where it is not known.

    Carried on from further inside, along the roof's slope across the wall.
    """
    values = np.ascontiguousarray(surface.values, np.float32)[None]
    inside = []
    for away in (INSIDE_M, INSIDE_M + 1.0):
        row, col = surface.grid.rowcol(*(xy - away * normal).T)
        inside.append(_between(values, row, col))
    first = np.flatnonzero(np.diff(face, prepend=-1))
    return np.asarray(_carried_on(inside[0], inside[1], np.append(first, len(face))))


@njit(cache=True, nogil=True)
def _carried_on(near: Floats, far: Floats, bounds: Indices) -> Floats:
    found = np.full(len(near), np.nan)
    for index in range(len(bounds) - 1):
        own = slice(bounds[index], bounds[index + 1])
        middle = np.nanmedian(near[own])
        slope = float(np.nanmedian(near[own] - far[own]))
        if not abs(slope) < STEEP:
            slope = 0.0
        for at in range(bounds[index], bounds[index + 1]):
            alike = abs(near[at] - middle) < ALIKE_M
            found[at] = (near[at] if alike else middle) + INSIDE_M * slope
    return found


@njit(cache=True, nogil=True)
def _between(image: Pixels, row: Floats, col: Floats) -> Floats:
    """Return the first band between pixel centres; NaN outside and beside what is missing."""
    found = np.full(len(row), np.nan)
    for at in range(len(row)):
        top, left = int(np.floor(row[at])), int(np.floor(col[at]))
        if top < 0 or left < 0 or top + 1 >= image.shape[1] or left + 1 >= image.shape[2]:
            continue
        found[at] = _tap(image[0], top, left, row[at] - top, col[at] - left)
    return found


@njit(cache=True, nogil=True)
def _tap(band: Pixels, top: int, left: int, down: float, across: float) -> float:
    upper = band[top, left] * (1 - across) + band[top, left + 1] * across
    lower = band[top + 1, left] * (1 - across) + band[top + 1, left + 1] * across
    return float(upper * (1 - down) + lower * down)


def _likely(
    look: Look,
    surface: Raster,
    xy: Floats,
    normal: Floats,
    heights: Floats,
    spans: Indices,
) -> tuple[Floats, Floats]:
    """Return for each wall how likely its edge is at each offset (a logarithm), and its lean.

    The lean is how far outwards what an image shows moves for each metre that it is higher.
    """
    middle = (spans[:, 0] + spans[:, 1]) // 2
    x, y = xy[middle].T
    there = np.stack(look.project(x, y, heights[middle]), axis=1)
    step_m = 10.0
    by_x = np.stack(look.project(x + step_m, y, heights[middle]), axis=1) - there
    by_y = np.stack(look.project(x, y + step_m, heights[middle]), axis=1) - there
    by_h = np.stack(look.project(x, y, heights[middle] + step_m), axis=1) - there
    moves = np.stack([by_x, by_y, by_h], axis=2) / step_m
    # far outside an image its sensor model may say anything
    unseen = ~np.isfinite(moves).all(axis=(1, 2))
    there[unseen], moves[unseen] = -FAR_PX, np.eye(2, 3)
    ground = np.linalg.solve(moves[:, :, :2], -moves[:, :, 2:])[:, :, 0]
    index = np.repeat(np.arange(len(spans)), spans[:, 1] - spans[:, 0])
    away = np.concatenate([xy - xy[middle][index], (heights - heights[middle][index])[:, None]], 1)
    at = there[index] + (moves[index] @ away[:, :, None])[:, :, 0]
    across = (moves[index, :, :2] @ normal[:, :, None])[:, :, 0]
    reach = np.abs(across).max() * ACROSS_M[-1] + 2
    size = np.array(look.shape)
    at = np.clip(at, -FAR_PX, size + FAR_PX)
    low = np.clip(np.floor(at.min(axis=0) - reach).astype(int), 0, size - 1)
    high = np.clip(np.ceil(at.max(axis=0) + reach).astype(int) + 1, low + 1, size)
    pixels = look.read(int(low[0]), int(low[1]), *(high - low).tolist())
    row, col = surface.grid.rowcol(*(xy - INSIDE_M / 2 * normal).T)
    clear = _in_sight(
        np.ascontiguousarray(surface.values, np.float32),
        np.stack([row, col], axis=1),
        heights,
        ground[index] * np.array([1.0, -1.0])[None] / surface.grid.cell_m,
    )
    mean, scatter, seen = _profiles(
        np.ascontiguousarray(pixels, np.float32), at - low, across, clear, spans, ACROSS_M
    )
    pixel_m = 1.0 / float(np.median(np.hypot(*across.T)))
    likely = _steps(mean, scatter, BLUR_PX * pixel_m)
    likely[2 * seen < spans[:, 1] - spans[:, 0]] = 0.0
    return likely, -(normal[spans[:, 0]] * ground).sum(axis=1)


@njit(cache=True, nogil=True)
def _in_sight(surface: Pixels, place: Floats, heights: Floats, ways: Floats) -> NDArray[np.bool_]:
    """Return from which points (row, col) the line of sight rises freely; *ways* are col, row.

    They are cells for each metre up.
    """
    rows, cols = surface.shape
    clear = np.ones(len(place), np.bool_)
    for at in range(len(place)):
        for up in range(1, HIGHEST_M):
            row = int(place[at, 0] + ways[at, 1] * up + 0.5)
            col = int(place[at, 1] + ways[at, 0] * up + 0.5)
            if row < 0 or col < 0 or row >= rows or col >= cols:
                break
            if surface[row, col] > heights[at] + up + SIGHT_M:
                clear[at] = False
                break
    return clear


@njit(cache=True, nogil=True)
def _profiles(
    image: Pixels,
    at: Floats,
    across: Floats,
    clear: NDArray[np.bool_],
    spans: Indices,
    away: Floats,
) -> tuple[Floats, Floats, Indices]:
    """Return brightness across each wall (wall, band, place), the variance of these means, summed
    over places (wall, band), and how many points were seen."""
    bands, rows, cols = image.shape
    mean = np.zeros((len(spans), bands, len(away)))
    square = np.zeros((len(spans), bands))
    seen = np.zeros(len(spans), np.int64)
    own = np.empty((bands, len(away)))
    for wall in range(len(spans)):
        for point in range(spans[wall, 0], spans[wall, 1]):
            whole = clear[point]
            for place in range(len(away)):
                row = at[point, 0] + across[point, 0] * away[place]
                col = at[point, 1] + across[point, 1] * away[place]
                top, left = int(np.floor(row)), int(np.floor(col))
                if top < 0 or left < 0 or top + 1 >= rows or left + 1 >= cols:
                    whole = False
                if not whole:
                    break
                for band in range(bands):
                    own[band, place] = _tap(image[band], top, left, row - top, col - left)
                    whole &= np.isfinite(own[band, place])
            if whole:
                seen[wall] += 1
                for band in range(bands):
                    for place in range(len(away)):
                        mean[wall, band, place] += own[band, place]
                        square[wall, band] += own[band, place] ** 2
        number = max(seen[wall], 1)
        mean[wall] /= number
        for band in range(bands):
            spread = square[wall, band] / number - (mean[wall, band] ** 2).sum()
            square[wall, band] = max(spread, 0.0) / max(number - 1, 1)
    return mean, square, seen


def _steps(mean: Floats, scatter: Floats, blur_m: float) -> Floats:
    """Return for each wall how likely a step at each offset is, a logarithm.

    The profile's variance around the step is unknown: what counts is the share that it leaves.
    """
    shape = np.array(
        [[0.5 * (1 + erf((a - o) / blur_m / 2**0.5)) for a in ACROSS_M] for o in OFFSETS_M]
    )
    shape -= shape.mean(axis=1, keepdims=True)
    shape /= np.sqrt((shape**2).sum(axis=1, keepdims=True))
    even = mean - mean.mean(axis=2, keepdims=True)
    total = (even**2).sum(axis=2) + scatter
    total += TINY * (mean**2).sum(axis=2) + np.finfo(float).tiny
    left = 1.0 - (even @ shape.T) ** 2 / total[:, :, None]
    return np.asarray(-0.5 * FREE * np.log(left + FLOOR).mean(axis=1))


@njit(cache=True, nogil=True)
def _mean(
    likely: Floats, leans: Floats, offsets: Floats, rises: Floats, spread_m: float, height_m: float
) -> Floats:
    """Return the mean offset of each wall over all offsets and errors of height."""
    looks, walls, _ = likely.shape
    step = offsets[1] - offsets[0]
    found = np.zeros(walls)
    log = np.empty((len(offsets), len(rises)))
    for wall in range(walls):
        for i in range(len(offsets)):
            for j in range(len(rises)):
                log[i, j] = -0.5 * (offsets[i] / spread_m) ** 2 - 0.5 * (rises[j] / height_m) ** 2
                for look in range(looks):
                    place = (offsets[i] + leans[look, wall] * rises[j] - offsets[0]) / step
                    place = min(max(place, 0.0), len(offsets) - 1.001)
                    low = int(place)
                    one, other = likely[look, wall, low], likely[look, wall, low + 1]
                    log[i, j] += one + (other - one) * (place - low)
        most = log.max()
        weight = total = 0.0
        for i in range(len(offsets)):
            for j in range(len(rises)):
                share = np.exp(log[i, j] - most)
                weight += share
                total += share * offsets[i]
        found[wall] = total / weight
    return found
