"""A bank of simple roofs, and which of them a building has.

Over the rectangle around an outline, with u along its longer and v along its shorter side, every
roof of the bank is z = z0 + t·f(u, v), where f is the least of a few planes. That is linear in
its two unknowns, so each fits in a few robust steps; the Bayesian information criterion chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from processes.roofs.blur import Seen, bic
from processes.roofs.planes import Planes

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

COARSEST_M = 1.0
"""Residuals beyond this are dormers, chimneys and trees: they count as this much."""
MOST_RMSE_M = 0.6
FLAT_RMSE_M = 0.35
"""Above this, a roof that looks flat is only one that the bank does not hold."""
LEAST_SHARE = 0.8
LEAST_RECTANGULAR = 0.85
FLATTEST_DEG = {"shed": 5.0, "gable": 10.0, "hip": 10.0, "pyramid": 10.0}
"""A roof that slopes less is called flat: tiles would leak, and blurred walls look like that."""
SQUARE, ODD = 1.2, 3
"""Pyramids stand over plans whose sides differ by no more than this factor; over others one must
say as much more than a hip as so many unknowns would, since blurred hips look like pyramids."""


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


def fit_roof(outline: BaseGeometry, cells: Seen) -> Roof | None:
    """Return the roof of the bank that explains *cells* best, or None where none does well.

    Only flat and shed roofs stand over outlines that fill less than 85 % of their rectangle.
    """
    frame = _frame(outline)
    rectangular = outline.area / max(4 * float(np.prod(frame.half)), 1e-9)
    uv = (np.column_stack([cells.x, cells.y]) - frame.middle) @ frame.axes
    best, least = None, np.inf
    for kind, shape in _bank(*frame.half):
        if kind not in ("flat", "shed") and rectangular < LEAST_RECTANGULAR:
            continue
        f = cells((uv @ shape[:, :2].T + shape[:, 2]).min(axis=1))
        level, rise = _robust(f, cells.z)
        planes = _planes(shape, level, rise, frame)
        if kind != "flat" and _pitch(planes) < FLATTEST_DEG[kind]:
            continue
        if kind not in ("flat", "shed") and rise <= 0:
            continue
        residual = np.abs(cells.z - level - rise * f)
        cost = float(np.mean(np.minimum(residual, COARSEST_M) ** 2))
        odd = kind == "pyramid" and frame.half[0] > SQUARE * frame.half[1]
        score = bic(cost, len(f), (1 if kind == "flat" else 2) + ODD * odd)
        if score < least:
            share = float((residual <= COARSEST_M).mean())
            best, least = Roof(kind, planes, _pitch(planes), np.sqrt(cost), share, score), score
    if best is None or best.share < LEAST_SHARE:
        return None
    return best if best.rmse_m <= (FLAT_RMSE_M if best.type == "flat" else MOST_RMSE_M) else None


def _bank(a: float, b: float) -> list[tuple[str, NDArray[np.float64]]]:
    """Return each roof's planes (rows of u, v and constant) over half sides *a* ≥ *b*."""
    across = [(0, 1 / b, 1), (0, -1 / b, 1)]
    along = [(1 / a, 0, 1), (-1 / a, 0, 1)]
    ends = [(1 / b, 0, a / b), (-1 / b, 0, a / b)]
    shapes = [
        ("flat", [(0, 0, 0)]),
        ("shed", [(0, 1 / b, 0)]),
        ("shed", [(1 / a, 0, 0)]),
        ("gable", across),
        ("gable", along),
        ("hip", across + ends),
        ("pyramid", across + along),
    ]
    return [(kind, np.array(planes, float)) for kind, planes in shapes]


def _robust(f: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[float, float]:
    """Return level and rise of z ≈ level + rise·f, by reweighted least squares (Tukey)."""
    weight = np.ones_like(z)
    level, rise = float(np.median(z)), 0.0
    for _ in range(20):
        before = level, rise
        total = max(float(weight.sum()), 1e-9)
        middle_f, middle_z = float(weight @ f) / total, float(weight @ z) / total
        spread = float(weight @ (f - middle_f) ** 2)
        slope = float(weight @ ((f - middle_f) * (z - middle_z)))
        rise = slope / spread if spread > 1e-9 else 0.0
        level = middle_z - rise * middle_f
        residual = z - level - rise * f
        scale = max(1.4826 * float(np.median(np.abs(residual))), 0.05)
        weight = np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, None) ** 2
        if max(abs(before[0] - level), abs(before[1] - rise)) < 1e-4:
            break
    return level, rise


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


def _planes(shape: NDArray[np.float64], level: float, rise: float, frame: _Frame) -> Planes:
    slopes = rise * shape[:, :2] @ frame.axes.T
    coefficients = np.column_stack([slopes, level + rise * shape[:, 2]])
    return Planes(coefficients, (float(frame.middle[0]), float(frame.middle[1])))


def _pitch(planes: Planes) -> float:
    steepest = np.hypot(*planes.coefficients[:, :2].T).max()
    return float(np.degrees(np.arctan(steepest)))
