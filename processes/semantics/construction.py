"""Putting up a made-up building: its plan, its roof, and what stands on the roof."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from processes.semantics.materials import Materials
from processes.semantics.place import Pair, Town, local
from processes.semantics.roofing import Plan, roof_m
from processes.semantics.stack import BUILDING

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

ROOFS = [
    Materials.TILE, Materials.SLATE, Materials.FELT, Materials.GRAVEL,
    Materials.METAL, Materials.CONCRETE, Materials.COPPER,
]  # fmt: skip

PITCHED = [0.5, 0.25, 0.06, 0.01, 0.1, 0.04, 0.04]

LEVEL = [0.06, 0.06, 0.22, 0.3, 0.18, 0.16, 0.02]


def build(rng: Generator, place: Town, plan: Plan) -> None:
    """Put up one building where nothing is built yet."""
    found = local(place, plan.centre, plan.reach_m, plan.turn)
    if found is None:
        return
    window, along, across = found
    inside = plan.covers(along, across)
    taken = place.classes[window]
    if not inside.any() or (inside & (taken == BUILDING)).sum() > 0.1 * inside.sum():
        return
    inside &= taken != BUILDING
    base = float(np.median(place.ground[window][inside]))
    roof = base + roof_m(rng, plan, along, across, inside)
    place.surface[window][inside] = roof[inside]
    place.classes[window][inside] = BUILDING
    place.material[window][inside] = plan.material
    place.tint[window][inside] = plan.tint
    # one side of a pitched roof is never painted quite like the other
    place.tint[window][inside & (across > 0)] *= rng.uniform(0.92, 1.08)
    _extras(rng, place, plan, window, along, across, inside)


def _extras(
    rng: Generator,
    place: Town,
    plan: Plan,
    window: Any,
    along: Floats,
    across: Floats,
    inside: Mask,
) -> None:
    """Add chimneys, dormers, plant rooms, panels and skylights."""
    for _ in range(int(rng.poisson(1.2 if plan.length_m < 25 else 4))):
        a = rng.uniform(-0.45, 0.45) * plan.length_m
        b = rng.uniform(-0.45, 0.45) * plan.width_m
        size = rng.uniform(0.4, 1.8) if rng.random() < 0.7 else rng.uniform(2, 5)
        box = (
            inside & (np.abs(along - a) < size) & (np.abs(across - b) < size * rng.uniform(0.5, 1))
        )
        if not box.any():
            continue
        if rng.random() < 0.6:
            top = float(place.surface[window][box].max())
            place.surface[window][box] = top + rng.uniform(0.3, 1.5 if size < 2 else 3.0)
        place.material[window][box] = rng.choice(ROOFS)
        place.tint[window][box] = rng.uniform(0.4, 1.6)


def _paint(rng: Generator, kind: str) -> tuple[int, float]:
    if kind == "flat" and rng.random() < 0.03:
        return int(Materials.GRASS), 1.0
    shares = LEVEL if kind == "flat" else PITCHED
    return int(rng.choice(ROOFS, p=shares)), float(np.exp(rng.normal(0, 0.28)))


def _kind(rng: Generator, flat: float) -> str:
    if rng.random() < flat:
        return "flat"
    return str(
        rng.choice(["gable", "hip", "shed", "mansard", "pyramid"], p=[0.5, 0.3, 0.1, 0.05, 0.05])
    )


def plan_of(
    rng: Generator,
    centre: Pair,
    turn: float,
    size: Pair,
    eave_m: float,
    flat: float,
    form: str = "",
) -> Plan:
    kind = _kind(rng, flat)
    material, tint = _paint(rng, kind)
    length, width = size
    if width > length:
        length, width, turn = width, length, turn + np.pi / 2
    form = form or str(rng.choice(["box", "ell", "tee"], p=[0.68, 0.22, 0.1]))
    pitch = np.radians(rng.uniform(15, 48))
    return Plan(centre, turn, length, width, eave_m, kind, form, float(pitch), material, tint)
