"""What is no building in a made-up place: trees, water, cars, hedges, walls, bridges."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from processes.semantics.materials import Materials
from processes.semantics.place import Pair, Town, frame, local, smooth_noise
from processes.semantics.stack import BUILDING, GROUND, ROAD, VEGETATION, WATER


def covered(place: Town, centre: Pair, half: Pair, turn: float, material: int) -> None:
    found = local(place, centre, float(np.hypot(*half)), turn)
    if found is None:
        return
    window, along, across = found
    inside = (np.abs(along) < half[0]) & (np.abs(across) < half[1])
    inside &= place.classes[window] == GROUND
    place.material[window][inside] = material


def garden(
    rng: Generator,
    place: Town,
    centre: Pair,
    half: Pair,
    turn: float,
    density: float,
    tall: float = 1.0,
) -> None:
    """Plant trees, so many on 1000 m²; some stand in groups, some reach over roofs."""
    if min(half) < 2:
        return
    count = int(rng.poisson(density * 4 * half[0] * half[1] / 1000))
    groups = rng.uniform(-1, 1, (max(1, count // 6), 2)) * half
    for _ in range(min(count, 500)):
        spot = rng.uniform(-1, 1, 2) * half
        if rng.random() < 0.4:
            spot = groups[rng.integers(len(groups))] + rng.normal(0, 4, 2)
        tree(rng, place, frame(centre, turn, *spot), rng.gamma(5, 1.5 * tall))


def tree(rng: Generator, place: Town, spot: Pair, height_m: float) -> None:
    height_m = float(np.clip(height_m, 1.2, 28))
    radius = height_m * rng.uniform(0.22, 0.5)
    found = local(place, spot, radius, 0.0)
    if found is None:
        return
    window, along, across = found
    row, col = int(spot[1] / place.cell_m), int(spot[0] / place.cell_m)
    inside = 0 <= row < place.shape[0] and 0 <= col < place.shape[1]
    if not inside or place.classes[row, col] in (BUILDING, WATER, ROAD):
        return
    away = np.hypot(along, across) / radius
    ragged = rng.normal(0, rng.uniform(0.02, 0.18), away.shape)
    sharp = rng.uniform(0.35, 1.1)
    crown = np.clip(1 - (away + ragged) ** 2, 0, 1) ** sharp
    top = place.ground[row, col] + height_m * (0.45 + 0.55 * crown)
    top = np.where(crown > 0, top + rng.normal(0, rng.uniform(0.05, 0.45), away.shape), -1e6)
    over = (top > place.surface[window] + 0.3) & (crown > 0.05)
    place.surface[window][over] = top[over]
    place.classes[window][over] = VEGETATION
    # a tree is green all year, or in leaf and not
    place.material[window][over] = rng.choice(
        [Materials.LEAF, Materials.NEEDLE, Materials.BROWN], p=[0.75, 0.17, 0.08]
    )
    place.tint[window][over] = np.exp(rng.normal(0, 0.22))


def pool(rng: Generator, place: Town, centre: Pair, radius_m: float) -> None:
    found = local(place, centre, 1.6 * radius_m, rng.uniform(0, np.pi))
    if found is None:
        return
    window, along, across = found
    shape = (along.shape[0], along.shape[1])
    wobble = smooth_noise(rng, shape, max(8.0, radius_m / place.cell_m)) * 0.15
    inside = np.hypot(along, across * rng.uniform(1, 2)) / radius_m + wobble < 1
    inside &= place.classes[window] == GROUND
    if not inside.any():
        return
    level = float(np.quantile(place.ground[window][inside], 0.1)) - rng.uniform(0, 1)
    place.ground[window][inside] = level
    place.surface[window][inside] = level
    place.classes[window][inside] = WATER
    place.material[window][inside] = Materials.WATER


def river(rng: Generator, place: Town) -> None:
    """A river, or with luck the sea: lower than all that is near."""
    size_m = place.shape[0] * place.cell_m
    found = local(place, (size_m / 2, size_m / 2), size_m, rng.uniform(0, np.pi))
    if found is None:
        return
    window, along, across = found
    bend = rng.uniform(0, 15) * np.sin(along / rng.uniform(20, 60))
    across = across + bend - rng.uniform(-0.5, 0.5) * size_m
    wide = rng.uniform(4, 30) if rng.random() < 0.8 else 2 * size_m
    level = float(np.quantile(place.ground, 0.05)) - rng.uniform(0.5, 3)
    wet = (across > 0) & (across < wide)
    place.ground[window][wet] = level
    place.surface[window][wet] = level
    place.classes[window][wet] = WATER
    place.material[window][wet] = Materials.WATER


def basin(rng: Generator, place: Town, spot: Pair, turn: float) -> None:
    """A swimming pool."""
    found = local(place, spot, 7.0, turn)
    if found is None:
        return
    window, along, across = found
    inside = (np.abs(along) < rng.uniform(2.5, 6)) & (np.abs(across) < rng.uniform(1.5, 3))
    inside &= place.classes[window] == GROUND
    place.classes[window][inside] = WATER
    place.material[window][inside] = Materials.POOL


def box(
    rng: Generator,
    place: Town,
    centre: Pair,
    half: Pair,
    turn: float,
    size: tuple[float, float, float],
) -> None:
    """Put something down that is no building: a lorry, a container, a stack."""
    spot = frame(centre, turn, *rng.uniform(-0.95, 0.95, 2) * half)
    long, wide, high = size
    found = local(place, spot, long, turn + rng.choice([0, np.pi / 2]))
    if found is None:
        return
    window, along, across = found
    inside = (np.abs(along) < long / 2) & (np.abs(across) < wide / 2)
    inside &= (place.classes[window] == GROUND) | (place.classes[window] == ROAD)
    place.surface[window][inside] = place.ground[window][inside] + high
    place.material[window][inside] = Materials.PAINT
    place.tint[window][inside] = rng.uniform(0.15, 2.0)


def scatter(rng: Generator, place: Town) -> None:
    """Park cars, plant street trees and hedges, build garden walls and a bridge."""
    size_m = place.shape[0] * place.cell_m
    middle, half = (size_m / 2, size_m / 2), (size_m / 2, size_m / 2)
    turn = rng.uniform(0, np.pi)
    for _ in range(int(rng.poisson(rng.uniform(5, 90) * (size_m / 160) ** 2))):
        box(rng, place, middle, half, turn, (rng.uniform(3.8, 5), 1.8, rng.uniform(1.3, 1.9)))
    for _ in range(int(rng.poisson(rng.uniform(0, 110) * (size_m / 160) ** 2))):
        tree(rng, place, tuple(rng.uniform(0, size_m, 2)), rng.gamma(5, 1.5))
    for _ in range(int(rng.poisson(8))):
        _strip(rng, place, tuple(rng.uniform(0, size_m, 2)), turn, hedge=rng.random() < 0.6)
    if rng.random() < 0.12:
        _bridge(rng, place, middle, rng.uniform(0, np.pi))


def _strip(rng: Generator, place: Town, spot: Pair, turn: float, hedge: bool) -> None:
    """A hedge, or a wall that holds nothing up."""
    long = rng.uniform(8, 40)
    wide = rng.uniform(0.8, 2.5) if hedge else rng.uniform(0.3, 0.7)
    found = local(place, spot, long / 2, turn + rng.choice([0, np.pi / 2]))
    if found is None:
        return
    window, along, across = found
    inside = (np.abs(along) < long / 2) & (np.abs(across) < wide / 2)
    inside &= place.classes[window] == GROUND
    place.surface[window][inside] = place.ground[window][inside] + rng.uniform(1.0, 3.2)
    if hedge:
        place.surface[window][inside] += rng.normal(0, 0.2, int(inside.sum()))
        place.classes[window][inside] = VEGETATION
        place.material[window][inside] = Materials.LEAF
    else:
        place.material[window][inside] = Materials.CONCRETE


def _bridge(rng: Generator, place: Town, centre: Pair, turn: float) -> None:
    """A road on an embankment or a deck, 4 to 8 m over what it crosses."""
    found = local(place, centre, 2 * centre[0], turn)
    if found is None:
        return
    window, along, across = found
    wide = rng.uniform(5, 11)
    across = across - rng.uniform(-0.6, 0.6) * centre[0]
    level = float(np.median(place.ground)) + rng.uniform(4, 8)
    deck = (np.abs(across) < wide) & (place.classes[window] != BUILDING)
    high = np.full(across.shape, level) + 0.03 * along
    deck &= high > place.ground[window]
    if rng.random() < 0.5:
        # an embankment: the ground itself
        bank = high - np.maximum(np.abs(across) - wide, 0) / 1.5
        raised = (bank > place.ground[window]) & (place.classes[window] != BUILDING)
        for heights in (place.ground, place.surface):
            heights[window][raised] = bank[raised]
        place.classes[window][raised] = GROUND
        place.material[window][raised] = Materials.GRASS
    place.surface[window][deck] = high[deck]
    place.classes[window][deck] = ROAD
    place.material[window][deck] = Materials.ASPHALT
