"""Tie points between images: what pointing is measured with.

Satellites know their attitude to a few pixels. Across the epipolar lines that error stops every
matcher, along them it is height; so it is measured before anything is matched densely, and
undone by a bundle adjustment (`adjust`):

1. images are resampled to epipolar grids by the sensor models as given, at half resolution. There
   they have one scale and one orientation, so a corner is recognised by the patch around it
   (normalised correlation), within the heights the models allow and a broad band of rows;
2. the commonest row difference is the pair's error across; matches that keep to it are refined at
   full resolution by least squares (Gruen, 1985: shift, stretch and shear along the row, gain,
   offset), which is good to about 0.1 px each; the third that fits best is kept.

SIFT features instead of corners and patches took 0.25 s a piece of ground, not 0.03 s, and left
a third fewer matches; SIFT's descriptors at the same corners left a tenth more in 0.06 s.

Five pieces of ground in place of nine take 0.4 s less on a town of a km² and move the corrections
of 18 scenes by 0.008 px at most. But the highest and lowest tie points bound the epipolar grids,
and on another grid one cell in twelve is elsewhere by a decimetre: a suburb lost .5 points of its
buildings.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.systems import solved
from processes.stereo.adjust import ENOUGH, Ties, adjust
from processes.stereo.epipolar import NO_BASE, base_to_height, rectify
from processes.stereo.rpc import RpcModel
from processes.stereo.triangulate import intersect
from processes.stereo.view import Piece, View, rectified

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

BAND_PX = 100.0
"""Largest error across the epipolar lines that is looked for."""
WINDOW_PX = 600
"""Side of a piece of ground in which tie points are sought."""
CORNERS, FEWEST_CORNERS, MOST_CORNERS = 6000, 500, 2000
"""How many corners are sought in all pieces of an image together, and in one at least and most."""
APART_PX, CONTRAST = 3, 0.003
"""Corners of the half image lie so far apart, and are at least so strong beside the strongest."""
SEEN_PX = 7
"""A corner is known by its surroundings of this radius in the half image."""
ALIKE, CLEAR = 0.5, 0.85
"""A match is at least so alike, and its distance at most this share of the second best's."""
HALF_PATCH = 4
STEADY, FEWEST_STEADY = 1 / 3, 60
"""Share of the refined matches of a piece of ground that is kept, and how many at least. On two \
built scenes, two sizes each, all of them were 0.02 to 0.08 px off across, the best third 0.00 to \
0.01 px from where ever fewer of them lead."""


def ties_of(
    views: Sequence[View],
    pairs: Sequence[tuple[int, int, Sequence[Piece]]],
    *,
    heights_m: tuple[float, float],
    gsd_m: float,
) -> Ties:
    """Return the tie points of all pairs (left, right, where to look); the best pair first.

    With three or more views the points of the first pair are looked up in all others: only such
    points tell a pointing error along the epipolar lines, since their heights must agree.
    """
    found = []
    for left, right, pieces in pairs:
        ties = tie_points(views[left], views[right], pieces, heights_m=heights_m, gsd_m=gsd_m)
        rows = np.full((len(views), ties.count), np.nan)
        cols = rows.copy()
        rows[[left, right]], cols[[left, right]] = ties.rows, ties.cols
        found.append(Ties(rows, cols))
    together = _joined(found)
    if len(views) > 2 and found[0].count >= ENOUGH:
        rough = adjust([v.model for v in views], together, height_m=float(np.mean(heights_m)))
        found[0] = _followed(views, rough.models, found[0], *pairs[0], gsd_m=gsd_m)
        together = _joined(found)
    return together


def _joined(ties: Sequence[Ties]) -> Ties:
    return Ties(
        np.concatenate([t.rows for t in ties], axis=1),
        np.concatenate([t.cols for t in ties], axis=1),
    )


def _followed(
    views: Sequence[View],
    models: Sequence[RpcModel],
    ties: Ties,
    left: int,
    right: int,
    pieces: Sequence[Piece],
    *,
    gsd_m: float,
) -> Ties:
    """Return ties of one pair with their places in the other views, where they are found."""
    rows, cols = ties.rows.copy(), ties.cols.copy()
    pair = [left, right]
    lon, lat, height, _ = intersect([models[v] for v in pair], rows[pair], cols[pair], 0.0)
    known = np.isfinite(height)
    bounds = tuple(np.quantile(height[known], (0.005, 0.995))) if known.any() else (0.0, 0.0)
    middle = float(np.nanmedian(lon)), float(np.nanmedian(lat)), float(np.mean(bounds))
    for k in set(range(len(views))) - set(pair):
        if base_to_height(models[left], models[k], *middle) <= NO_BASE:
            continue  # the left image once more, or its colours: their heights agree anyway
        for piece in pieces:
            frame = rectify(
                models[left], models[k], *piece,
                heights_m=(bounds[0] - 20.0, bounds[1] + 20.0),
                height_m=float(np.mean(bounds)), gsd_m=gsd_m,
            )  # fmt: skip
            images = [
                rectified(views[v], frame, side) for v, side in ((left, "left"), (k, "right"))
            ]
            at_left = frame.position(*models[left].locate(rows[left], cols[left], frame.height_m))
            seen = models[k].project(lon, lat, height)
            at_right = frame.position(*models[k].locate(*seen, frame.height_m))
            matches = np.stack([*at_left, *at_right], axis=1)
            here = known & (matches > 0).all(axis=1) & (matches < max(frame.shape)).all(axis=1)
            fine, _ = refine(images[0], images[1], np.where(here[:, None], matches, -1.0))
            good = np.isfinite(fine).all(axis=1)
            rows[k, good], cols[k, good] = frame.right.at(fine[good, 2], fine[good, 3])
    return Ties(rows, cols)


def tie_points(
    left: View,
    right: View,
    ground: Sequence[Piece],
    *,
    heights_m: tuple[float, float],
    gsd_m: float,
) -> Ties:
    """Return pixels of two views that show the same ground, to a tenth of a pixel.

    *ground* lists pieces of ground (lon, lat of their corners) to look at; *heights_m* bounds
    the heights that are possible there.
    """
    found: list[Floats] = []
    most = min(MOST_CORNERS, max(FEWEST_CORNERS, CORNERS // max(len(ground), 1)))
    for lon, lat in ground:
        frame = rectify(
            left.model, right.model, lon, lat,
            heights_m=heights_m, height_m=0.5 * (heights_m[0] + heights_m[1]), gsd_m=gsd_m,
        )  # fmt: skip
        pair = [rectified(v, frame, s) for v, s in ((left, "left"), (right, "right"))]
        limit = frame.px_per_m * 0.5 * (heights_m[1] - heights_m[0]) + 4.0
        matches = _match_corners(pair[0], pair[1], limit, most)
        if len(matches) == 0:
            continue
        fine = _steadiest(*refine(pair[0], pair[1], matches))
        if len(fine) == 0:
            continue
        at_left = frame.left.at(fine[:, 0], fine[:, 1])
        at_right = frame.right.at(fine[:, 2], fine[:, 3])
        found.append(np.stack([*at_left, *at_right]))
    if not found:
        return Ties(np.empty((2, 0)), np.empty((2, 0)))
    r0, c0, r1, c1 = np.concatenate(found, axis=1)
    return Ties(np.stack([r0, r1]), np.stack([c0, c1]))


def _match_corners(left: Pixels, right: Pixels, limit_px: float, most: int) -> Floats:
    """Return matches (n, 4) as rectified row, col left and right; full-resolution pixels."""
    a, b = (_corners(image, most) for image in (left, right))
    if a is None or b is None:
        return np.empty((0, 4))
    (at_a, seen_a), (at_b, seen_b) = a, b
    best, top, second, back = _alike(at_a, seen_a, at_b, seen_b, BAND_PX, limit_px)
    mutual = (best >= 0) & (back[best] == np.arange(len(at_a))) & (top > ALIKE)
    # Lowe's ratio, on distances of unit vectors
    apart, others = (np.sqrt(np.maximum(2 - 2 * likeness, 0)) for likeness in (top, second))
    keep = mutual & (apart < CLEAR * others)
    if keep.sum() < ENOUGH:
        return np.empty((0, 4))
    pairs = np.concatenate([at_a[keep], at_b[best[keep]]], axis=1)
    offset = pairs[:, 2] - pairs[:, 0]
    centre = _mode(offset, width=1.5)
    if centre is None:
        return np.empty((0, 4))
    return np.asarray(pairs[np.abs(offset - centre) < 2.0])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _alike(at_a, seen_a, at_b, seen_b, band, limit):  # type: ignore[no-untyped-def]
    """Return for each corner of a: the most alike of b within reach, its likeness, that of …

    … the best other place, and for each corner of b the most alike of a. -1 where there is none.
    """
    best, back = np.full(len(at_a), -1), np.full(len(at_b), -1)
    top, second = np.full(len(at_a), -1.0), np.full(len(at_a), -1.0)
    back_top = np.full(len(at_b), -1.0)
    likeness = np.empty(len(at_b))
    for i in range(len(at_a)):
        for j in range(len(at_b)):
            likeness[j] = -1.0
            if abs(at_b[j, 0] - at_a[i, 0]) > band or abs(at_b[j, 1] - at_a[i, 1]) > limit:
                continue
            one, other = seen_a[i], seen_b[j]
            product = np.float32(0.0)
            for k in range(one.size):
                product += one[k] * other[k]
            likeness[j] = product
            if product > top[i]:
                best[i], top[i] = j, product
            if product > back_top[j]:
                back[j], back_top[j] = i, product
        for j in range(len(at_b)):
            if likeness[j] > second[i] and (
                abs(at_b[j, 0] - at_b[best[i], 0]) > 3.0 or abs(at_b[j, 1] - at_b[best[i], 1]) > 3.0
            ):
                second[i] = likeness[j]
    return best, top, second, back


def _mode(values: Floats, width: float) -> float | None:
    """Return the centre of the densest interval of 2·*width*, or None where none stands out."""
    values = np.sort(values)
    upto = np.searchsorted(values, values + 2 * width, side="right")
    counts = upto - np.arange(values.size)
    i = int(counts.argmax())
    chance = values.size * 2 * width / (2 * BAND_PX)
    if counts[i] < max(ENOUGH, 4.0 * chance):
        return None
    return float(np.median(values[i : upto[i]]))


def _corners(image: Pixels, most: int) -> tuple[Floats, Pixels] | None:
    """Return corners (row, col at full resolution) and what surrounds each, as unit vectors."""
    valid = np.isfinite(image)
    sample = image[::3, ::3][valid[::3, ::3]]
    if sample.size < 500:
        return None
    low, middle, high = np.percentile(sample, (0.5, 50.0, 99.5))
    if not high > low:
        return None
    filled = np.where(valid, image, np.float32(middle))
    half = cv2.resize(filled, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    bytes8 = np.clip((half - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    reach = 2 * SEEN_PX + 2
    rim = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    # nothing that a border or a gap is part of
    edge = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    inner = cv2.erode(valid.astype(np.uint8), rim, **edge)[::2, ::2]
    inner = np.ascontiguousarray(inner[: half.shape[0], : half.shape[1]])
    found = cv2.goodFeaturesToTrack(bytes8, most, CONTRAST, APART_PX, mask=inner)
    if found is None or len(found) < ENOUGH:
        return None
    col, row = found[:, 0].astype(int).T
    near = np.arange(-SEEN_PX, SEEN_PX + 1)
    weight = np.exp(-(near[:, None] ** 2 + near**2) / SEEN_PX**2).astype(np.float32)
    smooth = cv2.GaussianBlur(half, (0, 0), 0.7)
    seen = smooth[row[:, None, None] + near[:, None], col[:, None, None] + near]
    seen = seen - (seen * (weight / weight.sum())).sum(axis=(1, 2), keepdims=True)
    seen = (seen * np.sqrt(weight)).reshape(len(row), -1)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True) + np.float32(1e-6)
    return np.stack([row, col], axis=1) * 2.0 + 0.5, seen


def refine(left: Pixels, right: Pixels, matches: Floats) -> tuple[Floats, Floats]:
    """Return matches with their right positions refined, NaN rows where that fails, and doubts.

    A patch of 9×9 pixels around the left position is fitted to the right image by Gauss-Newton
    on row shift, column shift, stretch and shear along the row, gain and offset. The doubt grows
    with what is left over and with stretch and shear: the patch may lie across a height step,
    which also moves it across the rows, by tenths of a pixel and all to one side.
    """
    out, doubt = np.full(matches.shape, np.nan), np.full(len(matches), np.inf)
    _refine(
        np.ascontiguousarray(left, np.float32),
        np.ascontiguousarray(right, np.float32),
        np.ascontiguousarray(matches, np.float64),
        HALF_PATCH,
        out,
        doubt,
    )
    return out, doubt


def _steadiest(matches: Floats, doubt: Floats) -> Floats:
    """Return the least doubtful share of refined matches."""
    good = int(np.isfinite(doubt).sum())
    most = min(good, max(FEWEST_STEADY, round(STEADY * good)))
    return np.asarray(matches[np.argsort(doubt, kind="stable")[:most]])


@njit(cache=True, nogil=True, error_model="numpy")
def _cubic(t):  # type: ignore[no-untyped-def]
    """Return the four Catmull-Rom weights at a fraction, and their derivatives."""
    u = 1.0 - t
    return (
        (
            -0.5 * t * u * u,
            1.0 + t * t * (1.5 * t - 2.5),
            1.0 + u * u * (1.5 * u - 2.5),
            -0.5 * u * t * t,
        ),
        (
            -0.5 * u * (1.0 - 3.0 * t),
            t * (4.5 * t - 5.0),
            u * (5.0 - 4.5 * u),
            0.5 * t * (3.0 * t - 2.0),
        ),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _sample(image, y, x):  # type: ignore[no-untyped-def]
    """Catmull-Rom at (y, x) with its derivatives by row and column; the caller keeps inside."""
    i, j = int(y), int(x)
    wy, gy = _cubic(y - i)
    wx, gx = _cubic(x - j)
    value = dy = dx = 0.0
    for a in range(4):
        p, q, r, s = (
            image[i + a - 1, j - 1],
            image[i + a - 1, j],
            image[i + a - 1, j + 1],
            image[i + a - 1, j + 2],
        )
        along = wx[0] * p + wx[1] * q + wx[2] * r + wx[3] * s
        value += wy[a] * along
        dy += gy[a] * along
        dx += wy[a] * (gx[0] * p + gx[1] * q + gx[2] * r + gx[3] * s)
    return value, dy, dx


@njit(cache=True, nogil=True, error_model="numpy")
def _refine(left, right, matches, half, out, doubt):  # type: ignore[no-untyped-def]
    side = 2 * half + 1
    patch = np.empty(side * side)
    normal, step, j, p = np.empty((6, 6)), np.empty(6), np.empty(6), np.empty(6)
    for n in range(matches.shape[0]):
        y, x = matches[n, 0], matches[n, 1]
        if not (
            y > half + 2
            and x > half + 2
            and y < left.shape[0] - half - 3
            and x < left.shape[1] - half - 3
        ):
            continue
        k = 0
        for r in range(-half, half + 1):
            for c in range(-half, half + 1):
                patch[k], _, _ = _sample(left, y + r, x + c)
                k += 1
        spread = patch.std()
        if not spread > 0:
            continue
        # row, column, stretch, shear; then gain and offset
        p[:2], p[2:], p[4] = matches[n, 2:], 0.0, 1.0
        done = False
        fit = 1e30
        for _turn in range(25):
            normal[:], step[:] = 0.0, 0.0
            total = 0.0
            corner = half * (1.0 + abs(p[2]) + abs(p[3])) + 3.0
            if not (
                p[0] > half + 3
                and p[1] > corner
                and p[0] < right.shape[0] - half - 3
                and p[1] < right.shape[1] - corner
            ):
                break
            k = 0
            for r in range(-half, half + 1):
                for c in range(-half, half + 1):
                    at = p[1] + c * (1 + p[2]) + r * p[3]
                    value, dy, dx = _sample(right, p[0] + r, at)
                    e = patch[k] - (p[4] * value + p[5])
                    k += 1
                    total += e * e
                    j[0], j[1] = p[4] * dy, p[4] * dx
                    j[2], j[3] = p[4] * dx * c, p[4] * dx * r
                    j[4], j[5] = value, 1.0
                    for a in range(6):
                        step[a] += j[a] * e
                        for b in range(a + 1):
                            normal[a, b] += j[a] * j[b]
            if not np.isfinite(total):
                break
            fit = total / (side * side)
            for a in range(6):
                normal[a, a] *= 1.0 + 1e-6
            if not solved(normal, step):
                break
            move = np.sqrt(step[0] ** 2 + step[1] ** 2)
            if move > 1.0:
                step *= 1.0 / move
            p += step
            if move < 0.005:
                done = True
                break
        far = np.sqrt((p[0] - matches[n, 2]) ** 2 + (p[1] - matches[n, 3]) ** 2)
        alike = 1.0 - fit / (spread * spread)
        if done and far < 4.0 and alike > 0.64 and abs(p[2]) < 0.5 and abs(p[3]) < 0.5:
            out[n, 0], out[n, 1], out[n, 2], out[n, 3] = y, x, p[0], p[1]
            doubt[n] = 10.0 * (1.0 - alike) + 20.0 * (abs(p[2]) + abs(p[3]))
