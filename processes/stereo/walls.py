"""Beside walls: whether a cell is of the roof or of the ground, the colours of all images decide.

Of the cells within 1.5 m of building edges that were wrong, half were roofs that had been matched a
cell or two out over the street, most of them into the shade, and a quarter roofs that had not been
matched and were filled from the ground; next to none of these were hidden from an image. So each
cell of a rim and each void beside a wall is looked at in all images, at the height of the roof and
at that of the ground, and four things are asked: does it look there as the roof near by (kernel
density over both images together); as that rather than as what images show beside the roof at that
height (log odds by mean and variance); does it look at the ground's height as the ground, in the
image that is most like it (the other may be hidden); how much of what is near is roof. One logistic
regression for rims and voids: whether a cell had been matched as roof adds next to nothing (.2).
What is in doubt stays as it is.

Fitted on seven towns; each judged by the other six, with a larger doubt (1, and .3 for voids), gain
within 1 m of all cells and at edges, in points, beside what asked voids only:

    hilly .25 3.7   village .24 2.5   suburb2 .23 2.5   tri .28 1.8   suburb .19 2.1
    flat2 .06 1.0   quarter .18 1.3

With this doubt, completeness within 1 m of all, buildings, ground and at edges, and RMSE, before
and after (hilly2 and dense were not fitted on):

    village  .911 .943 .949 .840 1.305 m → .913 .952 .949 .859 1.295
    suburb2  .943 .862 .973 .752 1.089   → .945 .876 .973 .770 1.052
    suburb   .952 .936 .976 .813 1.165   → .954 .939 .978 .828 1.117
    hilly    .947 .963 .971 .858 1.057   → .949 .970 .973 .887 1.015
    hilly2   .961 .965 .981 .879 .875    → .963 .973 .982 .900 .835
    flat2    .954 .968 .975 .892 .858    → .955 .968 .974 .899 .837
    tri      .959 .964 .968 .868 1.075   → .961 .969 .971 .880 1.047
    quarter  .937 .959 .945 .839 1.883   → .938 .962 .946 .847 1.815
    dense    .945 .956 .975 .836 2.203   → .945 .959 .975 .836 2.210

Works with one band as well, where nothing was done before (with a doubt of .6: village .897 → .903,
buildings .912 → .944, edges .819 → .853; suburb2 .938 → .943, .794 → .844, .719 → .760; tri .958 →
.959, .959 → .967, .864 → .878).

Without doubt, edges gain 3 to 4.5 points and all .3 to .45, but buildings lose .1 to .7 where
pixels are small or houses are: a lost eave is one of few cells of roofs. No gain: the likelihood of
the match, the height of the wall, the roughness of the roof, differences between images, how far
away the ground begins, interpolated pixels. A circle of REACH_M in place of a square is a third
less to compare and costs suburb2 .009 of its buildings. Trees of hypotheses instead of a linear
rule: .05 more. Crowns lose .2 to .4 points of theirs on two towns though what is green is left
alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.crs import Plane
from processes.core.nearest import nearest
from processes.core.origin import Origin
from processes.core.raster import Grid
from processes.stereo.canopy import Green
from processes.stereo.epipolar import Floats, Pixels
from processes.stereo.fuse import Filled
from processes.stereo.view import View, glance

Mask = NDArray[np.bool_]

STEP_M = 2.0
"""A rim stands so much above the lowest near it, a roof so much above a void beside it."""
RIM_PX = 2
"""How many pixels of the images a rim is wide."""
REACH_M, SAMPLE_M, SPREAD_M = 4.0, 1.0, 2.0
"""How far away, how far apart and how gathered the cells are that one is compared with."""
COLOUR = 0.125
"""Standard deviation of the logarithm of what images see of one surface."""
GRAIN = 0.005
"""Variance of these logarithms that is there anyway."""
STRANGE = 0.002
"""Density from which colours count as known at all."""
MOST = 8.0
"""Log odds by one image beyond that say no more."""
LIKE, OF_ROOF, OFFSET = np.array([0.41, 0.14, -0.39], np.float32), np.float32(3.95), -0.5
"""Logistic regression: log odds of roof by the columns of `_compared` and the share of roof beside.
"""
MOST_ROOF = 0.8
"""A rim with a larger share of roof beside it is not asked: a third of the rims of a town, of which
one in 700 would have changed. Of voids beside next to no roof one in 140 does, as a lost part of a
roof: they are asked."""
DOUBT = 0.5
"""Log odds beyond which a cell changes sides."""


def sided(
    dsm: Pixels,
    origin: NDArray[np.uint8],
    voids: Filled,
    grid: Grid,
    gsd_m: float,
    views: Sequence[View],
    to_degrees: Plane,
    green: Green,
) -> tuple[Pixels, NDArray[np.uint8]]:
    """Return heights (row, col) and their ``Origin``, with cells beside walls on the right side.

    *voids*: how cells were filled at first. *green*: what tells crowns, whose rims are left alone.
    """
    width = max(1, round(RIM_PX * gsd_m / grid.cell_m))
    box = np.ones((2 * width + 1,) * 2, np.uint8)
    lowest = cv2.erode(np.where(np.isfinite(dsm), dsm, np.float32(1e6)), box)
    seen = origin == Origin.SEEN
    rim = seen & (dsm - lowest > STEP_M)
    void = (origin == Origin.FILLED_OCCLUSION) & (voids.upper - dsm > STEP_M)
    void &= voids.upper_px * np.float32(grid.cell_m) <= REACH_M
    if len(views) < 2 or not (rim.any() or void.any()):
        return dsm, origin
    high, low = np.where(rim, dsm, voids.upper), np.where(rim, lowest, dsm)
    share = _roof_near(rim | void, dsm, (high + low) / 2, width)
    asked = rim & (share <= MOST_ROOF) | void
    if not asked.any():
        return dsm, origin
    odds = np.full(dsm.shape, np.float32(np.nan))
    like = _looked_at(asked, seen & ~rim, dsm, high, low, grid, views, to_degrees)
    odds[asked] = like @ LIKE + OF_ROOF * share[asked] + np.float32(OFFSET)
    roof, ground = void & (odds > DOUBT), rim & (odds < -DOUBT)
    ground &= ~green(ground, dsm)
    beside = np.where(roof, voids.upper, dsm)
    beside[ground] = _ground_beside(
        np.ascontiguousarray(np.argwhere(ground)), dsm, (high + low) / 2, 2 * width
    )
    origin = np.where(roof, np.uint8(Origin.FILLED_GAP), origin)
    return beside, np.where(ground, np.uint8(Origin.FILLED_OCCLUSION), origin)


def _looked_at(
    asked: Mask,
    sure: Mask,
    dsm: Pixels,
    high: Pixels,
    low: Pixels,
    grid: Grid,
    views: Sequence[View],
    to_degrees: Plane,
) -> Pixels:
    """Return what `_compared` does of the cells *asked*, by what is *sure* around them.

    What is lower than a cell is seen twice: as it is, and at the height of the roof beside it,
    where images show what is behind, the wall or another part of the street.
    """
    radius = round(REACH_M / grid.cell_m)
    every = max(1, round(SAMPLE_M / grid.cell_m))
    top, left = grid.first(every)
    lattice = every, top, left
    around = np.zeros(dsm.shape, bool)
    sampled = np.s_[top::every, left::every]
    near = cv2.dilate(asked.view(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) > 0
    around[sampled] = (near & sure)[sampled]
    beside, _ = nearest(asked)
    number = np.full(dsm.shape, -1, np.int32)
    number[around] = np.arange(np.count_nonzero(around))
    each = np.argwhere(asked), np.argwhere(around)
    lonlat = [np.stack(to_degrees(*grid.xy(*places.T))) for places in each]
    lon, lat = np.concatenate([lonlat[i] for i in (0, 0, 1, 1)], axis=1)
    heights = np.concatenate([high[asked], low[asked], dsm[around], high.ravel()[beside[around]]])
    colours = _colours(views, lon, lat, heights)
    own, others = np.split(colours, [2 * len(each[0])])
    place = np.arange(-radius, radius + 1) * (grid.cell_m / SPREAD_M)
    weights = np.exp(-(place[:, None] ** 2 + place**2) / 2)
    return _compared(  # type: ignore[no-any-return]
        np.ascontiguousarray(each[0]), lattice, weights.astype(np.float32), number, dsm,
        (high + low) / 2, np.ascontiguousarray(own), np.ascontiguousarray(others),
    )  # fmt: skip


def _colours(views: Sequence[View], lon: Floats, lat: Floats, height: Pixels) -> Pixels:
    """Return logarithms of what views show of points (point, view, band); NaN where nothing.

    Views that show none of them are left out; of views with different bands, it is their means.
    """
    seen = [shown for view in views if (shown := _shown(view, lon, lat, height)) is not None]
    if not seen:
        return np.full((lon.size, 1, 1), np.nan, np.float32)
    if len({colours.shape[1] for colours in seen}) > 1:
        seen = [colours.mean(axis=1, keepdims=True) for colours in seen]
    return np.asarray(_logarithms(np.stack(seen, axis=1)), np.float32)


def _shown(view: View, lon: Floats, lat: Floats, height: Pixels) -> Pixels | None:
    shown = glance(view, view.read, lon, lat, height)
    if shown is None:
        return None
    seen = np.full((lon.size, len(shown.bands)), np.nan, np.float32)
    _pick(shown.bands, *shown.at, np.flatnonzero(shown.inside), seen)
    return seen


@njit(cache=True, nogil=True)
def _pick(bands, rows, cols, at, seen):  # type: ignore[no-untyped-def]
    """Write what bands (band, row, col) hold at some pixels into rows *at* of *seen*."""
    for k in range(at.size):
        for b in range(len(bands)):
            seen[at[k], b] = bands[b, rows[k], cols[k]]


@njit(cache=True, nogil=True, error_model="numpy")
def _logarithms(pixels):  # type: ignore[no-untyped-def]
    """Return logarithms (point, view, band), NaN for all bands of a view if one is not above 0."""
    points, views, bands = pixels.shape
    out = np.empty((points, views, bands), np.float32)
    for k in range(points):
        for v in range(views):
            known = True
            for b in range(bands):
                known = known and pixels[k, v, b] > 0
            for b in range(bands):
                out[k, v, b] = np.log(pixels[k, v, b]) if known else np.float32(np.nan)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _roof_near(asked, dsm, cut, width):  # type: ignore[no-untyped-def]
    """Return what share of the cells near those *asked* is higher than their *cut*; 0 elsewhere."""
    rows, cols = dsm.shape
    out = np.zeros((rows, cols), np.float32)
    for r in range(rows):
        for c in range(cols):
            if not asked[r, c]:
                continue
            upper, near = 0, 0
            for y in range(max(0, r - width), min(rows, r + width + 1)):
                for x in range(max(0, c - width), min(cols, c + width + 1)):
                    if (y != r or x != c) and not np.isnan(dsm[y, x]):
                        near += 1
                        upper += dsm[y, x] > cut[r, c]
            out[r, c] = np.float32(upper) / np.float32(near)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _compared(places, lattice, weights, number, dsm, cut, own, others):  # type: ignore[no-untyped-def]
    """Return for each place (3 columns) how likely it looks; NaN where nothing can be compared.

    The logarithm of the density of what all images see at its upper height among the roof around;
    log odds, by mean and variance, that this is roof and not what is seen beside roofs at that
    height, the mean of all images; the logarithm of the density of what is seen at its lower height
    among the ground around, in the image where it is highest. *own*: colours of places at their
    upper, then at their lower heights; *others*: those of cells by *number*, then at the height of
    the roof beside them.
    """
    rows, cols = dsm.shape
    every, top, left = lattice
    views, bands = own.shape[1:]
    radius, many, cells = len(weights) // 2, len(places), len(others) // 2
    out = np.full((many, 3), np.float32(np.nan))
    mean = np.empty((2, views, bands), np.float32)
    square = np.empty((2, views, bands), np.float32)
    total = np.empty((2, views), np.float32)
    ground = np.empty(views, np.float32)
    narrow = np.float32(1 / (2 * COLOUR**2 * bands))
    for k in range(many):
        r, c = places[k]
        mean[:], square[:], total[:], ground[:] = 0, 0, 0, 0
        like, roofs = np.float32(0), np.float32(0)
        first_row, first_col = max(0, r - radius), max(0, c - radius)
        first_row += (top - first_row) % every
        first_col += (left - first_col) % every
        for y in range(first_row, min(rows, r + radius + 1), every):
            for x in range(first_col, min(cols, c + radius + 1), every):
                n = number[y, x]
                weight = weights[y - r + radius, x - c + radius]
                if n < 0:
                    continue
                roof = dsm[y, x] > cut[r, c]
                side, m = (1, n) if roof else (0, n + cells)
                apart, shown = np.float32(0), 0
                for v in range(views):
                    if np.isnan(others[m, v, 0]) or np.isnan(own[k, v, 0]):
                        continue
                    shown += 1
                    total[side, v] += weight
                    for b in range(bands):
                        colour = others[m, v, b]
                        mean[side, v, b] += weight * colour
                        square[side, v, b] += weight * colour * colour
                    if roof:
                        for b in range(bands):
                            apart += (others[m, v, b] - own[k, v, b]) ** 2
                    else:
                        off = np.float32(0)
                        for b in range(bands):
                            off += (others[n, v, b] - own[many + k, v, b]) ** 2
                        if not np.isnan(off):
                            ground[v] += weight * np.exp(-off * narrow)
                if roof and shown > 1:
                    like += weight * np.exp(-apart * narrow / np.float32(shown))
                    roofs += weight
        odds, best, shown = np.float32(0), np.float32(0), 0
        for v in range(views):
            if total[0, v] == 0 or total[1, v] == 0:
                continue
            shown += 1
            told = np.float32(0)
            for b in range(bands):
                inside = mean[1, v, b] / total[1, v]
                beside = mean[0, v, b] / total[0, v]
                varying = square[1, v, b] / total[1, v] - inside * inside
                varying += square[0, v, b] / total[0, v] - beside * beside
                spread = np.float32(GRAIN) + max(varying, np.float32(0)) / np.float32(2)
                # bands of one image say much the same: half of what they would say together
                odd = (own[k, v, b] - beside) ** 2 - (own[k, v, b] - inside) ** 2
                told += odd / (np.float32(4) * spread)
            odds += min(max(told, np.float32(-MOST)), np.float32(MOST))
            best = max(best, ground[v] / total[0, v])
        if shown < 2 or roofs == 0:
            continue
        out[k, 0] = np.log(np.float32(STRANGE) + like / roofs)
        out[k, 1] = odds / np.float32(shown)
        out[k, 2] = np.log(np.float32(STRANGE) + best)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _ground_beside(places, dsm, cut, reach):  # type: ignore[no-untyped-def]
    """Return the mean height of what is lower than *cut* around places, mostly of the nearest."""
    rows, cols = dsm.shape
    out = np.empty(len(places), np.float32)
    for k in range(len(places)):
        r, c = places[k]
        height, all_weights = np.float32(0), np.float32(0)
        for y in range(max(0, r - reach), min(rows, r + reach + 1)):
            for x in range(max(0, c - reach), min(cols, c + reach + 1)):
                if dsm[y, x] <= cut[r, c]:
                    weight = np.float32(1) / np.float32((y - r) ** 2 + (x - c) ** 2) ** 2
                    height += weight * dsm[y, x]
                    all_weights += weight
        out[k] = height / all_weights
    return out
