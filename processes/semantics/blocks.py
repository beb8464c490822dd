"""What blocks between streets become: houses, rows, courts, towers, halls, parks, fields, lakes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from processes.semantics.construction import build, plan_of
from processes.semantics.materials import Materials
from processes.semantics.place import Pair, Town, frame
from processes.semantics.things import basin, box, covered, garden, pool


def _houses(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    plot, deep = rng.uniform(11, 22), rng.uniform(15, 26)
    spread = rng.choice([0.0, 0.05, 0.3])
    flat, low = rng.choice([0.05, 0.3, 0.9], p=[0.6, 0.3, 0.1]), rng.uniform(2.6, 5.0)
    for along in np.arange(-half[0] + plot / 2, half[0], plot).tolist():
        for across in np.arange(-half[1] + deep / 2, half[1], deep).tolist():
            if rng.random() < 0.12:
                continue
            spot = frame(centre, turn, along + rng.normal(0, 1.5), across + rng.normal(0, 1.5))
            size = rng.uniform(7, min(15, plot - 1)), rng.uniform(6.5, 11)
            eave = low + rng.choice([0, 0, 2.8]) + rng.normal(0, 0.3)
            build(rng, place, plan_of(rng, spot, turn + rng.normal(0, spread), size, eave, flat))
            if rng.random() < 0.12:
                basin(
                    rng, place, frame(spot, turn, rng.uniform(-4, 4), rng.choice([-11, 11])), turn
                )
            if rng.random() < 0.3:
                shed = frame(spot, turn, rng.choice([-1, 1]) * plot / 2.2, rng.uniform(-7, 7))
                small = rng.uniform(2.5, 6), rng.uniform(2.5, 4)
                build(rng, place, plan_of(rng, shed, turn, small, rng.uniform(2.2, 3), 0.6, "box"))
    garden(rng, place, centre, half, turn, density=rng.uniform(0.3, 9.0))


def _rows(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    plot, deep = rng.uniform(5.5, 9), rng.uniform(8, 12)
    gap, eave = rng.uniform(9, 22), rng.uniform(4.5, 9.5)
    for across in np.arange(-half[1] + deep / 2, half[1] - deep / 2, deep + gap).tolist():
        kind_seed = int(rng.integers(1 << 30))
        for along in np.arange(-half[0] + plot / 2, half[0] - plot / 2, plot).tolist():
            same = np.random.default_rng(kind_seed)
            if rng.random() < 0.04:
                continue
            spot = frame(centre, turn, along, across)
            step = rng.choice([0, 0, 0.4, -0.4])
            plan = plan_of(same, spot, turn, (plot + 0.02, deep), eave + step, 0.15, "box")
            # the ridge runs along the row
            plan = plan.turned(turn, plot + 0.02, deep)
            build(rng, place, plan.tinted(plan.tint * rng.uniform(0.85, 1.15)))
    garden(rng, place, centre, half, turn, density=rng.uniform(0.3, 6.0))


def _dense(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    """Houses wall to wall along the streets, some with back buildings in the court."""
    deep, eave = rng.uniform(10, 15), rng.uniform(9, 24)
    flat = rng.uniform(0.1, 0.8)
    sides = [
        (0.0, -half[1] + deep / 2, half[0], 0.0), (0.0, half[1] - deep / 2, half[0], 0.0),
        (-half[0] + deep / 2, 0.0, half[1] - deep, np.pi / 2),
        (half[0] - deep / 2, 0.0, half[1] - deep, np.pi / 2),
    ]  # fmt: skip
    for along, across, reach, quarter in sides:
        at = -reach
        while at < reach - 4:
            wide = min(rng.uniform(8, 24), reach - at)
            middle = at + wide / 2
            at += wide
            if rng.random() < 0.07:
                continue
            offset = (middle, 0.0) if quarter == 0 else (0.0, middle)
            spot = frame(centre, turn, along + offset[0], across + offset[1])
            tall = eave * rng.uniform(0.7, 1.2)
            build(rng, place, plan_of(rng, spot, turn + quarter, (wide, deep), tall, flat, "box"))
    for _ in range(int(rng.poisson(1.5))):
        spot = frame(centre, turn, *rng.uniform(-0.5, 0.5, 2) * half)
        size = rng.uniform(6, 15), rng.uniform(5, 10)
        build(rng, place, plan_of(rng, spot, turn, size, rng.uniform(3, eave), 0.5))
    if rng.random() < 0.6:
        covered(place, centre, half, turn, int(rng.choice([Materials.CONCRETE, Materials.GRAVEL])))
    garden(rng, place, centre, (half[0] - deep, half[1] - deep), turn, rng.uniform(0.0, 1.5))


def _towers(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    for _ in range(int(rng.integers(1, 5))):
        spot = frame(centre, turn, *rng.uniform(-0.7, 0.7, 2) * half)
        form = str(rng.choice(["box", "box", "ell", "round", "hexagon", "court"]))
        size = rng.uniform(14, 60 if form == "box" else 30), rng.uniform(12, 18)
        if form in ("round", "hexagon", "court"):
            size = size[0], size[0]
        own = turn + rng.choice([0, rng.uniform(0, 1.5)])
        build(rng, place, plan_of(rng, spot, own, size, rng.uniform(12, 55), 0.92, form))
    garden(rng, place, centre, half, turn, density=rng.uniform(0.3, 6.0))


def _halls(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    covered(place, centre, half, turn, int(rng.choice([Materials.CONCRETE, Materials.ASPHALT])))
    for _ in range(int(rng.integers(1, 4))):
        spot = frame(centre, turn, *rng.uniform(-0.45, 0.45, 2) * half)
        size = rng.uniform(18, max(19, 1.7 * half[0])), rng.uniform(14, max(15, 1.4 * half[1]))
        form = str(rng.choice(["box", "ell", "saw", "vault"], p=[0.6, 0.15, 0.15, 0.1]))
        build(rng, place, plan_of(rng, spot, turn, size, rng.uniform(4, 14), 0.7, form))
    for _ in range(int(rng.poisson(6))):
        box(rng, place, centre, half, turn, (12.0, 2.5, rng.uniform(2.4, 4.0)))
    garden(rng, place, centre, half, turn, density=0.2)


def _park(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    covered(place, centre, half, turn, int(Materials.GRASS))
    garden(rng, place, centre, half, turn, density=rng.uniform(1, 10))
    if rng.random() < 0.4:
        spot = frame(centre, turn, *rng.uniform(-0.4, 0.4, 2) * half)
        pool(rng, place, spot, rng.uniform(5, 20))


def _field(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    kinds = [Materials.SOIL, Materials.DRY, Materials.GRASS, Materials.CROP]
    covered(place, centre, half, turn, int(rng.choice(kinds)))
    if rng.random() < 0.4:
        garden(rng, place, centre, half, turn, density=0.3)


def _wood(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    garden(rng, place, centre, half, turn, density=rng.uniform(12, 30), tall=1.4)


def _water(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    pool(rng, place, centre, max(half) * rng.uniform(0.5, 1.1))
    garden(rng, place, centre, half, turn, density=rng.uniform(0, 2))


BUILDERS: dict[str, Callable[[Generator, Town, Pair, Pair, float], None]] = {
    "houses": _houses, "rows": _rows, "dense": _dense, "towers": _towers, "halls": _halls,
    "park": _park, "field": _field, "wood": _wood, "water": _water,
}  # fmt: skip
