"""The plan of a house with wings: its outline taken apart into the largest rectangles.

The largest is the main house; another that sticks out of an earlier one on one side is a wing that
ends at the earlier one's middle, where its ridge is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.roofs.heights import rings_of
from processes.roofs.planes import Planes

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Box = tuple[float, float, float, float]

MERGE_M = 0.4
"""Walls closer to one line than this are one wall."""
ALMOST = 0.6
"""A rectangle this large beside the largest may be the main house: a long one may be both."""
MOST_LINES = 14
MOST_WINGS = 5
LEAST_WING_M2 = 5.0
LEAST_WIDTH_M = 2.0
LEAST_EXPLAINED = 0.93
"""Share of the outline that the rectangles must cover, and that of them that must lie in it."""


@dataclass(frozen=True)
class Rectangle:
    """A wing in plan: middle, half sides along and across its ridge, and the ridge's direction."""

    middle: Floats
    half: tuple[float, float]
    axes: Floats
    """(2, 2): the unit vectors along and across the ridge as columns."""

    def planes(self, kind: str, level: float, slope: float) -> Planes:
        """Return the planes whose lowest is the wing's roof."""
        a, b = self.half
        sides = [(0.0, slope, slope * b), (0.0, -slope, slope * b)]
        if kind == "shed":
            sides = sides[:1]
        if kind == "hip":
            sides += [(slope, 0.0, slope * a), (-slope, 0.0, slope * a)]
        rows = np.array([(0.0, 0.0, 0.0)] if kind == "flat" else sides)
        coefficients = np.column_stack([rows[:, :2] @ self.axes.T, level + rows[:, 2]])
        return Planes(coefficients, (float(self.middle[0]), float(self.middle[1])))

    def turned(self) -> Rectangle:
        """Return the same rectangle with its ridge a right angle further round."""
        along, across = self.axes.T
        return Rectangle(self.middle, self.half[::-1], np.column_stack([across, -along]))

    @property
    def corners(self) -> Floats:
        signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        return np.asarray(self.middle + (signs * self.half) @ self.axes.T)


def rectangles(outline: BaseGeometry) -> list[Rectangle]:
    """Return the main house and its wings; nothing where the outline is not made of rectangles."""
    return next(plans(outline), [])


def plans(outline: BaseGeometry) -> Iterator[list[Rectangle]]:
    """Yield the rectangles of an outline with the largest as the main house, then the second."""
    import shapely

    if not isinstance(outline, shapely.Polygon):
        return
    corners, ring = rings_of(outline)
    angle = _direction(corners, ring)
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    chosen, common_m2, covered_m2 = _chosen(corners @ axes, ring)
    boxes: list[Box] = [tuple(box) for box in chosen.tolist()]
    if not boxes or common_m2 < LEAST_EXPLAINED * max(outline.area, covered_m2):
        return
    yield [_placed(box, along, axes) for box, along in _cut(boxes)]
    if len(boxes) > 1 and _area(boxes[1]) > ALMOST * _area(boxes[0]):
        swapped = [boxes[1], boxes[0], *boxes[2:]]
        yield [_placed(box, along, axes) for box, along in _cut(swapped)]


def direction(outline: BaseGeometry) -> float:
    """Return the direction of most of the walls, modulo a right angle."""
    return float(_direction(*rings_of(outline)))


@njit(cache=True, nogil=True, error_model="numpy")
def _direction(corners: Floats, ring: NDArray[np.int64]) -> float:
    total = 0j
    for i in range(len(corners) - 1):
        if ring[i] == ring[i + 1]:
            edge = complex(corners[i + 1, 0] - corners[i, 0], corners[i + 1, 1] - corners[i, 1])
            length = max(abs(edge), 1e-9)
            total += length * (edge / length) ** 4
    return float(np.angle(total)) / 4


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


@njit(cache=True, nogil=True, error_model="numpy")
def _chosen(corners: Floats, ring: NDArray[np.int64]) -> tuple[Floats, float, float]:
    """Return the largest rectangles between the walls' lines that cover an outline, largest first.

    Their corners are xmin, ymin, xmax, ymax; then comes how much of the outline they cover, m²,
    and how much they cover.
    """
    xs, ys = _merged(corners[:, 0]), _merged(corners[:, 1])
    found = np.empty((MOST_WINGS, 4))
    if max(len(xs), len(ys)) > MOST_LINES:
        return found[:0], 0.0, 0.0
    common = _shared(corners, ring, xs, ys)
    area = np.expand_dims(np.diff(xs), 1) * np.diff(ys)
    full = common > 0.5 * area
    left_over, covered = full.copy(), np.zeros(full.shape, np.bool_)
    count = 0
    while count < MOST_WINGS and left_over.any():
        i0, i1, j0, j1 = _largest(area, full, left_over)
        if (area * left_over)[i0:i1, j0:j1].sum() < LEAST_WING_M2:
            break
        left_over[i0:i1, j0:j1] = False
        if min(xs[i1] - xs[i0], ys[j1] - ys[j0]) >= LEAST_WIDTH_M:
            found[count] = xs[i0], ys[j0], xs[i1], ys[j1]
            covered[i0:i1, j0:j1] = True
            count += 1
    return found[:count], (common * covered).sum(), (area * covered).sum()


@njit(cache=True, nogil=True, error_model="numpy")
def _merged(values: Floats) -> Floats:
    """Return where lines run: the outer ones where they are, others in the middle of theirs."""
    ordered = np.sort(values)
    lines, start = np.empty(len(ordered) + 1), 0
    count = 0
    for end in range(1, len(ordered) + 1):
        if end == len(ordered) or ordered[end] - ordered[end - 1] > MERGE_M:
            lines[count] = ordered[start:end].mean()
            start, count = end, count + 1
    lines[0], lines[max(count, 2) - 1] = ordered[0], ordered[-1]
    return lines[: max(count, 2)]


@njit(cache=True, nogil=True, error_model="numpy")
def _shared(corners: Floats, ring: NDArray[np.int64], xs: Floats, ys: Floats) -> Floats:
    """Return the area that a polygon has in common with each box between lines.

    Under each side lies, in a box, the integral of the side's height held within the box; sides
    that run back are taken off.
    """
    found = np.zeros((len(xs) - 1, len(ys) - 1))
    start = 0
    while start < len(corners):
        end = start + 1
        while end < len(corners) and ring[end] == ring[start]:
            end += 1
        whole = 0.0
        for k in range(start, end - 1):
            whole += (corners[k + 1, 0] - corners[k, 0]) * (corners[k + 1, 1] + corners[k, 1])
        outer = start == 0
        sign = 1.0 if (whole > 0) == outer else -1.0
        for k in range(start, end - 1):
            x0, y0, x1, y1 = corners[k, 0], corners[k, 1], corners[k + 1, 0], corners[k + 1, 1]
            way = sign if x1 > x0 else -sign
            if x1 < x0:
                x0, y0, x1, y1 = x1, y1, x0, y0
            for i in range(len(xs) - 1):
                left, right = max(x0, xs[i]), min(x1, xs[i + 1])
                if right <= left:
                    continue
                slope = (y1 - y0) / (x1 - x0)
                first, last = y0 + slope * (left - x0), y0 + slope * (right - x0)
                for j in range(len(ys) - 1):
                    found[i, j] += way * (right - left) * _held(first, last, ys[j], ys[j + 1])
        start = end
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _held(first: float, last: float, low: float, high: float) -> float:
    """Return how far above *low* a line lies on the mean that is held between *low* and *high*."""
    a, b = min(first, last), max(first, last)
    if b <= low:
        return 0.0
    if a >= high:
        return high - low
    if b - a < 1e-12:
        return a - low
    within = min(b, high) - max(a, low)
    middle = (min(b, high) + max(a, low)) / 2 - low
    return (within * middle + max(b - high, 0.0) * (high - low)) / (b - a)


@njit(cache=True, nogil=True, error_model="numpy")
def _largest(area: Floats, full: Flags, left_over: Flags) -> tuple[int, int, int, int]:
    """Return first and past the last row and column of the full cells that cover most left over."""
    rows, cols = full.shape
    gain, best = 0.0, (0, 0, 0, 0)
    for i0 in range(rows):
        for j0 in range(cols):
            stop = cols
            for i1 in range(i0, rows):
                reach = j0
                while reach < stop and full[i1, reach]:
                    reach += 1
                stop = reach
                if stop == j0:
                    break
                value = 0.0
                for i in range(i0, i1 + 1):
                    for j in range(j0, stop):
                        # of two that explain the same the larger is the maximal one
                        value += area[i, j] * (left_over[i, j] + 1e-3)
                if value > gain:
                    gain, best = value, (i0, i1 + 1, j0, stop)
    return best


def _cut(boxes: Sequence[Box]) -> Iterator[tuple[Box, int]]:
    """Yield each rectangle, wings ended at the middle of what they stick out of, and its ridge."""
    for number, box in enumerate(boxes):
        own = list(box)
        along = 0 if own[2] - own[0] >= own[3] - own[1] else 1
        for other in boxes[:number]:
            for axis in (0, 1):
                low, high = other[axis], other[axis + 2]
                beside, past = other[1 - axis], other[3 - axis]
                apart = own[1 - axis] >= past or own[3 - axis] <= beside
                within = own[1 - axis] >= beside - MERGE_M and own[3 - axis] <= past + MERGE_M
                under, over = box[axis] < low - MERGE_M, box[axis + 2] > high + MERGE_M
                if apart or not within or under == over:
                    continue
                middle = (low + high) / 2
                if under and own[axis + 2] > middle > own[axis]:
                    own[axis + 2], along = middle, axis
                if over and own[axis] < middle < own[axis + 2]:
                    own[axis], along = middle, axis
        yield (own[0], own[1], own[2], own[3]), along


def _placed(box: Box, along: int, axes: Floats) -> Rectangle:
    low, high = np.array(box[:2]), np.array(box[2:])
    half = (high - low) / 2
    return Rectangle(
        axes @ ((low + high) / 2),
        (float(half[along]), float(half[1 - along])),
        axes[:, [along, 1 - along]],
    )
