"""From labelled cells to outlines: groups of touching parts, their contours and wall lines.

Coordinates are x (column) and y (row) in cells, integers are cell centres. A line is a row
(nx, ny, d) with the unit normal n and n · p = d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.outlines.regions import labelled, windows

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

FINE = 4
"""Contours are followed on a lattice this many times finer."""
PAD_PX = 4
PEAK_PX = 0.25
"""Width of the bins in which wall length is gathered."""


@dataclass(frozen=True)
class Group:
    """Parts that touch each other: 0 is outside, 1 … n are buildings that may share walls."""

    labels: NDArray[np.int32]
    row0: int
    col0: int

    @property
    def parts(self) -> int:
        return int(self.labels.max())


@dataclass(frozen=True)
class Contour:
    """Where building meets not-building: points and the smoothed step at each, both (n, 2)."""

    points: Floats
    steps: Floats
    rings: tuple[Floats, ...]

    @property
    def lengths(self) -> Floats:
        return np.hypot(self.steps[:, 0], self.steps[:, 1])


def joined(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return groups numbered from 1: building cells that touch, even across a corner or a gap."""
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    names, _ = labelled(near, across_corners=True)
    return np.where(mask, names, np.int32(0))


def groups(labels: Labels) -> Iterator[Group]:
    """Yield every set of parts that touch, or nearly (one cell), as its own small raster."""
    names = joined(labels > 0)
    for number, box in enumerate(windows(names), start=1):
        own = np.where(names[box] == number, labels[box], 0)
        parts, own = np.unique(own, return_inverse=True)
        own = own.reshape(names[box].shape).astype(np.int32)
        if parts[0] != 0:
            own += 1
        yield Group(np.pad(own, PAD_PX), box[0].start - PAD_PX, box[1].start - PAD_PX)


def contour(mask: NDArray[np.bool_]) -> Contour:
    """Return the outline of a mask to a fraction of a cell, holes included."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)
    size = (mask.shape[1] * FINE, mask.shape[0] * FINE)
    fine = (cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR) > 0.5).astype(np.uint8)
    found, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings, points, steps = [], [], []
    for ring in found:
        if len(ring) < 3 * FINE:
            continue
        xy, step = _smooth(ring[:, 0, :])
        rings.append(xy)
        points.append(xy)
        steps.append(step)
    if not rings:
        return Contour(np.zeros((0, 2)), np.zeros((0, 2)), ())
    return Contour(np.concatenate(points), np.concatenate(steps), tuple(rings))


def _moved(outline: Contour, x: float, y: float) -> Contour:
    """Return an outline elsewhere."""
    by = np.array([x, y], float)
    rings = tuple(ring + by for ring in outline.rings)
    return Contour(outline.points + by, outline.steps, rings)


@njit(cache=True, nogil=True)
def _smooth(ring: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Return the points of a ring of fine cells in cells, each the mean of FINE, and the steps."""
    size, span = len(ring), FINE + FINE // 2
    mean, points, steps = np.empty((size, 2)), np.empty((size, 2)), np.empty((size, 2))
    for at in range(size):
        for axis in range(2):
            total = 0
            for near in range(at - FINE // 2, at + FINE - FINE // 2):
                total += ring[near % size, axis]
            mean[at, axis] = (total / FINE + 0.5) / FINE - 0.5
    for at in range(size):
        steps[at] = (mean[(at + span) % size] - mean[(at - span) % size]) / (2 * span)
        # OpenCV follows the centres of the border cells, building on the left: the edge is
        # half a fine cell further out
        out = 0.5 / FINE / max(np.hypot(steps[at, 0], steps[at, 1]), 1e-9)
        points[at, 0] = mean[at, 0] - steps[at, 1] * out
        points[at, 1] = mean[at, 1] + steps[at, 0] * out
    return points, steps


def all_contours(group: Group) -> Contour:
    """Return the outlines of all parts together; a wall between two parts counts for both."""
    own = []
    for part, box in enumerate(windows(group.labels), start=1):
        # blurred edges fit in, and groups are padded by as much
        top, left = (max(side.start - PAD_PX, 0) for side in box)
        near = np.s_[top : box[0].stop + PAD_PX, left : box[1].stop + PAD_PX]
        own.append(_moved(contour(group.labels[near] == part), left, top))
    return Contour(
        np.concatenate([c.points for c in own]),
        np.concatenate([c.steps for c in own]),
        tuple(ring for c in own for ring in c.rings),
    )


def orientation(outline: Contour, *, fine_rad: float = np.radians(0.25)) -> float:
    """Return the angle in [0, π/2) to which most walls are parallel or square.

    It maximises the sum of squares of the histograms of wall length along both axes: walls that
    share a line add up to sharp peaks only when the axes are theirs.
    """
    coarse = np.radians(np.arange(0.0, 90.0, 2.0))
    best = coarse[int(np.argmax(_sharpness(outline.points, outline.steps, coarse, 2)))]
    near = best + np.arange(-8, 9) * fine_rad
    best = near[int(np.argmax(_sharpness(outline.points, outline.steps, near, 1)))]
    return _mean_direction(outline, float(best)) % (np.pi / 2)


def axis_lines(outline: Contour, angle: float, cell_m: float, min_wall_m: float = 2.0) -> Floats:
    """Return the lines parallel or square to *angle* that carry walls of some length."""
    found = []
    for normal, along in _axes(angle):
        position = outline.points @ normal
        length = _aligned(outline, along)
        for d in _peaks(position, length, cell_m, min_wall_m):
            found.append((normal[0], normal[1], d))
    return np.array(found).reshape(-1, 3)


def edge_lines(outline: Contour, angle: float, cell_m: float, min_wall_m: float = 2.0) -> Floats:
    """Return a fitted line for each straight stretch of the outline, whatever its direction.

    Stretches within 7° of the main axes are left out: `axis_lines` has them.
    """
    found = _stretches(outline, 0.6 / cell_m)
    turn = (np.arctan2(found[:, 1], found[:, 0]) - angle) % (np.pi / 2)
    oblique = np.minimum(turn, np.pi / 2 - turn) > np.radians(7)
    lines = found[oblique & (found[:, 3] * cell_m >= min_wall_m), :3]
    return without_twins(np.ascontiguousarray(lines), outline, 0.8 / cell_m)


def without_twins(lines: Floats, outline: Contour, apart_px: float) -> Floats:
    """Return lines of which no two nearly coincide within the outline; the earlier stays."""
    if len(lines) < 2 or not len(outline.points):
        return lines
    low, high = outline.points.min(axis=0), outline.points.max(axis=0)
    kept = _untwinned(lines, (low + high) / 2, float(np.hypot(*(high - low))) / 2, apart_px)
    return np.asarray(lines[kept])


@njit(cache=True, nogil=True)
def _untwinned(lines: Floats, middle: Floats, radius: float, apart_px: float) -> NDArray[np.bool_]:
    kept = np.ones(len(lines), np.bool_)
    for index in range(len(lines)):
        nx, ny, d = lines[index]
        here = nx * middle[0] + ny * middle[1] - d
        for other in range(index):
            if not kept[other]:
                continue
            cosine = nx * lines[other, 0] + ny * lines[other, 1]
            turn = np.arccos(min(abs(cosine), 1.0))
            there = lines[other, 0] * middle[0] + lines[other, 1] * middle[1] - lines[other, 2]
            apart = abs(here - there * np.sign(cosine)) + turn * radius / 2
            if turn < np.radians(6) and apart < apart_px:
                kept[index] = False
                break
    return kept


def _axes(angle: float) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    u = np.array([np.cos(angle), np.sin(angle)])
    v = np.array([-u[1], u[0]])
    return (u, v), (v, u)


def _aligned(outline: Contour, along: Floats) -> Floats:
    """Return per point the wall length that runs along a direction; oblique walls count little."""
    length = np.maximum(outline.lengths, 1e-9)
    cosine = np.abs(outline.steps @ along) / length
    return np.asarray(length * np.clip((cosine - 0.85) / 0.13, 0.0, 1.0))


@njit(cache=True, nogil=True, error_model="numpy")
def _sharpness(points: Floats, steps: Floats, angles: Floats, stride: int) -> Floats:
    """Return for each angle how sharply wall length gathers in bins of half a cell.

    Of the points one in *stride* is asked.
    """
    sharp = np.zeros(len(angles))
    place = np.empty(len(points))
    for index in range(len(angles)):
        for axis in range(2):
            turn = angles[index] + axis * np.pi / 2
            nx, ny = np.cos(turn), np.sin(turn)
            low, high = np.inf, -np.inf
            for at in range(0, len(points), stride):
                place[at] = 2 * (points[at, 0] * nx + points[at, 1] * ny)
                low, high = min(low, place[at]), max(high, place[at])
            counts = np.zeros(int(high - low) + 1)
            for at in range(0, len(points), stride):
                counts[int(place[at] - low)] += abs(steps[at, 1] * nx - steps[at, 0] * ny)
            before = 0.0
            for count in counts:
                sharp[index] += count * (count + before)
                before = count
    return sharp


def _mean_direction(outline: Contour, angle: float) -> float:
    """Return the mean direction, modulo 90°, of the straight stretches within 8° of an angle.

    Fitted stretches, not steps: those of a raster prefer its axes.
    """
    found = _stretches(outline, 1.2)
    turn = (np.arctan2(found[:, 1], found[:, 0]) - angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
    near = np.abs(turn) < np.radians(8)
    if not near.any():
        return angle
    return angle + float(np.average(turn[near], weights=found[near, 3] ** 2))


def _stretches(outline: Contour, tolerance_px: float) -> Floats:
    """Return (nx, ny, d, length in cells) of each straight stretch of the outline, fitted."""
    found = [_fitted(ring, _corners(ring, tolerance_px)) for ring in outline.rings]
    return np.concatenate([np.empty((0, 4)), *found])


def _peaks(position: Floats, length: Floats, cell_m: float, min_wall_m: float) -> Floats:
    """Return where wall length gathers: greedily the strongest, each taking 0.6 m either side."""
    if not len(position):
        return np.zeros(0)
    reach = max(1, round(0.6 / cell_m / PEAK_PX))
    return np.asarray(_gathered(position, length, reach, min_wall_m / cell_m))


@njit(cache=True, nogil=True)
def _gathered(position: Floats, length: Floats, reach: int, least: float) -> Floats:
    low, half = position.min() - 4, reach // 2
    counts = np.zeros(int((position.max() - low) / PEAK_PX) + 16)
    for at in range(len(position)):
        counts[int((position[at] - low) / PEAK_PX)] += length[at]
    found = np.empty(40)
    for number in range(len(found)):
        top, most = 0, -1.0
        for at in range(len(counts)):
            gathered = counts[max(at - half, 0) : at + half + 1].sum()
            if gathered > most:
                top, most = at, gathered
        if most < least:
            return found[:number]
        centre = weight = 0.0
        for at in range(max(top - half, 0), min(top + half + 1, len(counts))):
            centre, weight = centre + at * counts[at], weight + counts[at]
        found[number] = low + PEAK_PX * (centre / weight + 0.5)
        counts[max(top - reach, 0) : top + reach + 1] = 0
    return found


def _corners(ring: Floats, tolerance_px: float) -> NDArray[np.int64]:
    """Return the indices of ring points that Douglas and Peucker keep."""
    scaled = np.round(ring * 64).astype(np.int32)
    kept = cv2.approxPolyDP(scaled[:, None, :], tolerance_px * 64, True)[:, 0, :]
    return np.asarray(_places(scaled, kept))


@njit(cache=True, nogil=True)
def _places(ring: NDArray[np.int32], kept: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return, sorted, where the points that were kept lie in their ring, of twins the first."""
    found = np.empty(len(kept), np.int64)
    at = 0
    for index in range(len(kept)):
        # they come in the ring's order, but for where they begin
        for _ in range(len(ring)):
            if ring[at, 0] == kept[index, 0] and ring[at, 1] == kept[index, 1]:
                break
            at = (at + 1) % len(ring)
        found[index] = at
    return np.unique(found)


@njit(cache=True, nogil=True, error_model="numpy")
def _fitted(ring: Floats, corners: NDArray[np.int64]) -> Floats:
    """Return (nx, ny, d, length) of the lines of least squared distance between corners.

    Very short ones are left out.
    """
    found = np.empty((len(corners), 4))
    count = 0
    for index in range(len(corners)):
        start, stop = corners[index], corners[(index + 1) % len(corners)]
        size = (stop - start) % len(ring) + 1
        if size == 1:
            size = len(ring) + 1
        length = np.hypot(ring[stop, 0] - ring[start, 0], ring[stop, 1] - ring[start, 1])
        # the ends are rounded by the blur
        cut = size // 8
        number = size - 2 * cut
        if number < 3 or length <= 1.0:
            continue
        x = y = 0.0
        for at in range(cut, size - cut):
            x += ring[(start + at) % len(ring), 0]
            y += ring[(start + at) % len(ring), 1]
        x, y = x / number, y / number
        xx = xy = yy = 0.0
        for at in range(cut, size - cut):
            dx = ring[(start + at) % len(ring), 0] - x
            dy = ring[(start + at) % len(ring), 1] - y
            xx, xy, yy = xx + dx * dx, xy + dx * dy, yy + dy * dy
        along = 0.5 * np.arctan2(2 * xy, xx - yy)
        nx, ny = np.sin(along), -np.cos(along)
        found[count] = nx, ny, nx * x + ny * y, length
        count += 1
    return found[:count]
