"""Plans and roofs of made-up buildings: what they cover, and how high each spot of them is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """A building as drawn: metres, radians; *along* runs with the longer side."""

    centre: tuple[float, float]
    turn: float
    length_m: float
    width_m: float
    eave_m: float
    kind: str
    """flat, gable, hip, shed, mansard or pyramid."""
    form: str
    """box, ell, tee, court, round, hexagon, saw or vault."""
    pitch: float
    material: int
    tint: float

    @property
    def reach_m(self) -> float:
        return 0.5 * float(np.hypot(self.length_m, self.width_m)) + 1.0

    def turned(self, turn: float, length_m: float, width_m: float) -> Plan:
        return replace(self, turn=turn, length_m=length_m, width_m=width_m)

    def tinted(self, tint: float) -> Plan:
        return replace(self, tint=tint)

    def covers(self, along: Floats, across: Floats) -> Mask:
        """Return which spots of its own frame the building covers."""
        half, side = self.length_m / 2, self.width_m / 2
        box = (np.abs(along) <= half) & (np.abs(across) <= side)
        if self.form == "ell":
            return np.asarray(box & ~((along > 0.1 * half) & (across > -0.1 * side)))
        if self.form == "tee":
            return np.asarray(box & ~((np.abs(along) > 0.4 * half) & (across > 0)))
        if self.form == "court":
            hole = (np.abs(along) < 0.45 * half) & (np.abs(across) < 0.45 * side)
            return np.asarray(box & ~hole)
        if self.form == "round":
            return np.asarray(np.hypot(along, across) <= half)
        if self.form == "hexagon":
            slant = 0.5 * np.abs(along) + 0.866 * np.abs(across)
            return np.asarray((np.abs(along) <= half * 0.9) & (slant <= half * 0.9))
        return np.asarray(box)


def roof_m(rng: Generator, plan: Plan, along: Floats, across: Floats, inside: Mask) -> Floats:
    """Return heights above the base; outside of the plan they mean nothing."""
    half, side = plan.length_m / 2, plan.width_m / 2
    if plan.form == "ell" and plan.kind not in ("flat", "shed"):
        side *= 0.45
        wing = across + 0.55 * plan.width_m / 2
        first = _pitched(plan, along, wing, half, side)
        second = _pitched(plan, across, along + 0.45 * half, plan.width_m / 2, 0.55 * half)
        rise = np.maximum(np.where(np.abs(wing) <= side, first, 0), second)
    else:
        rise = _pitched(plan, along, across, half, side)
    if plan.form == "saw":
        tooth = max(5.0, plan.length_m / 6)
        rise = 0.4 * np.mod(along + half, tooth)
    if plan.form == "vault":
        rise = 0.5 * side * np.sqrt(np.clip(1 - (across / side) ** 2, 0, 1))
    heights = plan.eave_m + np.clip(rise, 0, 9)
    if plan.kind == "flat" and rng.random() < 0.4:
        heights = heights + rng.uniform(0.3, 1.1) * _rim(plan, along, across)
    if plan.kind == "flat" and plan.length_m > 14 and rng.random() < 0.35:
        # a part that is higher or lower
        cut = rng.uniform(-0.6, 0.6) * half
        heights = heights + np.where(along > cut, rng.uniform(-0.35, 0.5) * plan.eave_m, 0)
    return np.asarray(heights, np.float32)


def _pitched(plan: Plan, along: Floats, across: Floats, half: float, side: float) -> Floats:
    slope = np.tan(plan.pitch)
    from_side = side - np.abs(across)
    from_end = half - np.abs(along)
    if plan.kind == "gable":
        return np.asarray(slope * from_side)
    if plan.kind == "hip":
        return np.asarray(slope * np.minimum(from_side, from_end))
    if plan.kind == "pyramid":
        return np.asarray(slope * np.minimum(from_side, from_end * side / half))
    if plan.kind == "shed":
        return np.asarray(min(slope, 0.35) * (across + side))
    if plan.kind == "mansard":
        return np.asarray(np.minimum(2.2 * np.minimum(from_side, from_end), 2.8 + 0.3 * from_side))
    return np.zeros(across.shape, np.float32)


def _rim(plan: Plan, along: Floats, across: Floats) -> Floats:
    inner = (np.abs(along) < plan.length_m / 2 - 0.6) & (np.abs(across) < plan.width_m / 2 - 0.6)
    return np.asarray(~inner, np.float32)
