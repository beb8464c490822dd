"""Dense matching of an epipolar pair: a disparity for every left pixel, or the reason why not.

Coarse to fine: an image pyramid finds where to look, the finest level looks every half pixel
(census 5×5 and absolute differences, semi-global aggregation over eight paths with two neighbours
each). Both images are matched to each other; what they do not agree on is dropped. Planes fitted to
each pixel's own surface then refine the disparity. No range need be known beforehand.

What each part gave, as completeness at 1 m and NMAD of the surface model of two built scenes
(B/H 0.35 and 0.25, 0.5 m, voids filled from the ground side), one pair each:

    census 7×7, whole pixels, V fit                       0.82  0.48 m     0.80  0.60 m
    half-pixel steps, census 5×5, planes of radius 4      0.863 0.287 m    0.888 0.302 m
    stiffer P1, softer P2                                 0.867 0.267 m    0.897 0.273 m
    absolute differences beside census                    0.886 0.240 m    0.906 0.247 m
    planes of radius 3, 5, 8, ever stricter               0.886 0.211 m    0.906 0.217 m
    their square root: shadows count as much              0.887 0.209 m    0.906 0.216 m
    the right image matched too, agreement 0.6 px         0.893 0.200 m    0.917 0.214 m
    points on one side of a cell only do not reach it     0.896 0.198 m    0.925 0.211 m

A step of disparity costs less where the base is wide, in proportion (P1 12 at B/H 0.35, 7 at 0.6):
roofs that slope along the epipolar lines change by half a pixel a pixel there, and failed at the
left–right check. Completeness of buildings, at edges, of all, and NMAD on other scenes:

    B/H 0.6, P1 12, 8, 6    .872 .885 .893    .780 .786 .790    .947 .948 .949    .068 .070 .072 m
    B/H 0.39, P1 12, 10     .912 .918         .828 .831         .944 .945         .114 .114 m

No gain: a surface prior that tilts P1 (follows the noise), census 7×7 or 9×7, each band or each
component by itself, quarter pixels (better NMAD, twice the time), points of both directions
together, least squares matching on intensities afterwards (diverges where texture is noise).

A pair of 2.5 million pixels took 130 bytes for each, and takes 80: what is done with is let go
before the next look, census codes before their costs are summed, costs before the best is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from processes.stereo.checks import Reason, compared
from processes.stereo.greys import Tones, ends_of, luminance
from processes.stereo.least_squares import fitted
from processes.stereo.light import Light, light_of, partners, share
from processes.stereo.planes import Planes, refine
from processes.stereo.pyramid import Floats, Mask, finer, halve, halve_range, search_range
from processes.stereo.slopes import (
    REACH_PX,
    REST_PX,
    ROOF,
    STEEP,
    leaning,
    moved,
    patches,
    prolonged,
    raised,
    surface_of,
    surroundings,
)
from processes.stereo.strips import Images, Level, Recipe, level_of


@dataclass(frozen=True)
class Match:
    """What was found: left pixel (r, c) is right pixel (r, c + disparity). Arrays are (row, col).

    ``disparity``: float32 px, NaN where ``reason`` (uint8, see Reason) is not MATCHED.
    ``confidence``: float32, 0 where unmatched, else 0.05 to 1: how likely it is right to a pixel.
    """

    disparity: Floats
    confidence: Floats
    reason: NDArray[np.uint8]


COARSE = Recipe(per_px=1, p1=10, p2_edge=16, p2_flat=50)
FINE = Recipe(per_px=2, p1=12, p2_edge=14, p2_flat=36)
"""For a base-to-height ratio of GENTLE or less; slopes of wider pairs take more steps."""
GENTLE = 0.35
SLOPES = Recipe(per_px=2, p1=4, p2_edge=14, p2_flat=36)
"""Where a surface is levelled before it is looked at again."""

AGREE_PX = 0.6
"""Left and right disparities must agree this well."""

SURROUNDED = 0.6
"""A pixel on which left and right do not agree is right if this share around it says so."""

COARSE_RANGE_PX = 16
"""The pyramid ends where the whole range is no longer than this …"""
SMALLEST_PX = 64
"""… or the image smaller than twice this."""
MARGIN_PX = 1.5
"""Sought beyond what was found near at the coarser level, in its pixels.

3 searched half more; of four built scenes buildings and trees were up to 0.002 and 0.008 worse,
ground up to 0.001 better.
"""
LOOKS = 4
"""Uneven light hides matches, and few matches tell little of it: the coarsest level is repeated."""
SPECKLES = 10, np.float32(1)
"""Patches of so few pixels that stand so far (px) apart are wrong."""
FLAT_PX = 7
"""A pixel has no texture if all within this window is of one grey value."""
FLAT_CONTRAST = 1e-3
"""… or differs by less than this share of the image's contrast."""


def match(
    left: Floats,
    right: Floats,
    lo: ArrayLike,
    hi: ArrayLike,
    *,
    tones: Tones | None = None,
    base_to_height: float = 0.0,
    wanted: tuple[Mask, Mask] | None = None,
    workers: int = 2,
) -> Match:
    """Match *left* to *right*, float32 (row, col) or (bands, row, col) with NaN for nodata.

    Rows must correspond; *lo* and *hi* bound the disparity in pixels (scalars or (row, col)) and
    may be generous. *tones* bring both to common grey levels, by default those of what is matched
    at coarser levels. *base_to_height*, where known, tells how much disparities change on slopes.
    Only pixels that are *wanted* of the left and the right image are matched at the finest level;
    coarser ones see all there is: cut there, too, three cells in a hundred changed beside a cut.
    The result does not depend on *workers*, at most two of which are used. `match_gpu` does the
    same on a card.
    """
    there, seen, back = _both_ways(
        luminance(left), luminance(right), lo, hi, tones, wanted or (None, None),
        recipe=finest_recipe(base_to_height), workers=workers,
    )  # fmt: skip
    reason = _reasons(there, back, seen.left, tones.left if tones else ends_of(seen.left))
    del back
    matched = reason == Reason.MATCHED
    known = (reason != Reason.NO_DATA) & (reason != Reason.OUTSIDE)
    disparity, support = _on_slopes(
        seen, there.disparity, refine(there.disparity, matched, known), matched, known
    )
    rescued = (reason == Reason.OCCLUDED) | (reason == Reason.MISMATCH)
    rescued &= support > SURROUNDED
    reason[rescued & (np.abs(there.disparity - disparity) < AGREE_PX)] = Reason.MATCHED
    matched = reason == Reason.MATCHED
    confidence = np.where(matched, _likelihood(there.clear, support), 0)
    return Match(
        np.where(matched, disparity, np.float32(np.nan)),
        confidence.astype(np.float32),
        reason,
    )


def _both_ways(
    left: Floats,
    right: Floats,
    lo: ArrayLike,
    hi: ArrayLike,
    tones: Tones | None,
    wanted: tuple[Mask | None, Mask | None],
    *,
    recipe: Recipe,
    workers: int,
) -> tuple[Level, Images, Floats]:
    """Return what was found on the left image, what was compared, and the right's disparities."""
    lefts, rights = _pyramid(left), _pyramid(right)
    if left.shape[0] != right.shape[0]:
        raise ValueError("left and right must have the same rows: rectify them together")
    low, high = _broadcast(lo, hi, left.shape)
    # what bounds a right pixel's disparity is that of some left pixel: any
    back = _broadcast(-high.max(), -low.min(), right.shape)
    ways = [
        (lefts, rights, low, high, tones, wanted[0]),
        (rights, lefts, *back, tones and Tones(tones.right, tones.left), wanted[1]),
    ]
    with ThreadPoolExecutor(max_workers=2 if workers > 1 else 1) as pool:
        (there, seen), (here, _) = pool.map(lambda way: _coarse_to_fine(*way, finest=recipe), ways)
    return there, seen, here.disparity


def _reasons(
    there: Level, back: Floats, left: Floats, ends: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return why pixels have no disparity that both images agree on."""
    reason = np.asarray(
        compared(there.disparity, there.reason, back, np.float32(AGREE_PX)), np.uint8
    )
    reason[(there.reason != Reason.NO_DATA) & _flat(left, ends)] = Reason.NO_TEXTURE
    specks = patches(there.disparity, reason == Reason.MATCHED, *SPECKLES)
    reason[specks] = Reason.SPECKLE
    return reason


def _on_slopes(
    pair: Images, first: Floats, planes: Planes, matched: Mask, known: Mask
) -> tuple[Floats, Floats]:
    """Return disparities of planes, and the support of these, once what is steep …

    … has been matched again along its slopes and on.
    """
    longer, wanted = _steep(pair, planes, matched, known)
    disparity, support = planes.disparity, planes.support
    if not wanted.any():
        return disparity, support
    where = surroundings(wanted) & known
    surface, by_col = surface_of(longer, known), longer.by_col
    del longer, planes  # a block takes most memory below
    reach = _broadcast(-REACH_PX, REACH_PX, first.shape)
    rest = level_of(replace(pair, surface=surface), *reach, SLOPES, where).disparity
    near = where & (np.abs(rest) <= REST_PX)
    measured = np.where(near, moved(surface, by_col, rest), first)
    again = refine(measured, matched, where)
    better = wanted & near
    return np.where(better, again.disparity, disparity), np.where(better, again.support, support)


def _steep(pair: Images, planes: Planes, matched: Mask, known: Mask) -> tuple[Planes, Mask]:
    """Return planes with roofs aligned and prolonged, and what is to be matched along them."""
    apart = raised(planes, matched)
    hilly, roofs = leaning(planes, known, STEEP), apart & leaning(planes, known, ROOF)
    if not (hilly | roofs).any():
        return planes, hilly
    aligned, sure = fitted(planes, roofs, known, pair.lit, pair.right, pair.tones.gain)
    roofs = sure & leaning(aligned, known, ROOF)
    hilly |= roofs
    longer, beside = prolonged(aligned, roofs, known & apart & ~hilly)
    return longer, hilly | beside


def finest_recipe(base_to_height: float) -> Recipe:
    """Return how the finest level is matched: a slope's steps of disparity go with the base."""
    return replace(FINE, p1=round(FINE.p1 / max(base_to_height / GENTLE, 1.0)))


def _pyramid(image: Floats) -> list[Floats]:
    images = [image]
    while min(images[-1].shape) >= 2 * SMALLEST_PX:
        images.append(halve(images[-1]))
    return images


def _broadcast(lo: ArrayLike, hi: ArrayLike, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    low, high = (np.broadcast_to(np.asarray(a, np.float32), shape) for a in (lo, hi))
    if not np.all(low <= high):
        raise ValueError("lo must not exceed hi, and both must be finite")
    return low, high


def _coarse_to_fine(
    lefts: Sequence[Floats],
    rights: Sequence[Floats],
    lo: Floats,
    hi: Floats,
    given: Tones | None,
    wanted: Mask | None,
    *,
    finest: Recipe,
) -> tuple[Level, Images]:
    bounds = [(lo, hi)]
    deepest = min(len(lefts), len(rights))
    while len(bounds) < deepest and np.max(bounds[-1][1] - bounds[-1][0]) > COARSE_RANGE_PX:
        bounds.append(halve_range(*bounds[-1]))
    lo, hi = bounds[-1]
    tones = given or Tones.of(lefts[-1], rights[-1])
    light: Light | None = None

    def pair(level: int) -> Images:
        lit = lefts[level] if light is None else light.on(lefts[level], tones.left, level)
        return Images(lefts[level], lit, rights[level], tones)

    def look(level: int, recipe: Recipe, where: Mask | None = None) -> Level:
        return level_of(pair(level), lo, hi, recipe, where)

    coarsest = len(bounds) - 1
    for level in range(coarsest, 0, -1):
        left, right = lefts[level], rights[level]
        found = look(level, COARSE)
        if level == coarsest:
            for _ in range(LOOKS):
                light = _light(left, right, found, tones, level)
                if light is None:
                    break
                found = look(level, COARSE)
        matched = found.reason == Reason.MATCHED
        if given is None:
            tones = Tones.of_matches(left, right, found.disparity, matched) or tones
        light = _light(left, right, found, tones, level)
        lo, hi = search_range(found.disparity, matched, bounds[level], MARGIN_PX)
        size = lefts[level - 1].shape
        lo = np.maximum(finer(2 * lo, size), bounds[level - 1][0])
        hi = np.minimum(finer(2 * hi, size), bounds[level - 1][1])
    return look(0, finest, wanted), pair(0)


def _light(left: Floats, right: Floats, found: Level, tones: Tones, level: int) -> Light | None:
    """Return how light differs between two images, from what they both see."""
    matched = found.reason == Reason.MATCHED
    # as bright as can be told: chance matches on a cloud would count for all around them
    one = np.clip(share(left, tones.left), 0, 1)
    other = np.clip(share(partners(right, found.disparity, matched), tones.right), 0, 1)
    return light_of(one, other, level)


def _flat(image: Floats, ends: tuple[float, float]) -> Mask:
    """Return where an image shows nothing but one grey value."""
    low, high = ends
    kernel = np.ones((FLAT_PX, FLAT_PX), np.uint8)
    known = np.where(np.isnan(image), np.float32(low), image)
    spread = cv2.dilate(known, kernel) - cv2.erode(known, kernel)
    return np.asarray(spread <= FLAT_CONTRAST * (high - low))


def _likelihood(clear: Floats, support: Floats) -> Floats:
    """Return how likely a disparity is right within a pixel: logistic regression on built scenes.

    *clear* says how far behind the second best is, *support* what share of the surroundings
    lies on the same plane. Right from 0.6 (said: 0.5) to 0.998 (said: 0.99).
    """
    score = 3.3 * clear + 5.6 * support - 1.3
    return np.asarray(np.clip(1 / (1 + np.exp(-score)), 0.05, 1.0), np.float32)
