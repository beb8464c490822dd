"""Towns that never were: heights, colours and classes known exactly, to train a segmenter on.

A plan of streets is laid over a hilly terrain; its blocks become detached houses, rows, perimeter
blocks with courtyards, towers, halls, parks, fields, woods or lakes. Roofs, crowns, cars, hedges,
walls, bridges, mounds and terraces stand on it. Sun, sky, shadows and a sensor make four bands of
it; `degraded` then does to heights and image what stereo matching and a terrain model made from
its result do to them. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from processes.semantics.materials import Materials, lit, painted
from processes.semantics.roofing import Plan, roof_m
from processes.semantics.stack import BUILDING, GROUND, ROAD, VEGETATION, WATER

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

STYLES = {
    "houses": 0.26, "rows": 0.13, "dense": 0.17, "towers": 0.07, "halls": 0.09,
    "park": 0.08, "field": 0.08, "wood": 0.07, "water": 0.05,
}  # fmt: skip


@dataclass
class Town:
    """A built place on a lattice; arrays are (row, col), heights in metres."""

    cell_m: float
    ground: Floats
    surface: Floats
    classes: NDArray[np.uint8]
    material: NDArray[np.uint8]
    tint: Floats
    """Brightness of each thing's own paint, 1 on average."""
    bands: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    """Red, green, blue and nir reflectances as the sensor sees them, (4, row, col)."""
    sun: tuple[float, float] = (150.0, 50.0)

    @property
    def shape(self) -> tuple[int, int]:
        return self.ground.shape[0], self.ground.shape[1]


def town(seed: int, size: int = 320, cell_m: float = 0.5) -> Town:
    """Return the town of a seed, *size* cells wide."""
    rng = np.random.default_rng(seed)
    place = _bare(rng, size, cell_m)
    blocks = _streets(rng, place)
    if rng.random() < 0.15:
        _river(rng, place)
    for centre, half, turn, style in blocks:
        BUILDERS[style](rng, place, centre, half, turn)
    _scatter(rng, place)
    place.sun = float(rng.uniform(95, 265)), float(rng.uniform(25, 72))
    colours = painted(rng, place.material, place.tint, place.classes == VEGETATION)
    place.bands = lit(rng, colours, place.surface, cell_m, place.sun)
    return place


def smooth_noise(rng: Generator, shape: tuple[int, int], wave_px: float) -> NDArray[np.float32]:
    """Return noise of unit deviation without detail finer than about *wave_px*."""
    step = max(1, int(wave_px / 4))
    small = tuple(int(np.ceil(size / step)) + 8 for size in shape)
    field_ = cv2.GaussianBlur(
        rng.standard_normal(small).astype(np.float32), (0, 0), wave_px / 4 / step
    )
    field_ /= max(float(field_.std()), 1e-6)
    whole = cv2.resize(field_, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return np.asarray(whole[4 : 4 + shape[0], 4 : 4 + shape[1]])


# -- the ground


def _bare(rng: Generator, size: int, cell_m: float) -> Town:
    shape = (size, size)
    row, col = np.mgrid[:size, :size].astype(np.float32) * cell_m
    steep = rng.choice([0.02, 0.08, 0.22], p=[0.5, 0.3, 0.2])
    slope = rng.normal(0, steep / 1.4, 2)
    ground = slope[0] * row + slope[1] * col
    ground += smooth_noise(rng, shape, rng.uniform(60, 300) / cell_m) * rng.exponential(2.0)
    ground += smooth_noise(rng, shape, 12 / cell_m) * rng.uniform(0.0, 0.12)
    if rng.random() < 0.35:
        ground += _steps(rng, shape, cell_m)
    if rng.random() < 0.25:
        ground += _mounds(rng, row, col, size * cell_m)
    kind = Materials.GRASS if rng.random() < 0.7 else Materials.SOIL
    patches = smooth_noise(rng, shape, rng.uniform(8, 60) / cell_m)
    material = np.full(shape, kind, np.uint8)
    material[patches > rng.uniform(0.4, 2.0)] = Materials.DRY
    material[patches < -rng.uniform(0.8, 2.5)] = Materials.SOIL
    return Town(
        cell_m,
        ground.astype(np.float32),
        ground.astype(np.float32),
        np.full(shape, GROUND, np.uint8),
        material,
        np.ones(shape, np.float32),
    )


def _steps(rng: Generator, shape: tuple[int, int], cell_m: float) -> Floats:
    """Return terraces: 1.5 to 9 m high, with faces from upright to as wide as they are high."""
    level = smooth_noise(rng, shape, rng.uniform(50, 160) / cell_m)
    count = int(rng.integers(1, 5))
    edges = np.sort(rng.uniform(-1.5, 1.5, count))
    steps = np.zeros(shape, np.float32)
    for edge in edges:
        steps += np.where(level > edge, 1.0, 0.0) * rng.uniform(1.5, 9.0 if count < 3 else 4.5)
    width_px = rng.uniform(0.3, 4.0) / cell_m
    return np.asarray(cv2.GaussianBlur(steps, (0, 0), width_px))


def _mounds(rng: Generator, row: Floats, col: Floats, reach_m: float) -> Floats:
    heaps = np.zeros(row.shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        y, x = rng.uniform(0, reach_m, 2)
        high, wide, long = rng.uniform(2, 9), rng.uniform(3, 12), rng.uniform(1, 5)
        turn = rng.uniform(0, np.pi)
        a = (col - x) * np.cos(turn) + (row - y) * np.sin(turn)
        b = -(col - x) * np.sin(turn) + (row - y) * np.cos(turn)
        away = np.hypot(a / long, b) / wide
        heaps = np.maximum(heaps, high * np.clip(1.4 - away, 0, 1))
    return heaps


# -- streets and blocks

Block = tuple[tuple[float, float], tuple[float, float], float, str]


def _streets(rng: Generator, place: Town) -> list[Block]:
    """Pave a bent grid of streets and return the blocks between: middle, half size, turn, style."""
    size_m = place.shape[0] * place.cell_m
    turn = rng.uniform(0, np.pi / 2)
    row, col = np.mgrid[: place.shape[0], : place.shape[1]].astype(np.float32) * place.cell_m
    bend, wave = rng.uniform(0, 6), rng.uniform(80, 250)
    y, x = row - size_m / 2, col - size_m / 2
    u = x * np.cos(turn) + y * np.sin(turn)
    v = -x * np.sin(turn) + y * np.cos(turn)
    bent_u = u + bend * np.sin(v / wave * 2 * np.pi)
    bent_v = v + bend * np.sin(u / wave * 2 * np.pi)
    cuts = [_cuts(rng, size_m) for _ in range(2)]
    widths = [rng.uniform(4.5, 14, len(line)) for line in cuts]
    road = np.zeros(place.shape, np.bool_)
    paved = rng.random() < 0.92
    for position, lines, wide in zip((bent_u, bent_v), cuts, widths, strict=True):
        for at, width in zip(lines, wide, strict=True):
            road |= np.abs(position - at) < width / 2
            if paved:
                _kerb(rng, place, np.abs(position - at), width)
    if paved:
        _pave(rng, place, road)
    mix = rng.dirichlet([3.0 * share * len(STYLES) for share in STYLES.values()])
    blocks: list[Block] = []
    for left, right, w0, w1 in zip(cuts[0], cuts[0][1:], widths[0], widths[0][1:], strict=False):
        for low, high, h0, h1 in zip(cuts[1], cuts[1][1:], widths[1], widths[1][1:], strict=False):
            half_u = (right - left) / 2 - (w0 + w1) / 4 - 1.5 - bend
            half_v = (high - low) / 2 - (h0 + h1) / 4 - 1.5 - bend
            if min(half_u, half_v) < 8:
                continue
            cu, cv = (left + right) / 2, (low + high) / 2
            cx = cu * np.cos(turn) - cv * np.sin(turn) + size_m / 2
            cy = cu * np.sin(turn) + cv * np.cos(turn) + size_m / 2
            if not (-half_u < cx < size_m + half_u and -half_u < cy < size_m + half_u):
                continue
            style = str(rng.choice(list(STYLES), p=mix))
            blocks.append(((cx, cy), (half_u, half_v), turn, style))
    return blocks


def _cuts(rng: Generator, size_m: float) -> Floats:
    steps = rng.uniform(38, 110, int(size_m / 38 * 1.5) + 4)
    return np.asarray(np.cumsum(steps) - size_m * 0.75 - rng.uniform(0, 80))


def _kerb(rng: Generator, place: Town, away: Floats, width: float) -> None:
    if rng.random() < 0.6:
        side = (away >= width / 2) & (away < width / 2 + rng.uniform(1, 3))
        place.material[side] = Materials.CONCRETE


def _pave(rng: Generator, place: Town, road: Mask) -> None:
    place.classes[road] = ROAD
    place.material[road] = Materials.ASPHALT if rng.random() < 0.85 else Materials.GRAVEL
    place.tint[road] = rng.uniform(0.7, 1.6)
    if rng.random() < 0.5:
        place.material[road & (smooth_noise(rng, place.shape, 6) > 2.2)] = Materials.PAINT
    # streets are graded
    level = cv2.GaussianBlur(place.ground, (0, 0), 5 / place.cell_m)
    place.ground[road] = level[road]
    place.surface[road] = level[road]


# -- what stands in a block

Pair = tuple[float, float]


def _local(
    place: Town, centre: Pair, reach_m: float, turn: float
) -> tuple[Any, Floats, Floats] | None:
    """Return a window of the place and its coordinates along and across a turned frame, metres."""
    rows, cols = place.shape
    cell = place.cell_m
    r0, r1 = int((centre[1] - reach_m) / cell), int((centre[1] + reach_m) / cell) + 2
    c0, c1 = int((centre[0] - reach_m) / cell), int((centre[0] + reach_m) / cell) + 2
    r0, c0, r1, c1 = max(r0, 0), max(c0, 0), min(r1, rows), min(c1, cols)
    if r0 >= r1 or c0 >= c1:
        return None
    row, col = np.mgrid[r0:r1, c0:c1].astype(np.float32) * cell
    x, y = col - centre[0], row - centre[1]
    along = x * np.cos(turn) + y * np.sin(turn)
    across = -x * np.sin(turn) + y * np.cos(turn)
    return np.s_[r0:r1, c0:c1], along, across


def _build(rng: Generator, place: Town, plan: Plan) -> None:
    """Put up one building where nothing is built yet."""
    found = _local(place, plan.centre, plan.reach_m, plan.turn)
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
    extras(rng, place, plan, window, along, across, inside)


def extras(
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


ROOFS = [
    Materials.TILE, Materials.SLATE, Materials.FELT, Materials.GRAVEL,
    Materials.METAL, Materials.CONCRETE, Materials.COPPER,
]  # fmt: skip
PITCHED = [0.5, 0.25, 0.06, 0.01, 0.1, 0.04, 0.04]
LEVEL = [0.06, 0.06, 0.22, 0.3, 0.18, 0.16, 0.02]


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


def _frame(centre: Pair, turn: float, along: float, across: float) -> Pair:
    return (
        centre[0] + along * np.cos(turn) - across * np.sin(turn),
        centre[1] + along * np.sin(turn) + across * np.cos(turn),
    )


def _plan(
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


def _houses(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    plot, deep = rng.uniform(11, 22), rng.uniform(15, 26)
    spread = rng.choice([0.0, 0.05, 0.3])
    flat, low = rng.choice([0.05, 0.3, 0.9], p=[0.6, 0.3, 0.1]), rng.uniform(2.6, 5.0)
    for along in np.arange(-half[0] + plot / 2, half[0], plot).tolist():
        for across in np.arange(-half[1] + deep / 2, half[1], deep).tolist():
            if rng.random() < 0.12:
                continue
            spot = _frame(centre, turn, along + rng.normal(0, 1.5), across + rng.normal(0, 1.5))
            size = rng.uniform(7, min(15, plot - 1)), rng.uniform(6.5, 11)
            eave = low + rng.choice([0, 0, 2.8]) + rng.normal(0, 0.3)
            _build(rng, place, _plan(rng, spot, turn + rng.normal(0, spread), size, eave, flat))
            if rng.random() < 0.12:
                _basin(
                    rng, place, _frame(spot, turn, rng.uniform(-4, 4), rng.choice([-11, 11])), turn
                )
            if rng.random() < 0.3:
                shed = _frame(spot, turn, rng.choice([-1, 1]) * plot / 2.2, rng.uniform(-7, 7))
                small = rng.uniform(2.5, 6), rng.uniform(2.5, 4)
                _build(rng, place, _plan(rng, shed, turn, small, rng.uniform(2.2, 3), 0.6, "box"))
    _garden(rng, place, centre, half, turn, density=rng.uniform(0.3, 9.0))


def _rows(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    plot, deep = rng.uniform(5.5, 9), rng.uniform(8, 12)
    gap, eave = rng.uniform(9, 22), rng.uniform(4.5, 9.5)
    for across in np.arange(-half[1] + deep / 2, half[1] - deep / 2, deep + gap).tolist():
        kind_seed = int(rng.integers(1 << 30))
        for along in np.arange(-half[0] + plot / 2, half[0] - plot / 2, plot).tolist():
            same = np.random.default_rng(kind_seed)
            if rng.random() < 0.04:
                continue
            spot = _frame(centre, turn, along, across)
            step = rng.choice([0, 0, 0.4, -0.4])
            plan = _plan(same, spot, turn, (plot + 0.02, deep), eave + step, 0.15, "box")
            # the ridge runs along the row
            plan = plan.turned(turn, plot + 0.02, deep)
            _build(rng, place, plan.tinted(plan.tint * rng.uniform(0.85, 1.15)))
    _garden(rng, place, centre, half, turn, density=rng.uniform(0.3, 6.0))


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
            spot = _frame(centre, turn, along + offset[0], across + offset[1])
            tall = eave * rng.uniform(0.7, 1.2)
            _build(rng, place, _plan(rng, spot, turn + quarter, (wide, deep), tall, flat, "box"))
    for _ in range(int(rng.poisson(1.5))):
        spot = _frame(centre, turn, *rng.uniform(-0.5, 0.5, 2) * half)
        size = rng.uniform(6, 15), rng.uniform(5, 10)
        _build(rng, place, _plan(rng, spot, turn, size, rng.uniform(3, eave), 0.5))
    if rng.random() < 0.6:
        _surface(place, centre, half, turn, int(rng.choice([Materials.CONCRETE, Materials.GRAVEL])))
    _garden(rng, place, centre, (half[0] - deep, half[1] - deep), turn, rng.uniform(0.0, 1.5))


def _towers(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    for _ in range(int(rng.integers(1, 5))):
        spot = _frame(centre, turn, *rng.uniform(-0.7, 0.7, 2) * half)
        form = str(rng.choice(["box", "box", "ell", "round", "hexagon", "court"]))
        size = rng.uniform(14, 60 if form == "box" else 30), rng.uniform(12, 18)
        if form in ("round", "hexagon", "court"):
            size = size[0], size[0]
        own = turn + rng.choice([0, rng.uniform(0, 1.5)])
        _build(rng, place, _plan(rng, spot, own, size, rng.uniform(12, 55), 0.92, form))
    _garden(rng, place, centre, half, turn, density=rng.uniform(0.3, 6.0))


def _halls(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    _surface(place, centre, half, turn, int(rng.choice([Materials.CONCRETE, Materials.ASPHALT])))
    for _ in range(int(rng.integers(1, 4))):
        spot = _frame(centre, turn, *rng.uniform(-0.45, 0.45, 2) * half)
        size = rng.uniform(18, max(19, 1.7 * half[0])), rng.uniform(14, max(15, 1.4 * half[1]))
        form = str(rng.choice(["box", "ell", "saw", "vault"], p=[0.6, 0.15, 0.15, 0.1]))
        _build(rng, place, _plan(rng, spot, turn, size, rng.uniform(4, 14), 0.7, form))
    for _ in range(int(rng.poisson(6))):
        _box(rng, place, centre, half, turn, (12.0, 2.5, rng.uniform(2.4, 4.0)))
    _garden(rng, place, centre, half, turn, density=0.2)


def _park(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    _surface(place, centre, half, turn, int(Materials.GRASS))
    _garden(rng, place, centre, half, turn, density=rng.uniform(1, 10))
    if rng.random() < 0.4:
        spot = _frame(centre, turn, *rng.uniform(-0.4, 0.4, 2) * half)
        _pool(rng, place, spot, rng.uniform(5, 20))


def _field(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    kinds = [Materials.SOIL, Materials.DRY, Materials.GRASS, Materials.CROP]
    _surface(place, centre, half, turn, int(rng.choice(kinds)))
    if rng.random() < 0.4:
        _garden(rng, place, centre, half, turn, density=0.3)


def _wood(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    _garden(rng, place, centre, half, turn, density=rng.uniform(12, 30), tall=1.4)


def _water(rng: Generator, place: Town, centre: Pair, half: Pair, turn: float) -> None:
    _pool(rng, place, centre, max(half) * rng.uniform(0.5, 1.1))
    _garden(rng, place, centre, half, turn, density=rng.uniform(0, 2))


BUILDERS: dict[str, Callable[[Generator, Town, Pair, Pair, float], None]] = {
    "houses": _houses, "rows": _rows, "dense": _dense, "towers": _towers, "halls": _halls,
    "park": _park, "field": _field, "wood": _wood, "water": _water,
}  # fmt: skip


def _surface(place: Town, centre: Pair, half: Pair, turn: float, material: int) -> None:
    found = _local(place, centre, float(np.hypot(*half)), turn)
    if found is None:
        return
    window, along, across = found
    inside = (np.abs(along) < half[0]) & (np.abs(across) < half[1])
    inside &= place.classes[window] == GROUND
    place.material[window][inside] = material


def _pool(rng: Generator, place: Town, centre: Pair, radius_m: float) -> None:
    found = _local(place, centre, 1.6 * radius_m, rng.uniform(0, np.pi))
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


def _river(rng: Generator, place: Town) -> None:
    """A river, or with luck the sea: lower than all that is near."""
    size_m = place.shape[0] * place.cell_m
    found = _local(place, (size_m / 2, size_m / 2), size_m, rng.uniform(0, np.pi))
    if found is None:
        return
    window, along, across = found
    bend = rng.uniform(0, 15) * np.sin(along / rng.uniform(20, 60))
    across = across + bend - rng.uniform(-0.5, 0.5) * size_m
    wide = rng.uniform(4, 30) if rng.random() < 0.7 else 2 * size_m
    level = float(np.quantile(place.ground, 0.05)) - rng.uniform(0.5, 3)
    wet = (across > 0) & (across < wide)
    place.ground[window][wet] = level
    place.surface[window][wet] = level
    place.classes[window][wet] = WATER
    place.material[window][wet] = Materials.WATER


def _basin(rng: Generator, place: Town, spot: Pair, turn: float) -> None:
    """A swimming pool."""
    found = _local(place, spot, 7.0, turn)
    if found is None:
        return
    window, along, across = found
    inside = (np.abs(along) < rng.uniform(2.5, 6)) & (np.abs(across) < rng.uniform(1.5, 3))
    inside &= place.classes[window] == GROUND
    place.classes[window][inside] = WATER
    place.material[window][inside] = Materials.POOL


def _garden(
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
        _tree(rng, place, _frame(centre, turn, *spot), rng.gamma(5, 1.5 * tall))


def _tree(rng: Generator, place: Town, spot: Pair, height_m: float) -> None:
    height_m = float(np.clip(height_m, 1.2, 28))
    radius = height_m * rng.uniform(0.22, 0.5)
    found = _local(place, spot, radius, 0.0)
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


def _box(
    rng: Generator,
    place: Town,
    centre: Pair,
    half: Pair,
    turn: float,
    size: tuple[float, float, float],
) -> None:
    """Put something down that is no building: a lorry, a container, a stack."""
    spot = _frame(centre, turn, *rng.uniform(-0.95, 0.95, 2) * half)
    long, wide, high = size
    found = _local(place, spot, long, turn + rng.choice([0, np.pi / 2]))
    if found is None:
        return
    window, along, across = found
    inside = (np.abs(along) < long / 2) & (np.abs(across) < wide / 2)
    inside &= (place.classes[window] == GROUND) | (place.classes[window] == ROAD)
    place.surface[window][inside] = place.ground[window][inside] + high
    place.material[window][inside] = Materials.PAINT
    place.tint[window][inside] = rng.uniform(0.15, 2.0)


def _scatter(rng: Generator, place: Town) -> None:
    """Park cars, plant street trees and hedges, build garden walls and a bridge."""
    size_m = place.shape[0] * place.cell_m
    middle, half = (size_m / 2, size_m / 2), (size_m / 2, size_m / 2)
    turn = rng.uniform(0, np.pi)
    for _ in range(int(rng.poisson(rng.uniform(5, 90) * (size_m / 160) ** 2))):
        _box(rng, place, middle, half, turn, (rng.uniform(3.8, 5), 1.8, rng.uniform(1.3, 1.9)))
    for _ in range(int(rng.poisson(rng.uniform(0, 110) * (size_m / 160) ** 2))):
        _tree(rng, place, tuple(rng.uniform(0, size_m, 2)), rng.gamma(5, 1.5))
    for _ in range(int(rng.poisson(8))):
        _strip(rng, place, tuple(rng.uniform(0, size_m, 2)), turn, hedge=rng.random() < 0.6)
    if rng.random() < 0.12:
        _bridge(rng, place, middle, rng.uniform(0, np.pi))


def _strip(rng: Generator, place: Town, spot: Pair, turn: float, hedge: bool) -> None:
    """A hedge, or a wall that holds nothing up."""
    long = rng.uniform(8, 40)
    wide = rng.uniform(0.8, 2.5) if hedge else rng.uniform(0.3, 0.7)
    found = _local(place, spot, long / 2, turn + rng.choice([0, np.pi / 2]))
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
    found = _local(place, centre, 2 * centre[0], turn)
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
