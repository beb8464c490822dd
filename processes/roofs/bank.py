"""A bank of simple roofs, and which of them a building has.

Over the rectangle around an outline, with u along its longer and v along its shorter side, every
roof of the bank is z = z0 + t·f(u, v), where f is the least of a few planes of slope one. That is
linear in its two unknowns, so each fits in a few robust steps. Outlines from images are half a
metre off on every side, so ridges may leave the middle where that explains the surface better.
The Bayesian information criterion chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.roofs.blur import FINEST_M, Flat, Seen, as_shown, bic, middle_near
from processes.roofs.planes import Planes

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

COARSEST_M = 1.0
"""Residuals beyond this are dormers, chimneys and trees: they count as this much."""
MOST_RMSE_M = 0.8
"""Of a roof, else a block stands for it. With 0.6 and a share of 0.8 blocks stood for roofs whose
surface is poor: MAE of `suburb2`, `village` and `hilly` .004 to .028 m more, mean pitch error .2 to
1.4°."""
FLAT_SCATTER_M = 0.35
"""Where most of the cells scatter more, a flat roof is only one that the bank does not hold."""
LEAST_SHARE = 0.6
GOOD_M = 0.1
"""A flat roof that explains its cells this well is one: any slope would leave more."""
LEAST_RECTANGULAR = 0.7
FLATTEST_DEG = {"flat": 0.0, "shed": 5.0, "gable": 12.0, "hip": 12.0, "pyramid": 12.0}
"""A roof that slopes less is called flat: tiles would leak, and blurred walls look like that."""
UNKNOWNS = {"flat": 1, "shed": 3, "gable": 2, "hip": 3, "pyramid": 3}
"""Level and slope; ends of ridges count for one more, since blurred gables look like hips.

A shed counts for one more too: where one slope of a gable was not seen it explains the other as
well, and it is rarer. Of 18 towns none names its roofs worse for it, `village` .914 → .931,
`suburb2` .836 → .846, `suburb5` .931 → .941.
"""
FALLING = ("flat", "shed")
"""Kinds that may fall either way."""
SQUARE, ODD = 1.2, 3
"""Pyramids stand over plans whose sides differ by no more than this factor; over others one must
say as much more than a hip as so many unknowns would, since blurred hips look like pyramids."""
STEPS_M = (1.0, 0.5, 0.25)
REORDERED = {"reassoc", "contract", "nsz"}
"""What the compiler may do to sums so that vectors add them up."""
MOST_MOVE_M, MOST_MOVE = 2.0, 0.5
"""How far a ridge may lie from where the outline says, metres and share of its narrower half."""


@dataclass(frozen=True)
class Roof:
    """One roof of the bank, fitted."""

    type: str
    planes: Planes
    pitch_deg: float
    """Of its steepest plane."""
    rmse_m: float
    """Of the cells, each counted as 1 m at most."""
    share: float
    """Of the cells within 1 m."""
    score: float = 0.0
    """Its information criterion: of two roofs for the same cells the lower is the better."""


@dataclass(frozen=True)
class _Frame:
    """The rectangle around an outline: middle, unit vectors and half sides, the longer first."""

    middle: NDArray[np.float64]
    axes: NDArray[np.float64]
    half: NDArray[np.float64]


ACROSS, ALONG = [(0, 1, 0), (0, -1, 0)], [(1, 0, 0), (-1, 0, 0)]
BANK: tuple[tuple[str, list[Any], list[Any]], ...] = (
    ("flat", [(0, 0, 0)], []),
    ("shed", ACROSS[:1], []),
    ("shed", ALONG[:1], []),
    ("gable", ACROSS, [(-1, 1)]),
    ("gable", ALONG, [(-1, 1)]),
    ("hip", ACROSS + ALONG, [(-1, 1, 0, 0), (0, 0, -1, 1), (0, 0, 1, 1)]),
    ("pyramid", ACROSS + ALONG, [(-1, 1, 0, 0), (0, 0, -1, 1)]),
)
"""Each roof over a square: its planes, and how its ridge can move.

Rows of planes are factors of u, of v, and a constant. A row of moves says what moving the ridge by
a metre adds to each plane's constant: across, along, and longer.
"""
PLANES, MOVES = np.zeros((len(BANK), 4, 3)), np.zeros((len(BANK), 3, 4))
for _number, (_, _planes, _moves) in enumerate(BANK):
    PLANES[_number, : len(_planes)] = _planes
    for _row, _move in enumerate(_moves):
        MOVES[_number, _row, : len(_move)] = _move
SIZES = np.array([(len(planes), len(moves)) for _, planes, moves in BANK])
FREE = np.array([UNKNOWNS[kind] for kind, _, _ in BANK])
SLOPING = np.array([np.tan(np.radians(FLATTEST_DEG[kind])) for kind, _, _ in BANK])
OVER_ANY = sum(kind in FALLING for kind, _, _ in BANK)
"""So many of the bank, the first ones, may stand over outlines that are no rectangles."""
HIP, PYRAMID = len(BANK) - 2, len(BANK) - 1


def fit_roof(outline: BaseGeometry, cells: Seen) -> Roof | None:
    """Return the roof of the bank that explains *cells* best, or None where none does well.

    Only flat and shed roofs stand over outlines that fill less than 70 % of their rectangle.
    """
    frame = _frame(outline)
    a, b = frame.half.tolist()
    rectangular = outline.area / max(4 * a * b, 1e-9) >= LEAST_RECTANGULAR
    uv = (np.column_stack([cells.x, cells.y]) - frame.middle) @ frame.axes
    number, level, rise, cost, share, score, shape = _best(uv, a, b, rectangular, cells.flat)
    rmse_m = float(np.sqrt(cost))
    if number < 0 or share < LEAST_SHARE:
        return None
    kind = BANK[number][0]
    if kind != "flat" and rmse_m > MOST_RMSE_M:
        return None
    slopes = rise * shape[:, :2]
    coefficients = np.column_stack([slopes @ frame.axes.T, level + rise * shape[:, 2]])
    planes = Planes(coefficients, (float(frame.middle[0]), float(frame.middle[1])))
    pitch_deg = float(np.degrees(np.arctan(np.hypot(*slopes.T).max())))
    return Roof(kind, planes, pitch_deg, rmse_m, share, score)


@njit(cache=True, nogil=True, error_model="numpy")
def _best(
    uv: Floats, a: float, b: float, rectangular: bool, seen: Flat
) -> tuple[int, float, float, float, float, float, Floats]:
    """Return the number in BANK of the best roof over half sides *a* ≥ *b*, -1 for none.

    Then come its level, rise, mean squared residual, share and score, and its planes.
    """
    most = min(MOST_MOVE_M, MOST_MOVE * b)
    middle = float(np.median(seen[-1]))
    best, score, fit = -1, np.inf, (0.0, 0.0, 0.0, 0.0)
    planes = np.zeros((0, 3))
    for number in range(len(PLANES) if rectangular else OVER_ANY):
        sides, ways = SIZES[number]
        shape, moves = PLANES[number, :sides].copy(), MOVES[number, :ways, :sides].copy()
        unknowns = FREE[number]
        if number == HIP:
            shape[2:, 2] = a - b
        if number == PYRAMID:
            shape[2:] *= b / a
            moves[1] *= b / a
            unknowns += ODD if a > SQUARE * b else 0
        falling = number < OVER_ANY
        found, trial, moved = _sought(uv, shape, moves, most, unknowns, falling, middle, seen)
        steepest = abs(found[1]) * np.hypot(shape[:, 0], shape[:, 1]).max()
        if trial < score and steepest >= SLOPING[number]:
            best, score, fit, planes = number, trial, found, moved
            if number == 0 and found[2] < GOOD_M**2:
                break
    if best == 0 and 1.4826 * np.median(np.abs(seen[-1] - fit[0])) > FLAT_SCATTER_M:
        best = -1
    return best, fit[0], fit[1], fit[2], fit[3], score, planes


@njit(cache=True, nogil=True, error_model="numpy")
def _sought(
    uv: Floats,
    shape: Floats,
    moves: Floats,
    most: float,
    unknowns: int,
    falling: bool,
    middle: float,
    seen: Flat,
) -> tuple[tuple[float, float, float, float], float, Floats]:
    """Return the fit of the best place of the ridge, its score, and the planes there.

    It is sought in ever smaller steps from the middle of the outline.

    Each move counts as an unknown. A *falling* roof may fall inwards, another only outwards.
    """
    cells = len(seen[-1])
    away = np.zeros(len(moves))
    tried = [away.copy()]
    best = fit_shape(uv, shape, middle, seen)
    best_planes = shape.copy()
    score = bic(best[2], cells, unknowns) if falling or best[1] > 0 else np.inf
    better_than = FINEST_M**2
    for step in STEPS_M:
        better = best[2] > better_than
        while better:
            better = False
            for axis in range(len(moves)):
                for way in (-step, step):
                    before = away[axis]
                    if abs(before + way) > most:
                        continue
                    away[axis] = before + way
                    if _among(away, tried):
                        away[axis] = before
                        continue
                    tried.append(away.copy())
                    planes = shape.copy()
                    moved = unknowns
                    for move in range(len(moves)):
                        planes[:, 2] += away[move] * moves[move]
                        moved += away[move] != 0
                    found = fit_shape(uv, planes, middle, seen)
                    trial = bic(found[2], cells, moved) if falling or found[1] > 0 else np.inf
                    if trial < score:
                        score, best, best_planes, better = trial, found, planes, True
                    else:
                        away[axis] = before
    return best, score, best_planes


@njit(cache=True, nogil=True, error_model="numpy")
def _among(place: Floats, places: Sequence[Floats]) -> bool:
    for other in places:  # noqa: SIM110  numba compiles no generators
        if (other == place).all():
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy", fastmath=REORDERED)
def fit_shape(
    uv: Floats,
    planes: Floats,
    middle: float,
    seen: Flat,
) -> tuple[float, float, float, float]:
    """Return level and rise of z ≈ level + rise·f, mean squared residual and share within 1 m.

    f is the least of *planes*, as the surface shows it. Reweighted least squares (Tukey), from
    the *middle* of all heights on.
    """
    z = seen[-1]
    every = np.empty(len(uv))
    for i in range(len(uv)):
        lowest = np.inf
        for k in range(len(planes)):
            lowest = min(lowest, planes[k, 0] * uv[i, 0] + planes[k, 1] * uv[i, 1] + planes[k, 2])
        every[i] = lowest
    f = as_shown(every, seen)
    level, rise, origin = middle, 0.0, middle
    weights, residual, spare = np.ones(len(z)), np.empty(len(z)), np.empty(len(z))
    usual = np.inf
    for _ in range(20):
        before_level, before_rise = level, rise
        total, sum_f, sum_z, sum_ff, sum_fz = 1e-9, 0.0, 0.0, 0.0, 0.0
        for i in range(len(z)):
            share, above = weights[i] * f[i], z[i] - origin
            total += weights[i]
            sum_f += share
            sum_z += weights[i] * above
            sum_ff += share * f[i]
            sum_fz += share * above
        spread = sum_ff - sum_f * sum_f / total
        rise = (sum_fz - sum_f * sum_z / total) / spread if spread > 1e-9 else 0.0
        level = origin + (sum_z - rise * sum_f) / total
        for i in range(len(z)):
            residual[i] = abs(z[i] - level - rise * f[i])
        usual = middle_near(residual, usual, spare)
        reach = 4.685 * max(1.4826 * usual, 0.05)
        for i in range(len(z)):
            weights[i] = max(1 - (residual[i] / reach) ** 2, 0.0) ** 2
        if max(abs(before_level - level), abs(before_rise - rise)) < 1e-3:
            break
    cost = (np.minimum(residual, COARSEST_M) ** 2).mean()
    return level, rise, float(cost), float((residual <= COARSEST_M).mean())


def _frame(outline: BaseGeometry) -> _Frame:
    import shapely

    corners = shapely.get_coordinates(shapely.oriented_envelope(outline))[:4]
    one, other = corners[1] - corners[0], corners[3] - corners[0]
    if np.hypot(*one) < np.hypot(*other):
        one, other = other, one
    long = np.hypot(*one)
    u = one / max(long, 1e-9)
    axes = np.column_stack([u, [-u[1], u[0]]])
    half = np.maximum(np.array([long, np.hypot(*other)]) / 2, 0.1)
    return _Frame(corners.mean(axis=0), axes, half)
