"""Roofs of houses with wings: the highest of several simple roofs, each over its own rectangle.

All wings of a plan (`plans.py`) share eaves and slope, or a wing is a flat annex with its own
height. For given wings that is linear in its unknowns, as a single roof of the bank is.

Without wings, MAE over the union of true surfaces is .003 -> .071 m (`village`) and .004 -> .049 m
(`quarter`), without annexes .032 and .004; from our own stereo neither costs more than .002 m.
Eaves and slope of its own for each wing changed RMSE of four true scenes and two of ours by .001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.systems import solved
from processes.roofs.blur import Flat, Seen, as_shown, bic, middle_near
from processes.roofs.planes import Planes
from processes.roofs.plans import Rectangle, plans

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

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
    for plan in plans(outline):
        if len(plan) > 1 and not any(trial.rmse_m < GOOD_M for trial in found):
            found += _explained(plan, cells, coarsest_m)
    return min(found, key=lambda trial: trial.score).roof() if found else None


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
