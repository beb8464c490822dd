"""Roofs of houses with wings: the highest of several simple roofs, each over its own rectangle.

A rectilinear outline is taken apart into its largest rectangles. The largest is the main house;
another that sticks out of an earlier one on one side is a wing that ends at the earlier one's
middle, where its ridge is hidden. All share eaves and slope, or a wing is a flat annex with its own
height. For given wings that is linear in its unknowns, as a single roof of the bank is.

Without wings, MAE over the union of true surfaces is .003 -> .071 m (`village`) and .004 -> .049 m
(`quarter`), without annexes .032 and .004; from our own stereo neither costs more than .002 m.
Eaves and slope of its own for each wing changed RMSE of four true scenes and two of ours by .001.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.systems import solved
from processes.roofs.blur import Flat, Seen, as_shown, bic, middle_near
from processes.roofs.heights import rings_of
from processes.roofs.planes import Planes

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

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
STEEPEST = 2.5
FLATTEST = 0.17
"""Slopes, metres a metre, that a roof may have."""
SLOPED = ("gable", "hip")
KINDS = ("flat", *SLOPED, "shed")
FLAT, HIP, SHED = (KINDS.index(kind) for kind in ("flat", "hip", "shed"))
GOOD_M = 0.1
"""A roof that explains its cells this well need not be looked for further."""
SCALES_M = (0.8, 0.4, 0.2, 0.1, 0.05)
"""Least scatter allowed, step by step: trees must not pull a small annex off all its cells."""
SURE = 0.98
"""Share of what a cell shows that must come from the wings."""
LEAST_STEP_M = 0.8
"""Flat roofs that differ less are one."""


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


@dataclass(frozen=True)
class Wing:
    """A simple roof over its rectangle."""

    corners: Floats
    planes: Planes


@dataclass(frozen=True)
class Winged:
    """The best explanation of a roof by wings."""

    type: str
    wings: tuple[Wing, ...]
    pitch_deg: float
    rmse_m: float
    share: float
    score: float

    @property
    def lowest_m(self) -> float:
        """The level of the lowest wing."""
        return min(float(wing.planes.coefficients[:, 2].min()) for wing in self.wings)


@dataclass(frozen=True)
class _Trial:
    """A fitted roof over one plan, before its planes are drawn."""

    plan: Sequence[Rectangle]
    kinds: Sequence[str]
    score: float
    rmse_m: float
    share: float
    level: Floats
    slope: Floats

    def roof(self) -> Winged:
        every = zip(self.plan, self.kinds, self.level.tolist(), self.slope.tolist(), strict=True)
        return Winged(
            self.kinds[0],
            tuple(Wing(wing.corners, wing.planes(*fitted)) for wing, *fitted in every),
            float(np.degrees(np.arctan(self.slope[0]))),
            self.rmse_m,
            self.share,
            self.score,
        )


def fit_wings(outline: BaseGeometry, cells: Seen, coarsest_m: float) -> Winged | None:
    """Return the best roof of at least two wings, or None where the outline has none."""
    found: list[_Trial] = []
    for plan in _plans(outline):
        if len(plan) > 1 and not any(trial.rmse_m < GOOD_M for trial in found):
            found += _explained(plan, cells, coarsest_m)
    return min(found, key=lambda trial: trial.score).roof() if found else None


def rectangles(outline: BaseGeometry) -> list[Rectangle]:
    """Return the main house and its wings; nothing where the outline is not made of rectangles."""
    return next(_plans(outline), [])


def _plans(outline: BaseGeometry) -> Iterator[list[Rectangle]]:
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


Box = tuple[float, float, float, float]


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


def _explained(plan: Sequence[Rectangle], cells: Seen, coarsest_m: float) -> list[_Trial]:
    """Return roofs over one plan: those whose wings are alike, then the better with annexes."""
    others = len(plan) - 1
    found = _tried(plan, [(kind,) * len(plan) for kind in (*SLOPED, "flat")], cells, coarsest_m)
    if any(trial.rmse_m < GOOD_M for trial in found):
        return found
    sloped = [trial for trial in found if trial.kinds[0] != "flat"]
    better = [min(sloped, key=lambda trial: trial.score).kinds[0]] if sloped else SLOPED
    annexes = [
        (kind, *annex, *((kind,) * (others - len(annex))))
        for kind in better
        for annex in list(product(("flat", kind), repeat=min(others, 3)))[:-1]
    ]
    found += _tried(plan, annexes, cells, coarsest_m)
    main = plan[0]
    for _ in range(4):
        sheds = [("shed", *(("flat",) * others))]
        found += _tried([main, *plan[1:]], sheds, cells, coarsest_m)
        main = main.turned()
    return found


def _tried(
    plan: Sequence[Rectangle], kinds: Sequence[tuple[str, ...]], cells: Seen, coarsest_m: float
) -> list[_Trial]:
    """Return the least-squares roofs over one plan, of each row of *kinds* that makes a roof."""
    xy = np.column_stack([cells.x, cells.y])
    uv = np.array([(xy - wing.middle) @ wing.axes for wing in plan])
    half = np.array([wing.half for wing in plan])
    rows = np.array([[KINDS.index(kind) for kind in row] for row in kinds])
    measures, level, slope = _fitted(uv, half, rows, cells.flat, coarsest_m)
    return [
        _Trial(plan, kinds[row], score, rmse_m, share, level[row], slope[row])
        for row, (score, rmse_m, share) in enumerate(measures.tolist())
        if score < np.inf
    ]


@njit(cache=True, nogil=True, error_model="numpy")
def _fitted(
    uv: Floats, half: Floats, kinds: NDArray[np.int64], seen: Flat, coarsest_m: float
) -> tuple[Floats, Floats, Floats]:
    """Return score, RMSE and share within *coarsest_m* of each row of *kinds*, levels and slopes.

    *uv* (wing, cell, 2) is where cells lie along and across each wing; the rise of a kind is the
    horizontal distance from its eaves. The score is infinite where a row makes no roof.
    """
    wings, cells = uv.shape[:2]
    row, col, weight, _, _, asked, z = seen
    sharp = (row, col, weight, 0.0, 0.0, asked, z)  # a surface keeps walls, it rounds creases
    measures = np.full((len(kinds), 3), np.inf)
    levels, slopes = np.zeros(kinds.shape), np.zeros(kinds.shape)
    inside, rises = np.empty((wings, cells), np.bool_), np.empty((wings, cells))
    for trial in range(len(kinds)):
        sloped = kinds[trial] != FLAT
        # the wings of a group share their eaves and slope: all but flat ones
        group, groups = np.zeros(wings, np.int64), 1 if sloped.any() else 0
        for wing in range(wings):
            if not sloped[wing]:
                group[wing], groups = groups, groups + 1
            along, across = half[wing]
            for i in range(cells):
                u, v = abs(uv[wing, i, 0]), abs(uv[wing, i, 1])
                inside[wing, i] = (u <= along + 1e-6) & (v <= across + 1e-6)
                rise = across + uv[wing, i, 1] if kinds[trial, wing] == SHED else across - v
                rises[wing, i] = min(rise, along - u) if kinds[trial, wing] == HIP else rise
        unknowns = groups + (1 if sloped.any() else 0)
        shown = seen if sloped.any() else sharp
        level, slope, residual = _solved(inside, rises, sloped, group, unknowns, shown)
        if len(residual) == 0:
            continue
        if (((slope < FLATTEST) | (slope > STEEPEST)) & sloped).any():
            continue
        if not sloped.any() and np.ptp(level) < LEAST_STEP_M:
            continue
        cost, within = 0.0, 0
        for off in residual:
            cost += min(abs(off), coarsest_m) ** 2 / len(residual)
            within += abs(off) <= coarsest_m
        measures[trial, 0] = bic(cost, len(residual), unknowns)
        measures[trial, 1], measures[trial, 2] = np.sqrt(cost), within / len(residual)
        levels[trial], slopes[trial] = level, slope
    return measures, levels, slopes


@njit(cache=True, nogil=True, error_model="numpy")
def _solved(
    inside: Flags,
    rises: Floats,
    sloped: Flags,
    group: NDArray[np.int64],
    unknowns: int,
    seen: Flat,
) -> tuple[Floats, Floats, Floats]:
    """Return the level and slope of each wing, and the residuals, none where cells are too few.

    The highest wing is seen; which that is follows from the answer, so it is solved again.
    """
    wings, cells = inside.shape
    z = seen[-1]
    slope: Floats = np.where(sloped, 0.6, 0.0)
    level = _first_levels(inside, np.expand_dims(slope, 1) * rises, seen)
    residual = np.empty(0)
    top, before = np.full(cells, -1), np.full(cells, -1)
    for _ in range(5):
        for i in range(cells):
            highest = -np.inf
            for wing in range(wings):
                height = level[wing] + slope[wing] * rises[wing, i]
                if inside[wing, i] and height > highest:
                    highest, top[i] = height, wing
        if (top == before).all():
            break
        before[:] = top
        system, known, column = np.zeros((len(z), unknowns)), np.zeros(len(z)), 0
        names = np.empty((unknowns, 2), np.int64)
        for number in range(group.max() + 1):
            slopes = sloped[group == number][0]
            mine, rise = np.zeros(cells), np.zeros(cells)
            for i in range(cells):
                if top[i] >= 0 and group[top[i]] == number:
                    mine[i], rise[i] = 1.0, rises[top[i], i]
            system[:, column] = as_shown(mine, seen)
            known += system[:, column]
            names[column] = number, 0
            if slopes:
                system[:, column + 1] = as_shown(rise, seen)
                names[column + 1] = number, 1
            column += 1 + slopes
        which = np.flatnonzero(known > SURE)
        if len(which) < 3 * unknowns:
            return level, slope, np.empty(0)
        system = system[which]
        for column in range(unknowns):
            if not system[:, column].any():
                return level, slope, np.empty(0)
        answer, residual = robust(system, z[which])
        for column in range(unknowns):
            for wing in range(wings):
                if group[wing] == names[column, 0]:
                    (slope if names[column, 1] else level)[wing] = answer[column]
    return level, slope, residual


@njit(cache=True, nogil=True, error_model="numpy")
def _first_levels(inside: Flags, rise_m: Floats, seen: Flat) -> Floats:
    """Return the eaves that each wing's cells suggest: those under it alone, or all there are."""
    z = seen[-1]
    level = np.full(len(inside), np.median(z))
    alone = inside.sum(axis=0) == 1
    for wing in range(len(inside)):
        mine = inside[wing] & alone
        if not mine.any():
            mine = inside[wing]
        asked = as_shown(mine.astype(np.float64), seen) > SURE
        if asked.any():
            rise = as_shown(np.where(mine, rise_m[wing], 0.0), seen)
            level[wing] = np.median(z[asked] - rise[asked])
    return level


@njit(cache=True, nogil=True, error_model="numpy")
def robust(system: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Return the reweighted least-squares answer (Tukey) and the residuals."""
    cells, unknowns = system.shape
    weight = np.ones(cells)
    answer, residual, spare = np.zeros(unknowns), z.copy(), np.empty(cells)
    middle = np.inf
    for least_m in SCALES_M:
        normal, right = 1e-9 * np.eye(unknowns), np.zeros(unknowns)
        for i in range(cells):
            for j in range(unknowns):
                weighted = weight[i] * system[i, j]
                right[j] += weighted * z[i]
                for k in range(unknowns):
                    normal[j, k] += weighted * system[i, k]
        if not solved(normal, right):
            break
        answer[:] = right
        for i in range(cells):
            residual[i] = z[i]
            for j in range(unknowns):
                residual[i] -= system[i, j] * answer[j]
        middle = middle_near(np.abs(residual), middle, spare)
        scale = max(1.4826 * middle, least_m)
        weight[:] = np.maximum(1 - (residual / (4.685 * scale)) ** 2, 0.0) ** 2
    return answer, residual
