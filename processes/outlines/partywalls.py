"""Straight cuts through a block of houses, and what is to be seen on their two sides.

A block is laid so that cuts are columns. At each position from edge to edge the two sides are
compared: roof heights, each side extended as a plane to the cut so that slopes and ridges are no
steps; brightness; colour as log ratios, which shading hardly changes. Medians along the cut:
chimneys and noise average out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

HEIGHT, BRIGHTNESS, COLOUR = 0, 1, 2
"""Rows of what a cut is judged by."""


@dataclass(frozen=True)
class Reach:
    """Which cells are asked on either side of a cut, metres."""

    window_m: float = 2.0
    blur_m: float = 0.75
    """Cells this close to the cut are not asked."""
    least_depth_m: float = 3.2
    """Of houses on both sides of a cut."""
    least_length_m: float = 4.5
    shallow: float = 0.45
    """Depth behind a cut, relative to its length, below which it is not looked at …"""
    shallow_m: float = 6.0
    """… unless it is so deep in metres."""


@dataclass(frozen=True)
class Runs:
    """Cuts of one direction, one a row of each array; NaN where nothing is known."""

    ends: Floats
    """From (x, y) to (x, y) in cells of the block, (n, 2, 2)."""
    col: Floats
    """Position across the cuts, cells."""
    rows: Floats
    """From where to where along them, cells (n, 2)."""
    depth: Floats
    """Median of the cells behind the cut on the shallower side."""
    extent: Floats
    """Median of the cells on both sides together."""
    crease: Floats
    """Change of slope, metres a metre."""
    ridge: Floats
    """How steeply the roof falls away to both sides, metres a metre: the gentler of the two."""
    step: Floats
    """Median difference: metres, log brightness, log ratios; (n, 3)."""
    error: Floats
    """Standard error of each."""
    agreed: Floats
    """Share of places along the cut that step the same way."""


def scan(mask: Mask, features: Floats, angle: float, cell_m: float, reach: Reach) -> Runs:
    """Return every cut square to a direction, from edge to edge.

    *features* are height and, where known, log brightness and log ratios, (feature, row, col).
    """
    turn, size = _rotation(mask, angle)
    back = cv2.invertAffineTransform(turn)
    inside, turned = _turned(mask, features, back, size)
    window = max(2, round(reach.window_m / cell_m))
    skip = max(1, round(reach.blur_m / cell_m))
    steps = _steps(turned, inside, window, skip, max(1, round(reach.least_depth_m / cell_m)))
    shortest = max(4, round(reach.least_length_m / cell_m))
    found = _runs(steps, inside, shortest, reach.shallow, reach.shallow_m / cell_m)
    corners = np.stack(
        [
            np.stack([found[:, 0] - 0.5, found[:, 1] - 2.0], axis=1),
            np.stack([found[:, 0] - 0.5, found[:, 2] + 1.0], axis=1),
        ],
        axis=1,
    )
    return Runs(
        ends=corners @ back[:, :2].T + back[:, 2],
        col=found[:, 0],
        rows=found[:, 1:3],
        depth=found[:, 3],
        extent=found[:, 4],
        crease=found[:, 5] / cell_m,
        ridge=found[:, 6] / cell_m,
        step=found[:, 7::3],
        error=found[:, 8::3],
        agreed=found[:, 9::3],
    )


def _rotation(mask: Mask, angle: float) -> tuple[Floats, tuple[int, int]]:
    """Return the affine that lays *angle* along the columns, and the size that holds the mask."""
    c, s = np.cos(angle), np.sin(angle)
    y, x = np.nonzero(mask)
    along, across = c * x + s * y, c * y - s * x
    low = np.array([along.min(), across.min()]) - 2
    turn = np.array([[c, s, -low[0]], [-s, c, -low[1]]])
    return turn, (int(np.ptp(along)) + 6, int(np.ptp(across)) + 6)


@njit(cache=True, nogil=True, error_model="numpy")
def _turned(
    mask: Mask, features: Floats, back: Floats, size: tuple[int, int]
) -> tuple[Mask, NDArray[np.float32]]:
    """Return mask and features on the turned lattice (width, height), each cell of four."""
    cols, rows = size
    kinds, high, wide = features.shape
    inside = np.zeros((rows, cols), np.bool_)
    turned = np.full((kinds, rows, cols), np.nan, np.float32)
    for row in range(rows):
        for col in range(cols):
            x = back[0, 0] * col + back[0, 1] * row + back[0, 2]
            y = back[1, 0] * col + back[1, 1] * row + back[1, 2]
            left, top = int(np.floor(x)), int(np.floor(y))
            if left < 0 or top < 0 or left + 1 >= wide or top + 1 >= high:
                continue
            across, down = np.float32(x - left), np.float32(y - top)
            a, b = (1 - across) * (1 - down), across * (1 - down)
            c, d = (1 - across) * down, across * down
            share = a * mask[top, left] + b * mask[top, left + 1]
            share += c * mask[top + 1, left] + d * mask[top + 1, left + 1]
            inside[row, col] = share > 0.5
            if not inside[row, col]:
                continue  # no one asks there
            for kind in range(kinds):
                values = features[kind]
                value = a * values[top, left] + b * values[top, left + 1]
                value += c * values[top + 1, left] + d * values[top + 1, left + 1]
                turned[kind, row, col] = value
    return inside, turned


@njit(cache=True, nogil=True, error_model="numpy")
def _means(total: Floats, count: NDArray[np.int32], window: int, margin: int, out: Floats) -> None:
    """Write at *margin* + i the mean of *window* cells from i on; NaN where under half are known.

    *total* and *count* are those of the known cells before each; a window may stick out.
    """
    last = len(total) - 1
    for at in range(len(out)):
        start = min(max(at - margin, 0), last)
        stop = min(max(at - margin + window, 0), last)
        number = count[stop] - count[start]
        known = number > 0 and 2 * number >= window
        out[at] = (total[stop] - total[start]) / number if known else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _steps(features: Floats, inside: Mask, window: int, skip: int, least: int) -> Floats:
    """Return (feature, row, col): the difference across the gap before a column.

    After the features come the crease, what the slopes of the two sides make of the gap, and the
    ridge. Slopes are read far from the gap where the houses are wide enough: stereo smears a step
    over metres.
    What is not there any more further on, a stripe or a skylight, is nought.
    """
    kinds, rows, cols = features.shape
    out = np.full((kinds + 4, rows, cols), np.nan, np.float32)
    half, long = max(1, window // 2), round(1.5 * max(1, window // 2))
    margin = skip + 2 * max(window, long)
    near_by = np.empty((3, cols + 2 * margin))  # means over window, half and long
    total, count = np.zeros(cols + 1), np.zeros(cols + 1, np.int32)
    left, right = np.zeros(cols + 1, np.int32), np.zeros(cols + 1, np.int32)
    for row in range(rows):
        for col in range(1, cols):
            left[col] = left[col - 1] + 1 if inside[row, col - 1] else 0
        for col in range(cols - 1, -1, -1):
            right[col] = right[col + 1] + 1 if inside[row, col] else 0
        for kind in range(kinds):
            base = 0.0
            for col in range(cols):
                value = features[kind, row, col]
                known = inside[row, col] and np.isfinite(value)
                # heights are large numbers: their sums are not
                if known and count[col] == 0:
                    base = value
                total[col + 1] = total[col] + (value - base if known else 0.0)
                count[col + 1] = count[col] + (1 if known else 0)
            _means(total, count, window, margin, near_by[0])
            if kind == 0:
                _means(total, count, half, margin, near_by[1])
                _means(total, count, long, margin, near_by[2])
            for col in range(1, cols):
                if min(left[col], right[col]) < least:
                    continue
                mean, at = near_by[0], col + margin
                near = mean[at + skip] - mean[at - skip - window]
                far = mean[at + skip + window] - mean[at - skip - 2 * window]
                if far * near < 0.25 * near * near:
                    near = 0.0
                if kind > 0:
                    out[kind, row, col] = near
                    continue
                wide = window if min(left[col], right[col]) >= skip + 2 * window - 1 else half
                mean = near_by[0] if wide == window else near_by[1]
                inner_l, inner_r = mean[at - skip - wide], mean[at + skip]
                slope_l = (inner_l - mean[at - skip - 2 * wide]) / wide
                slope_r = (mean[at + skip + wide] - inner_r) / wide
                out[0, row, col] = inner_r - inner_l
                out[kinds + 1, row, col] = slope_l * (2 * skip + wide)
                out[kinds + 2, row, col] = slope_r * (2 * skip + wide)
                mean = near_by[2]
                slope_l = mean[at - skip - long] - mean[at - skip - 2 * long]
                slope_r = mean[at + skip + long] - mean[at + skip]
                out[kinds, row, col] = (slope_r - slope_l) / long
                out[kinds + 3, row, col] = min(slope_l, -slope_r) / long
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _depths(inside: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return how many columns one gets back from a column, and on from it, without leaving.

    Straight on or askew: a wing that leaves the wall at a slant is not shallow.
    """
    rows, cols = inside.shape
    behind, ahead = np.zeros((rows, cols), np.int32), np.zeros((rows, cols), np.int32)
    one = np.zeros((2, rows), np.int32)
    for slant in (0, -1, 1, -2, 2):
        for side in range(2):
            one[0, :] = 0
            for at in range(1, cols):
                col = at if side == 0 else cols - at
                cell = col - 1 if side == 0 else col
                for row in range(rows):
                    come = row + slant
                    if not inside[row, cell]:
                        one[1, row] = 0
                    elif 0 <= come < rows:
                        one[1, row] = one[0, come] + 1
                    else:
                        one[1, row] = 1
                one[0, :] = one[1, :]
                for row in range(rows):
                    if side == 0:
                        behind[row, col] = max(behind[row, col], one[1, row])
                    else:
                        ahead[row, col] = max(ahead[row, col], one[1, row])
    return behind, ahead


@njit(cache=True, nogil=True, error_model="numpy")
def _judged(values: Floats, entry: Floats) -> None:
    """Write median, its standard error, and the share of values of the median's sign."""
    middle = np.median(values)
    scatter = 1.4826 * np.median(np.abs(values - middle))
    # neighbouring rows are correlated: one in three is independent
    entry[0], entry[1] = middle, 1.25 * scatter / max(len(values) / 3.0, 1.0) ** 0.5
    entry[2] = np.mean(values * np.sign(middle) > 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _runs(steps: Floats, inside: Mask, shortest: int, shallow: float, shallow_px: float) -> Floats:
    """Return (col, first row, last row, depth, extent, crease, ridge, …) of each cut."""
    kinds, rows, cols = steps.shape[0] - 4, steps.shape[1], steps.shape[2]
    behind, ahead = _depths(inside)
    depth = np.minimum(behind, ahead)
    found = []
    for col in range(1, cols):
        row = 0
        while row < rows:
            if depth[row, col] == 0:
                row += 1
                continue
            first = row
            while row < rows and depth[row, col] > 0:
                row += 1
            length = row - first
            if length < shortest:
                continue
            middle = np.median(depth[first:row, col])
            if middle < min(shallow * length, shallow_px):
                continue
            entry = np.full(16, np.nan)
            entry[0], entry[1], entry[2], entry[3] = col, first, row, middle
            entry[4] = np.median(behind[first:row, col]) + np.median(ahead[first:row, col])
            asked = False
            values = steps[0, first:row, col]
            known = np.isfinite(values + steps[kinds + 1, first:row, col])
            known &= np.isfinite(steps[kinds + 2, first:row, col])
            if known.sum() >= 0.7 * length:
                values = values[known]
                left = np.median(steps[kinds + 1, first:row, col][known])
                right = np.median(steps[kinds + 2, first:row, col][known])
                low, high = min(left, right, 0.0), max(left, right, 0.0)
                rise = np.median(values)
                # what no slope between those of the two sides explains
                explained = high if rise > high else (low if rise < low else rise)
                _judged(values - explained, entry[7:10])
                asked = True
            if kinds > 1:
                values = steps[1, first:row, col]
                values = values[np.isfinite(values)]
                if len(values) >= 0.7 * length:
                    _judged(values, entry[10:13])
                    asked = True
            if kinds > 2:
                tint = np.zeros(kinds - 2)
                for kind in range(2, kinds):
                    values = steps[kind, first:row, col]
                    values = values[np.isfinite(values)]
                    tint[kind - 2] = np.median(values) if len(values) >= 0.7 * length else np.nan
                size = np.sqrt(np.sum(tint * tint))
                if size > 0:
                    # along the direction in which the colours differ
                    values = np.zeros(length)
                    for kind in range(2, kinds):
                        values += steps[kind, first:row, col] * tint[kind - 2] / size
                    _judged(values[np.isfinite(values)], entry[13:16])
                    asked = True
            if not asked:
                continue
            slopes = steps[kinds, first:row, col]
            slopes = slopes[np.isfinite(slopes)]
            if len(slopes):
                entry[5] = abs(np.median(slopes))
                falls = steps[kinds + 3, first:row, col]
                entry[6] = np.median(falls[np.isfinite(falls)])
            found.append(entry)
    out = np.zeros((len(found), 16))
    for index in range(len(found)):
        out[index] = found[index]
    return out
