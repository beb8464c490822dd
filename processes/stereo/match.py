"""Dense matching of an epipolar pair: a disparity for every left pixel, or the reason why not.

Coarse to fine: an image pyramid finds where to look, the finest level looks every half pixel
(census 5 by 5, semi-global aggregation), and planes fitted to each pixel's own surface refine
the disparity. No range need be known beforehand.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from processes.stereo.census import Slices, census, hamming, window
from processes.stereo.planes import disk, fit_planes
from processes.stereo.pyramid import Floats, Mask, finer, halve, halve_range, search_range
from processes.stereo.sgm import sweep, winners


class Reason(IntEnum):
    """Why a pixel has no disparity; MATCHED when it has one."""

    MATCHED = 0
    NO_DATA = 1
    OUTSIDE = 2
    OCCLUDED = 3
    MISMATCH = 4
    NO_TEXTURE = 5
    SPECKLE = 6


@dataclass(frozen=True)
class Match:
    """What was found: left pixel (r, c) is right pixel (r, c + disparity).

    ``disparity``: float32 (row, col) px, NaN where ``reason`` is not MATCHED.
    ``confidence``: float32 (row, col), 0 to 1: how likely the disparity is right within a pixel.
    ``surface``: float32 (row, col) px, never NaN: the disparity, or the best guess for the rest.
    """

    disparity: Floats
    confidence: Floats
    reason: NDArray[np.uint8]
    surface: Floats


@dataclass(frozen=True)
class Recipe:
    """Constants of one level. Penalties are in census bits for a step of one disparity or more."""

    per_px: int
    p1: int
    p2_edge: int
    p2_flat: int
    census_px: tuple[int, int] = (5, 5)


COARSE = Recipe(per_px=1, p1=8, p2_edge=16, p2_flat=50)
FINE = Recipe(per_px=2, p1=8, p2_edge=16, p2_flat=40)
EDGE_CONTRAST = 12.0
"""Grey levels of 256 over which the penalty for a jump falls from P2 flat to P2 edge."""

COARSE_RANGE_PX = 16
SMALLEST_PX = 64
MARGIN_PX = 3.0
STRIP_CELLS = 48_000_000
"""Disparities held at a time by one thread, 3 bytes each."""

STRIP_MARGIN_PX = 40
SPECKLE_PX = 16
RIDGE = 0.5


def match(left: Floats, right: Floats, lo: ArrayLike, hi: ArrayLike, *, workers: int = 2) -> Match:
    """Match *left* to *right*, float32 (row, col) or (bands, row, col) with NaN for nodata.

    Rows must correspond; *lo* and *hi* bound the disparity in pixels (scalars or (row, col)) and
    may be generous. The result does not depend on *workers*.
    """
    lefts, rights = [luminance(left)], [luminance(right)]
    shape = lefts[0].shape
    bounds = [_broadcast(lo, hi, shape)]
    while float(np.max(bounds[-1][1] - bounds[-1][0])) > COARSE_RANGE_PX:
        if min(lefts[-1].shape) < 2 * SMALLEST_PX:
            break
        lefts.append(halve(lefts[-1]))
        rights.append(halve(rights[-1]))
        bounds.append(halve_range(*bounds[-1]))
    lo_px, hi_px = bounds[-1]
    for level in range(len(lefts) - 1, 0, -1):
        found = _disparities(lefts[level], rights[level], lo_px, hi_px, COARSE, workers)
        lo_px, hi_px = search_range(
            found.disparity, found.reason == Reason.MATCHED, bounds[level], MARGIN_PX
        )
        size = lefts[level - 1].shape
        lo_px = np.maximum(finer(2 * lo_px, size), bounds[level - 1][0])
        hi_px = np.minimum(finer(2 * hi_px, size), bounds[level - 1][1])
    raw = _disparities(lefts[0], rights[0], lo_px, hi_px, FINE, workers)
    return _refined(raw, lefts[0])


@dataclass(frozen=True)
class _Raw:
    """Disparities before refinement: of every pixel, right or wrong."""

    disparity: Floats
    reason: NDArray[np.uint8]
    clear: Floats
    """How much worse the second best is: 0 (as good) to 1."""


def luminance(image: Floats) -> Floats:
    """Return the mean of the bands: it has less noise than any one of them."""
    grey = image if image.ndim == 2 else image.mean(axis=0)
    return np.ascontiguousarray(grey, np.float32)


def _broadcast(lo: ArrayLike, hi: ArrayLike, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    low, high = (np.broadcast_to(np.asarray(a, np.float32), shape) for a in (lo, hi))
    if not np.all(low <= high):
        raise ValueError("lo must not exceed hi, and both must be finite")
    return low, high


def _disparities(
    left: Floats, right: Floats, lo: Floats, hi: Floats, recipe: Recipe, workers: int
) -> _Raw:
    """Match strips of rows, as tall as memory allows, with margins that are thrown away."""
    rows = left.shape[0]
    cells = float(np.sum(hi - lo + 16.0)) * recipe.per_px
    strips = max(int(np.ceil(cells / STRIP_CELLS)), 2 if rows > 6 * STRIP_MARGIN_PX else 1)
    cuts = np.linspace(0, rows, strips + 1).astype(int)
    guide = _grey_levels(left)

    def strip(first: int, last: int) -> tuple[NDArray[np.generic], ...]:
        top, bottom = max(0, first - STRIP_MARGIN_PX), min(rows, last + STRIP_MARGIN_PX)
        part = slice(top, bottom)
        raw = _strip(left[part], right[part], lo[part], hi[part], guide[part], recipe)
        keep = slice(first - top, last - top)
        return raw.disparity[keep], raw.reason[keep], raw.clear[keep]

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        parts = list(pool.map(strip, cuts[:-1], cuts[1:]))
    return _Raw(*(np.concatenate(p) for p in zip(*parts, strict=True)))


def _strip(
    left: Floats, right: Floats, lo: Floats, hi: Floats, guide: NDArray[np.uint8], recipe: Recipe
) -> _Raw:
    q = recipe.per_px
    slices = Slices.between(lo, hi, per_px=q)
    lowest = int(slices.first.min())
    highest = int((slices.first + slices.count).max())
    codes, ok = census(left, window(*recipe.census_px))
    there, there_ok = census(_resampled(right, q), window(*recipe.census_px, spread=q))
    pad = max(0, -lowest, left.shape[1] * q + highest - there.shape[1]) + 1
    there, there_ok = (np.pad(a, ((0, 0), (pad, pad))) for a in (there, there_ok))
    cost = np.empty(slices.size, np.uint8)
    where = (slices.first, slices.count, slices.start)
    hamming(codes, ok, there, there_ok, pad, *where, q, cost)
    total = np.zeros(slices.size, np.uint16)
    contrast = np.exp(-np.arange(256) / EDGE_CONTRAST)
    p2 = (recipe.p2_edge + (recipe.p2_flat - recipe.p2_edge) * contrast).astype(np.uint16)
    for up in (False, True):
        sweep(cost, *where, guide, np.uint16(recipe.p1), p2, lowest, highest - lowest, up, total)
    best, near, rival, back = winners(total, *where, q, right.shape[1])
    reason = _reasons(best, back, q, ok)
    column = np.arange(left.shape[1]) * q + best + pad
    reason[(reason != Reason.NO_DATA) & (np.take_along_axis(there_ok, column, 1) == 0)] = (
        Reason.OUTSIDE
    )
    low = near[..., 1].astype(np.float32)
    clear = np.clip((rival - low) / (low + np.float32(8 * 4)), 0, 1)
    return _Raw(_vertex(best, near, q), reason, clear)


def _resampled(image: Floats, per_px: int) -> Floats:
    """Return the image with *per_px* columns for each, by cubic interpolation."""
    if per_px == 1:
        return image
    rows, cols = image.shape
    x = np.tile(np.arange(cols * per_px, dtype=np.float32) / per_px, (rows, 1))
    y = np.repeat(np.arange(rows, dtype=np.float32)[:, None], cols * per_px, axis=1)
    fine = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    fine[:, ::per_px] = image
    return np.asarray(fine, np.float32)


def _grey_levels(image: Floats) -> NDArray[np.uint8]:
    seen = image[np.isfinite(image)]
    if seen.size == 0:
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(seen[:: max(1, seen.size // 100_000)], (1, 99))
    grey = (np.nan_to_num(image, nan=low) - low) * (255.0 / max(high - low, 1e-6))
    return np.asarray(np.clip(grey, 0, 255), np.uint8)


def _reasons(
    best: NDArray[np.int32], back: NDArray[np.int32], per_px: int, ok: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Compare with what the right image's pixel chose: it must be the same within a pixel.

    The right pixel that saw something nearer, or farther, marks an occlusion or a mismatch:
    which sign is nearer depends on the cameras, so both are told apart by the caller's geometry
    only where it matters, and here by the left pixel losing to another left pixel.
    """
    x = np.arange(best.shape[1]) + np.rint(best / per_px).astype(np.int64)
    inside = (x >= 0) & (x < back.shape[1])
    other = np.take_along_axis(back, np.clip(x, 0, back.shape[1] - 1), axis=1)
    agree = np.abs(other - best) <= per_px
    reason = np.where(agree, Reason.MATCHED, Reason.OCCLUDED).astype(np.uint8)
    reason[~inside] = Reason.OUTSIDE
    reason[ok == 0] = Reason.NO_DATA
    return reason


def _vertex(best: NDArray[np.int32], near: NDArray[np.uint16], per_px: int) -> Floats:
    """Return sub-step disparities: the tip of a symmetric V through three costs.

    Census costs grow linearly away from their minimum, so a V fits them better than a parabola.
    """
    before, at, after = (near[..., i].astype(np.float32) for i in range(3))
    side = np.maximum(np.maximum(before, after) - at, 1)
    offset = np.clip(0.5 * (before - after) / side, -0.5, 0.5)
    one_sided = (near[..., 0] == 65535) | (near[..., 2] == 65535)
    return np.asarray((best + np.where(one_sided, 0, offset)) / per_px, np.float32)


def _refined(raw: _Raw, image: Floats) -> Match:
    matched = raw.reason == Reason.MATCHED
    reason = raw.reason.copy()
    speckle = _speckles(raw.disparity, matched)
    reason[speckle] = Reason.SPECKLE
    matched &= ~speckle
    weight = matched.astype(np.float32)
    flat = np.zeros_like(raw.disparity)
    offsets, near = disk(4)
    smooth, _, _, support = fit_planes(
        raw.disparity, weight, raw.disparity, flat, flat, offsets, near, 1.0, RIDGE
    )
    disparity = np.where(matched, smooth, np.float32(np.nan)).astype(np.float32)
    confidence = np.where(matched, np.clip(support / near.sum(), 0, 1) * raw.clear, 0)
    return Match(disparity, confidence.astype(np.float32), reason, smooth)


def _speckles(disparity: Floats, matched: Mask) -> Mask:
    """Return matched pixels in patches of less than SPECKLE_PX that stand apart."""
    low = float(disparity.min())
    scaled = np.where(matched, np.clip((disparity - low) * 16 + 16, 16, 32000), 0).astype(np.int16)
    cv2.filterSpeckles(scaled, 0, SPECKLE_PX, 16)
    return np.asarray(matched & (scaled == 0))
