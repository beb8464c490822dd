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
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

FINE = 4
"""Contours are followed on a lattice this many times finer."""
PAD_PX = 4


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
    names = ndimage.label(near, np.ones((3, 3)))[0]
    return np.where(mask, names, 0).astype(np.int32)


def groups(labels: Labels) -> Iterator[Group]:
    """Yield every set of parts that touch, or nearly (one cell), as its own small raster."""
    names = joined(labels > 0)
    for number, box in enumerate(ndimage.find_objects(names), start=1):
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
        xy = (ring[:, 0, :] + 0.5) / FINE - 0.5
        xy = ndimage.uniform_filter1d(xy, FINE, axis=0, mode="wrap")
        span = FINE + FINE // 2
        step = (np.roll(xy, -span, axis=0) - np.roll(xy, span, axis=0)) / (2 * span)
        # OpenCV follows the centres of the border cells, building on the left: the edge is
        # half a fine cell further out
        length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)
        xy = xy + np.stack([-step[:, 1], step[:, 0]], axis=1) / length[:, None] * (0.5 / FINE)
        rings.append(xy)
        points.append(xy)
        steps.append(step)
    if not rings:
        return Contour(np.zeros((0, 2)), np.zeros((0, 2)), ())
    return Contour(np.concatenate(points), np.concatenate(steps), tuple(rings))


def all_contours(group: Group) -> Contour:
    """Return the outlines of all parts together; a wall between two parts counts for both."""
    own = [contour(group.labels == part) for part in range(1, group.parts + 1)]
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
    best = coarse[int(np.argmax([_sharpness(outline, a, 2) for a in coarse]))]
    near = best + np.arange(-8, 9) * fine_rad
    best = near[int(np.argmax([_sharpness(outline, a, 1) for a in near]))]
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
    found = []
    for line, length in _stretches(outline, 0.6 / cell_m):
        turn = (np.arctan2(line[1], line[0]) - angle) % (np.pi / 2)
        if length * cell_m >= min_wall_m and min(turn, np.pi / 2 - turn) > np.radians(7):
            found.append(line)
    return without_twins(np.array(found).reshape(-1, 3), outline, 0.8 / cell_m)


def without_twins(lines: Floats, outline: Contour, apart_px: float) -> Floats:
    """Return lines of which no two nearly coincide within the outline; the earlier stays."""
    if len(lines) < 2 or not len(outline.points):
        return lines
    low, high = outline.points.min(axis=0), outline.points.max(axis=0)
    middle, radius = (low + high) / 2, float(np.hypot(*(high - low))) / 2
    kept: list[Floats] = []
    for line in lines:
        for other in kept:
            cosine = float(line[:2] @ other[:2])
            turn = np.arccos(min(abs(cosine), 1.0))
            here = line[:2] @ middle - line[2]
            there = (other[:2] @ middle - other[2]) * np.sign(cosine)
            if turn < np.radians(6) and abs(here - there) + turn * radius / 2 < apart_px:
                break
        else:
            kept.append(line)
    return np.array(kept)


def _axes(angle: float) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    u = np.array([np.cos(angle), np.sin(angle)])
    v = np.array([-u[1], u[0]])
    return (u, v), (v, u)


def _aligned(outline: Contour, along: Floats) -> Floats:
    """Return per point the wall length that runs along a direction; oblique walls count little."""
    length = np.maximum(outline.lengths, 1e-9)
    cosine = np.abs(outline.steps @ along) / length
    return np.asarray(length * np.clip((cosine - 0.85) / 0.13, 0.0, 1.0))


def _sharpness(outline: Contour, angle: float, every: int) -> float:
    total = 0.0
    for normal, along in _axes(angle):
        position = (outline.points[::every] @ normal) * 2
        bins = np.floor(position - position.min()).astype(int)
        weight = np.abs(outline.steps[::every] @ along)
        counts = np.bincount(bins, weight)
        total += float((counts**2).sum() + (counts[1:] * counts[:-1]).sum())
    return total


def _mean_direction(outline: Contour, angle: float) -> float:
    """Return the mean direction, modulo 90°, of the straight stretches within 8° of an angle.

    Fitted stretches, not steps: those of a raster prefer its axes.
    """
    turns, weights = [], []
    for line, length in _stretches(outline, 1.2):
        turn = (np.arctan2(line[1], line[0]) - angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
        if abs(turn) < np.radians(8):
            turns.append(turn)
            weights.append(length**2)
    if not turns:
        return angle
    return angle + float(np.average(turns, weights=weights))


def _stretches(outline: Contour, tolerance_px: float) -> Iterator[tuple[Floats, float]]:
    """Yield a fitted line and the length, in cells, of each straight stretch of the outline."""
    for ring in outline.rings:
        corners = _corners(ring, tolerance_px)
        for start, end in zip(corners, np.roll(corners, -1), strict=True):
            stretch = _between(ring, start, end)
            length = float(np.hypot(*(stretch[-1] - stretch[0])))
            # the ends are rounded by the blur
            cut = len(stretch) // 8
            if len(stretch) - 2 * cut >= 3 and length > 1.0:
                yield _fitted(stretch[cut : len(stretch) - cut]), length


def _peaks(position: Floats, length: Floats, cell_m: float, min_wall_m: float) -> list[float]:
    """Return where wall length gathers: greedily the strongest, each taking 0.6 m either side."""
    if not len(position):
        return []
    fine = 0.25
    low = position.min() - 4
    bins = ((position - low) / fine).astype(int)
    counts = np.bincount(bins, length, minlength=int(bins.max()) + 16)
    reach = max(1, round(0.6 / cell_m / fine))
    kernel = np.ones(2 * (reach // 2) + 1)
    found: list[float] = []
    while len(found) < 40:
        gathered = np.convolve(counts, kernel, "same")
        top = int(np.argmax(gathered))
        if gathered[top] * cell_m < min_wall_m:
            break
        near = slice(max(top - reach // 2, 0), top + reach // 2 + 1)
        weight = counts[near]
        centre = float((np.arange(near.start, near.start + len(weight)) * weight).sum())
        found.append(low + fine * (centre / weight.sum() + 0.5))
        counts[max(top - reach, 0) : top + reach + 1] = 0
    return found


def _corners(ring: Floats, tolerance_px: float) -> NDArray[np.intp]:
    """Return the indices of ring points that Douglas and Peucker keep."""
    scaled = np.round(ring * 64).astype(np.int32)
    kept = cv2.approxPolyDP(scaled[:, None, :], tolerance_px * 64, True)[:, 0, :]
    order = {tuple(point): index for index, point in enumerate(scaled.tolist())}
    return np.array(sorted({order[tuple(point)] for point in kept.tolist()}), np.intp)


def _between(ring: Floats, start: int, end: int) -> Floats:
    if end > start:
        return ring[start : end + 1]
    return np.concatenate([ring[start:], ring[: end + 1]])


def _fitted(points: Floats) -> Floats:
    """Return the line of least squared distance."""
    middle = points.mean(axis=0)
    _, _, axes = np.linalg.svd(points - middle, full_matrices=False)
    normal = axes[-1]
    return np.array([normal[0], normal[1], float(normal @ middle)])
