"""Tie points between images: what pointing is measured with.

Satellites know their attitude to a few pixels. Across the epipolar lines that error stops every
matcher, along them it is height; so it is measured before anything is matched densely, and
undone by a bundle adjustment (`adjust`):

1. images are resampled to epipolar grids by the sensor models as given, at half resolution, and
   SIFT features are matched within the heights the models allow and a broad band of rows;
2. the commonest row difference is the pair's error across; matches that keep to it are refined at
   full resolution by least squares (Gruen, 1985: shift, stretch and shear along the row, gain,
   offset), which is good to about 0.1 px each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from processes.stereo.adjust import ENOUGH, Ties, adjust
from processes.stereo.epipolar import EpipolarFrame, rectify, resample
from processes.stereo.rpc import RpcModel
from processes.stereo.triangulate import intersect

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

BAND_PX = 100.0
"""Largest error across the epipolar lines that is looked for."""
WINDOW_PX = 600
"""Side of a piece of ground in which tie points are sought."""
FEATURES, FEWEST_FEATURES = 8000, 1000
"""How many features are sought in all pieces of an image together, and in one at least."""
MOST_FEATURES = 4000
"""… and at most: their comparison takes time and memory with the square."""
HALF_PATCH = 4


@dataclass(frozen=True)
class View:
    """One image as stereo needs it: its sensor model and a way to read it."""

    id: str
    model: RpcModel
    shape: tuple[int, int]
    read: Callable[[int, int, int, int], Pixels]
    """(row0, col0, height, width) → (bands, height, width), NaN where there is nothing."""


def rectified(view: View, frame: EpipolarFrame, side: str) -> Pixels:
    """Return a view's luminance, the mean of its bands, on a frame; *side* is "left" or "right"."""
    lattice = frame.left if side == "left" else frame.right
    row0, col0, height, width = lattice.window(view.shape)
    if height <= 0 or width <= 0:
        return np.full(frame.shape, np.nan, np.float32)
    bands = view.read(row0, col0, height, width)
    grey = bands.mean(axis=0, dtype=np.float32)[None]
    return np.asarray(resample(grey, lattice, frame.shape, (row0, col0))[0])


Piece = tuple[Floats, Floats]
"""Longitudes and latitudes of the corners of a piece of ground."""


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
    for k in set(range(len(views))) - set(pair):
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
            fine = refine(images[0], images[1], np.where(here[:, None], matches, -1.0))
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
    features = min(MOST_FEATURES, max(FEWEST_FEATURES, FEATURES // max(len(ground), 1)))
    for lon, lat in ground:
        frame = rectify(
            left.model, right.model, lon, lat,
            heights_m=heights_m, height_m=0.5 * (heights_m[0] + heights_m[1]), gsd_m=gsd_m,
        )  # fmt: skip
        pair = [rectified(v, frame, s) for v, s in ((left, "left"), (right, "right"))]
        limit = frame.px_per_m * 0.5 * (heights_m[1] - heights_m[0]) + 4.0
        matches = _match_features(pair[0], pair[1], limit, features)
        if len(matches) == 0:
            continue
        fine = refine(pair[0], pair[1], matches)
        fine = fine[np.isfinite(fine).all(axis=1)]
        if len(fine) == 0:
            continue
        at_left = frame.left.at(fine[:, 0], fine[:, 1])
        at_right = frame.right.at(fine[:, 2], fine[:, 3])
        found.append(np.stack([*at_left, *at_right]))
    if not found:
        return Ties(np.empty((2, 0)), np.empty((2, 0)))
    r0, c0, r1, c1 = np.concatenate(found, axis=1)
    return Ties(np.stack([r0, r1]), np.stack([c0, c1]))


def _match_features(left: Pixels, right: Pixels, limit_px: float, most: int) -> Floats:
    """Return matches (n, 4) as rectified row, col left and right; full-resolution pixels."""
    a, b = (_features(image, most) for image in (left, right))
    if a is None or b is None:
        return np.empty((0, 4))
    (at_a, desc_a), (at_b, desc_b) = a, b
    likeness = desc_a @ desc_b.T
    drow = at_b[None, :, 0] - at_a[:, None, 0]
    dcol = at_b[None, :, 1] - at_a[:, None, 1]
    likeness[(np.abs(drow) > BAND_PX) | (np.abs(dcol) > limit_px)] = -1.0
    best = likeness.argmax(axis=1)
    n = np.arange(len(at_a))
    top = likeness[n, best]
    mutual = (likeness.argmax(axis=0)[best] == n) & (top > 0.5)
    # Lowe's ratio on distances of unit vectors; neighbours of the best itself do not count.
    rest = likeness.copy()
    near = (np.abs(at_b[None, :, 0] - at_b[best][:, None, 0]) < 3.0) & (
        np.abs(at_b[None, :, 1] - at_b[best][:, None, 1]) < 3.0
    )
    rest[near] = -1.0
    second = rest.max(axis=1)
    clear = np.sqrt(np.maximum(2 - 2 * top, 0)) < 0.85 * np.sqrt(np.maximum(2 - 2 * second, 0))
    keep = mutual & clear
    if keep.sum() < ENOUGH:
        return np.empty((0, 4))
    offset = (at_b[best, 0] - at_a[:, 0])[keep]
    centre = _mode(offset, width=1.5)
    if centre is None:
        return np.empty((0, 4))
    pairs = np.concatenate([at_a[keep], at_b[best[keep]]], axis=1)
    return np.asarray(pairs[np.abs(offset - centre) < 2.0])


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


def _features(image: Pixels, most: int) -> tuple[Floats, Pixels] | None:
    """Return SIFT positions (row, col at full resolution) and unit descriptors."""
    valid = np.isfinite(image)
    if valid.sum() < 4096:
        return None
    low, high = np.percentile(image[valid], (0.5, 99.5))
    if not high > low:
        return None
    filled = np.where(valid, image, np.float32(np.median(image[valid])))
    half = cv2.resize(filled, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    bytes8 = np.clip((half - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    sift = cv2.SIFT.create(nfeatures=most, contrastThreshold=0.02)
    points, descriptors = sift.detectAndCompute(bytes8, None)
    if descriptors is None or len(points) < ENOUGH:
        return None
    at = np.array([(p.pt[1], p.pt[0]) for p in points]) * 2.0 + 0.5
    inner = distance_transform_edt(valid)
    cell = np.clip(np.rint(at).astype(int), 0, np.array(image.shape) - 1)
    keep = inner[cell[:, 0], cell[:, 1]] > 2 * HALF_PATCH + 4
    if keep.sum() < ENOUGH:
        return None
    unit = np.sqrt(
        descriptors[keep] / (np.abs(descriptors[keep]).sum(axis=1, keepdims=True) + 1e-9)
    )
    return at[keep], unit.astype(np.float32)


def refine(left: Pixels, right: Pixels, matches: Floats) -> Floats:
    """Return matches with their right positions refined; NaN rows where that fails.

    A patch of 9×9 pixels around the left position is fitted to the right image by Gauss-Newton
    on row shift, column shift, stretch and shear along the row, gain and offset.
    """
    out = np.full(matches.shape, np.nan)
    _refine(
        np.ascontiguousarray(left, np.float32),
        np.ascontiguousarray(right, np.float32),
        np.ascontiguousarray(matches, np.float64),
        HALF_PATCH,
        out,
    )
    return out


@njit(cache=True, nogil=True)
def _sample(image, y, x):  # type: ignore[no-untyped-def]
    """Catmull-Rom at (y, x) with its derivatives by row and column; the caller keeps inside."""
    i, j = int(np.floor(y)), int(np.floor(x))
    v, u = y - i, x - j
    wy = np.empty(4)
    wx = np.empty(4)
    gy = np.empty(4)
    gx = np.empty(4)
    for w, g, t in ((wy, gy, v), (wx, gx, u)):
        w[0] = 0.5 * (-t + 2 * t * t - t * t * t)
        w[1] = 0.5 * (2 - 5 * t * t + 3 * t * t * t)
        w[2] = 0.5 * (t + 4 * t * t - 3 * t * t * t)
        w[3] = 0.5 * (-t * t + t * t * t)
        g[0] = 0.5 * (-1 + 4 * t - 3 * t * t)
        g[1] = 0.5 * (-10 * t + 9 * t * t)
        g[2] = 0.5 * (1 + 8 * t - 9 * t * t)
        g[3] = 0.5 * (-2 * t + 3 * t * t)
    value = dy = dx = 0.0
    for a in range(4):
        for b in range(4):
            p = image[i + a - 1, j + b - 1]
            value += wy[a] * wx[b] * p
            dy += gy[a] * wx[b] * p
            dx += wy[a] * gx[b] * p
    return value, dy, dx


@njit(cache=True, nogil=True)
def _refine(left, right, matches, half, out):  # type: ignore[no-untyped-def]
    side = 2 * half + 1
    patch = np.empty(side * side)
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
        if not np.isfinite(patch.sum()):
            continue
        mean = patch.mean()
        spread = np.sqrt(((patch - mean) ** 2).mean())
        if not spread > 0:
            continue
        # row, column, stretch, shear; then gain and offset
        p = np.array([matches[n, 2], matches[n, 3], 0.0, 0.0, 1.0, 0.0])
        done = False
        fit = 1e30
        for _turn in range(25):
            normal = np.zeros((6, 6))
            rhs = np.zeros(6)
            j = np.empty(6)
            k = 0
            total = 0.0
            inside = True
            for r in range(-half, half + 1):
                for c in range(-half, half + 1):
                    yy = p[0] + r
                    xx = p[1] + c * (1 + p[2]) + r * p[3]
                    if not (
                        yy > 1 and xx > 1 and yy < right.shape[0] - 3 and xx < right.shape[1] - 3
                    ):
                        inside = False
                        break
                    value, dy, dx = _sample(right, yy, xx)
                    e = patch[k] - (p[4] * value + p[5])
                    k += 1
                    total += e * e
                    j[0], j[1] = p[4] * dy, p[4] * dx
                    j[2], j[3] = p[4] * dx * c, p[4] * dx * r
                    j[4], j[5] = value, 1.0
                    for a in range(6):
                        rhs[a] += j[a] * e
                        for b in range(a, 6):
                            normal[a, b] += j[a] * j[b]
                if not inside:
                    break
            if not inside or not np.isfinite(total):
                break
            fit = total / (side * side)
            for a in range(6):
                for b in range(a):
                    normal[a, b] = normal[b, a]
                normal[a, a] *= 1.0 + 1e-6
                if normal[a, a] == 0.0:
                    inside = False
            if not inside or abs(np.linalg.det(normal / np.trace(normal))) == 0.0:
                break
            step = np.linalg.solve(normal, rhs)
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
