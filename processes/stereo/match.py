"""Dense matching of an epipolar pair: a disparity for every left pixel, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processes.stereo.census import Slices, census, hamming, window
from processes.stereo.sgm import NEVER, sweep, winners

Floats = NDArray[np.float32]

MATCHED, NO_DATA, OUTSIDE, OCCLUDED, MISMATCH, NO_TEXTURE, SPECKLE = range(7)


@dataclass(frozen=True)
class Match:
    disparity: Floats
    confidence: Floats
    reason: NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe:
    per_px: int = 1
    rows: int = 7
    cols: int = 7
    stride: int = 1
    p1: int = 8
    p2_low: int = 24
    p2_high: int = 90
    sigma: float = 12.0
    two: bool = True
    weight: int = 1


def luminance(image: Floats) -> Floats:
    if image.ndim == 2:
        return np.ascontiguousarray(image, np.float32)
    return np.ascontiguousarray(image.mean(axis=0), np.float32)


def halve(image: Floats) -> Floats:
    rows, cols = image.shape
    image = np.pad(image, ((0, rows % 2), (0, cols % 2)), mode="edge")
    quad = np.stack([image[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    there = np.isfinite(quad)
    n = there.sum(axis=0)
    total = np.where(there, quad, 0).sum(axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan).astype(np.float32)


def guide_of(image: Floats) -> NDArray[np.uint8]:
    low, high = np.nanpercentile(image, (1, 99))
    scale = 255.0 / max(high - low, 1e-6)
    return np.clip((np.nan_to_num(image, nan=low) - low) * scale, 0, 255).astype(np.uint8)


def finer_columns(image: Floats, per_px: int) -> Floats:
    """(row, per_px*col): columns resampled by cubic interpolation"""
    if per_px == 1:
        return image
    rows, cols = image.shape
    x = (np.arange(cols * per_px) / per_px).astype(np.float32)
    return cv2.remap(
        image, np.broadcast_to(x, (rows, x.size)).copy(),
        np.broadcast_to(np.arange(rows, dtype=np.float32)[:, None], (rows, x.size)).copy(),
        cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan"),
    )


def volume(left: Floats, right: Floats, lo: Floats, hi: Floats, recipe: Recipe) -> Any:
    q = recipe.per_px
    slices = Slices.between(lo, hi, per_px=q)
    lowest = int(slices.first.min())
    highest = int((slices.first + slices.count).max())
    here, ok = census(left, window(recipe.rows, recipe.cols, stride=recipe.stride))
    fine = finer_columns(right, q)
    there, there_ok = census(fine, window(recipe.rows, recipe.cols, stride=recipe.stride, spread=q))
    pad = max(0, -lowest, left.shape[1] * q + highest - there.shape[1]) + 1
    there, there_ok = (np.pad(a, ((0, 0), (pad, pad))) for a in (there, there_ok))
    cost = np.empty(slices.size, np.uint8)
    hamming(here, ok, there, there_ok, pad, slices.first, slices.count, slices.start, q,
            np.int64(recipe.weight), cost)
    total = np.zeros(slices.size, np.uint16)
    p2 = recipe.p2_low + (recipe.p2_high - recipe.p2_low) * np.exp(-np.arange(256) / recipe.sigma)
    guide = guide_of(left)
    for up in (False, True):
        sweep(cost, slices.start, slices.first, slices.count, guide, np.uint16(recipe.p1),
              p2.astype(np.uint16), lowest, highest - lowest, up, recipe.two, total)
    return slices, winners(total, slices.start, slices.first, slices.count, q, right.shape[1]), there_ok, pad


def subpixel(best, near, per_px, kind="v"):
    a, b, c = (near[..., i].astype(np.float32) for i in range(3))
    edge = (a > 65000) | (c > 65000)
    if kind == "parabola":
        den = a - 2 * b + c
        off = np.where(den > 0, (a - c) / (2 * np.maximum(den, 1e-6)), 0)
    else:
        off = 0.5 * (a - c) / np.maximum(np.maximum(a, c) - b, 1e-6)
    off = np.where(edge, 0, np.clip(off, -0.5, 0.5))
    return ((best + off) / per_px).astype(np.float32)


def checked(best, right, per_px, tolerance=1.0):
    """True where the right pixel that is matched chose (nearly) the same disparity"""
    rows, cols = best.shape
    x = np.arange(cols)[None] + np.rint(best / per_px).astype(np.int64)
    inside = (x >= 0) & (x < right.shape[1])
    back = np.take_along_axis(right, np.clip(x, 0, right.shape[1] - 1), axis=1)
    return inside & (np.abs(back - best) <= tolerance * per_px), inside


def ranges(disparity: Floats, ok, lo: Floats, hi: Floats, radius: int, margin: float):
    """Pixel ranges for the next finer level from this one."""
    k = np.ones((2 * radius + 1,) * 2, np.uint8)
    big = np.float32(1e6)
    low = cv2.erode(np.where(ok, disparity, big), k, borderType=cv2.BORDER_REPLICATE)
    high = cv2.dilate(np.where(ok, disparity, -big), k, borderType=cv2.BORDER_REPLICATE)
    share = cv2.blur(ok.astype(np.float32), (2 * radius + 1,) * 2, borderType=cv2.BORDER_REPLICATE)
    some = ok.any()
    wide = 4 * radius
    kw = np.ones((2 * wide + 1,) * 2, np.uint8)
    low_w = cv2.erode(low, kw, borderType=cv2.BORDER_REPLICATE)
    high_w = cv2.dilate(high, kw, borderType=cv2.BORDER_REPLICATE)
    sparse = share < 0.3
    low = np.where(sparse, low_w, low)
    high = np.where(sparse, high_w, high)
    none = low > high
    if some:
        g0, g1 = np.percentile(disparity[ok], (0.2, 99.8))
    else:
        g0, g1 = lo.min(), hi.max()
    low = np.where(none, g0, low) - margin
    high = np.where(none, g1, high) + margin
    return np.maximum(low, lo), np.minimum(high, hi)


def double(a: Floats, shape) -> Floats:
    return np.repeat(np.repeat(a, 2, 0), 2, 1)[: shape[0], : shape[1]]


def match(left: Floats, right: Floats, lo: Any, hi: Any, *, recipe=Recipe(), coarse=Recipe(rows=5, cols=5, p1=5, p2_low=16, p2_high=50), debug=None) -> Match:
    L = [luminance(left)]
    R = [luminance(right)]
    shape = L[0].shape
    lo = np.broadcast_to(np.asarray(lo, np.float32), shape)
    hi = np.broadcast_to(np.asarray(hi, np.float32), shape)
    bounds = [(lo, hi)]
    while (bounds[-1][1] - bounds[-1][0]).max() > 16 and min(L[-1].shape) > 96:
        L.append(halve(L[-1])); R.append(halve(R[-1]))
        a, b = bounds[-1]
        s = L[-1].shape
        bounds.append((a[::2, ::2] / 2, b[::2, ::2] / 2))
    low, high = bounds[-1]
    for k in range(len(L) - 1, 0, -1):
        sl, (best, near, rival, back), *_ = volume(L[k], R[k], low, high, coarse)
        ok, _ = checked(best, back, coarse.per_px)
        ok &= rival > near[..., 1] * 1.02
        ok &= np.isfinite(L[k])
        a, b = ranges(best.astype(np.float32), ok, *bounds[k], 5, 3.0)
        s = L[k - 1].shape
        low = np.maximum(double(2 * a, s), bounds[k - 1][0])
        high = np.minimum(double(2 * b, s), bounds[k - 1][1])
        if debug is not None:
            debug.append((k, best, ok, (high - low).mean()))
    sl, (best, near, rival, back), *_ = volume(L[0], R[0], low, high, recipe)
    ok, inside = checked(best, back, recipe.per_px)
    disp = subpixel(best, near, recipe.per_px)
    if debug is not None:
        debug.append((0, sl, best, near, rival, back))
    reason = np.where(ok, MATCHED, np.where(inside, OCCLUDED, OUTSIDE)).astype(np.uint8)
    return Match(np.where(ok, disp, np.nan).astype(np.float32), np.ones(shape, np.float32), reason)
