"""Streets, blocks, buildings, trees and cars of a made-up town.

Districts are Voronoi cells; each has its own grid of streets, whose blocks become houses on lots,
rows, houses wall to wall around courts, towers, halls, parks or fields.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
from numpy.random import Generator
from scipy.spatial import Voronoi
from shapely import LineString, Polygon
from shapely.ops import polygonize
from town_ground import PAINT
from town_shapes import Building, Wing, box, court_planes, raised, ring_planes, wing_on

FLAT = ((0.0, 0.0, 0.0),)
LEVEL_ROOFS = ("bitumen", "roof gravel", "metal", "white", "copper", "slate")
OWN_ROOF = 0.45
"""Share of houses in a row that draw a roof of their own; a quarter of them draw the row's."""
PITCHED_ROOFS = ("tile", "tile", "tile", "brown tile", "slate", "metal")


@dataclass(frozen=True)
class Style:
    """What a kind of town is like; shares are of districts or of buildings."""

    mix: dict[str, float]
    block_m: tuple[float, float] = (55.0, 100.0)
    road_m: tuple[float, float] = (7.0, 10.0)
    main_road_m: float = 14.0
    district_m: float = 260.0
    hip: float = 0.35
    flat: float = 0.06
    storeys: tuple[int, int] = (1, 2)
    """Of houses."""
    dense_m: tuple[float, float] = (12.0, 24.0)
    tower_m: tuple[float, float] = (28.0, 58.0)
    garden_trees: float = 1.0
    street_trees: float = 1.0
    hills: dict[str, float] = field(
        default_factory=lambda: {"std_m": 1.5, "wave_m": 500.0, "east": 0.0, "north": 0.0}
    )
    river_m: float = 0.0


@dataclass(frozen=True)
class Tree:
    """A crown: dome or cone."""

    x: float
    y: float
    radius_m: float
    height_m: float
    needle: bool


@dataclass(frozen=True)
class Car:
    x: float
    y: float
    turn: float
    size: tuple[float, float, float]
    paint: str


@dataclass
class Plan:
    """Everything that stands on a town's ground, in metres from its lower left corner."""

    covers: list[tuple[Polygon, str, str]] = field(default_factory=list)
    """Ground covers in the order they are laid: outline, paint, road or ground."""
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    cars: list[Car] = field(default_factory=list)
    river: LineString | None = None
    bridges: list[Polygon] = field(default_factory=list)
    """Decks over the river: rectangles whose first side runs along the bridge."""


def laid_out(rng: Generator, style: Style, size_m: float) -> Plan:
    """Return the plan of a town."""
    plan = Plan()
    wet = _river(rng, plan, style, size_m)
    names = list(style.mix)
    shares = np.array([style.mix[name] for name in names])
    for cell in _districts(rng, size_m, style.district_m):
        kind = str(rng.choice(names, p=shares / shares.sum()))
        area = cell.buffer(-style.main_road_m / 2, join_style="mitre")
        if area.is_empty or area.area < 900:
            continue
        _lamps(rng, plan, style, area)
        for block in _blocks(rng, style, area, kind):
            if wet is not None and block.intersects(wet):
                _green(rng, plan, block.difference(wet.buffer(2)), 3.0 * style.garden_trees)
                continue
            _built(rng, plan, style, block, kind)
    if wet is not None:
        plan.trees = [t for t in plan.trees if not shapely.contains_xy(wet, t.x, t.y)]
    plan.trees = _clear_of(plan)
    return plan


def _districts(rng: Generator, size_m: float, wide_m: float) -> list[Polygon]:
    """Return convex cells that cover the town."""
    reach = np.arange(-wide_m, size_m + 2 * wide_m, wide_m)
    x, y = (axis.ravel() for axis in np.meshgrid(reach, reach))
    seeds = np.stack([x, y], 1) + rng.uniform(-0.36, 0.36, (len(x), 2)) * wide_m
    voronoi = Voronoi(seeds)
    town = shapely.box(-30, -30, size_m + 30, size_m + 30)
    cells = []
    for region in voronoi.point_region:
        corners = voronoi.regions[region]
        if corners and -1 not in corners:
            cell = Polygon(voronoi.vertices[corners])
            if cell.intersects(town):
                cells.append(cell)
    return cells


def _blocks(rng: Generator, style: Style, area: Polygon, kind: str) -> list[Polygon]:
    """Return the blocks that a grid of streets cuts a district into."""
    if kind in ("park", "field", "wood"):
        return [area]
    block = (80.0, 150.0) if kind == "halls" else style.block_m
    long = max(_edges(area), key=lambda e: e.length)
    (x0, y0), (x1, y1) = long.coords
    turn = float(np.arctan2(y1 - y0, x1 - x0)) + rng.normal(0, 0.02)
    centre = area.centroid
    reach = 1.2 * area.minimum_clearance + area.length / 2
    lines = []
    for _ in range(2):
        at, cuts = -reach + rng.uniform(0, 40), []
        while at < reach:
            wide, road = rng.uniform(*block), rng.uniform(*style.road_m)
            cuts.append((at, at + wide))
            at += wide + road
        lines.append(cuts)
    found = []
    for u0, u1 in lines[0]:
        for v0, v1 in lines[1]:
            cell = box((u0 + u1) / 2, (v0 + v1) / 2, u1 - u0, v1 - v0, 0.0)
            cell = shapely.affinity.rotate(cell, turn, origin=(0, 0), use_radians=True)
            cell = shapely.affinity.translate(cell, centre.x, centre.y).intersection(area)
            if cell.geom_type == "Polygon" and cell.area > 250:
                found.append(cell)
    return found


def _built(rng: Generator, plan: Plan, style: Style, block: Polygon, kind: str) -> None:
    """Fill a block."""
    if kind in ("houses", "rows", "dense", "towers", "halls"):
        plan.covers.append((block, "pavement", "road"))
        inside = block.buffer(-1.8, join_style="mitre")
    else:
        inside = block
    if inside.is_empty or inside.geom_type != "Polygon":
        return
    thin = inside.buffer(-9).is_empty
    if thin or (kind in ("houses", "rows", "dense") and rng.random() < 0.06):
        _green(rng, plan, inside, 2.0 * style.garden_trees)
    elif kind == "houses":
        _houses(rng, plan, style, inside)
    elif kind == "rows":
        _rows(rng, plan, style, inside)
    elif kind == "dense":
        _dense(rng, plan, style, inside)
    elif kind == "towers":
        _towers(rng, plan, style, inside)
    elif kind == "halls":
        _halls(rng, plan, style, inside)
    elif kind == "field":
        plan.covers.append((inside, str(rng.choice(["crop", "soil", "dry", "grass"])), "ground"))
    else:
        _green(rng, plan, inside, 14.0 if kind == "wood" else rng.uniform(2, 5))
    _parked(rng, plan, block)


def _houses(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Detached houses with gardens along the streets of a block."""
    plan.covers.append((block, "grass" if rng.random() < 0.75 else "dry", "ground"))
    taken: list[Polygon] = []
    for edge in _edges(block):
        (x0, y0), (x1, y1) = edge.coords
        turn = float(np.arctan2(y1 - y0, x1 - x0))
        deep, at = rng.uniform(4.5, 7.5), rng.uniform(1, 5)
        while at < edge.length - 8:
            lot = rng.uniform(15, 23)
            long, wide = rng.uniform(9, 14), rng.uniform(7, 9.5)
            if rng.random() < 0.35:
                long, wide = wide, long
            mid = at + lot / 2
            at += lot
            if rng.random() < 0.1:
                continue
            x = x0 + np.cos(turn) * mid - np.sin(turn) * (deep + wide / 2)
            y = y0 + np.sin(turn) * mid + np.cos(turn) * (deep + wide / 2)
            house = _house(rng, style, x, y, long, wide, turn + rng.normal(0, 0.03))
            if not _fits(house.outline, block, taken, 3.0):
                continue
            taken.append(house.outline)
            plan.buildings.append(house)
            if rng.random() < 0.35:
                _garage(rng, plan, block, taken, house)
            if rng.random() < 0.15:
                _pool(rng, plan, block, taken, x, y, turn)
    _planted(rng, plan, block.buffer(-1), 1.1 * style.garden_trees)


def _house(
    rng: Generator, style: Style, x: float, y: float, long: float, wide: float, turn: float
) -> Building:
    if wide > long:
        long, wide, turn = wide, long, turn + np.pi / 2
    kind = _roof_kind(rng, style)
    slope = float(np.tan(np.radians(rng.uniform(20, 44))))
    if kind == "shed":
        slope = float(np.tan(np.radians(rng.uniform(8, 18))))
    wings = [wing_on(x, y, long, wide, turn, kind, slope)]
    if kind in ("gable", "hip", "flat") and rng.random() < 0.38:
        wings.append(_annex(rng, x, y, long, wide, turn, kind, slope))
    eave = 2.75 * rng.integers(style.storeys[0], style.storeys[1] + 1) + rng.uniform(0.2, 0.9)
    return _building(rng, tuple(wings), kind, float(eave), turn)


def _annex(
    rng: Generator, x: float, y: float, long: float, wide: float, turn: float, kind: str,
    slope: float,
) -> Wing:  # fmt: skip
    """Return a wing across the main house that begins at its axis."""
    across = rng.uniform(0.5, 0.85) * wide
    out = wide / 2 + rng.uniform(2.2, 5.5)
    side = rng.choice([-1.0, 1.0])
    along = rng.uniform(-1, 1) * (long - across) / 2
    if rng.random() < 0.5:
        along = float(np.sign(along)) * (long - across) / 2
    u, v = (np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))
    mid = side * out / 2
    at = x + u[0] * along + v[0] * mid, y + u[1] * along + v[1] * mid
    if kind == "flat":
        return wing_on(*at, out, across, turn + np.pi / 2, "flat", 0.0)
    wing = wing_on(*at, out, across, turn + np.pi / 2, "gable", slope)
    if kind == "hip":
        end = wing_on(*at, out, across, turn + np.pi / 2, "hip", slope).outer[2 if side > 0 else 3]
        wing = replace(wing, outer=(*wing.outer, end))
    return wing


def _garage(
    rng: Generator, plan: Plan, block: Polygon, taken: list[Polygon], house: Building
) -> None:
    centre = house.outline.centroid
    away = rng.uniform(8, 13)
    angle = house.turn + rng.choice([0, np.pi])
    x, y = centre.x + away * np.cos(angle), centre.y + away * np.sin(angle)
    kind = str(rng.choice(["flat", "gable", "shed"], p=[0.6, 0.25, 0.15]))
    slope = float(np.tan(np.radians(25 if kind == "gable" else 8)))
    wing = wing_on(x, y, rng.uniform(5.5, 7.5), rng.uniform(3, 4.5), house.turn, kind, slope)
    small = _building(rng, (wing,), kind, rng.uniform(2.3, 2.9), house.turn)
    if _fits(small.outline, block, taken, 1.5):
        taken.append(small.outline)
        plan.buildings.append(small)


def _pool(
    rng: Generator, plan: Plan, block: Polygon, taken: list[Polygon], x: float, y: float,
    turn: float,
) -> None:  # fmt: skip
    away = rng.uniform(12, 16)
    at = x - np.sin(turn) * away, y + np.cos(turn) * away
    basin = box(*at, rng.uniform(6, 10), rng.uniform(3, 4.5), turn)
    if _fits(basin, block, taken, 2.0):
        taken.append(basin)
        plan.covers.append((basin, "pool", "ground"))


def _rows(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Attached houses: rows along the longer streets, gardens between."""
    plan.covers.append((block, "grass", "ground"))
    taken: list[Polygon] = []
    edges = sorted(_edges(block), key=lambda e: -e.length)[:2]
    for edge in edges:
        (x0, y0), (x1, y1) = edge.coords
        turn = float(np.arctan2(y1 - y0, x1 - x0))
        deep, front = rng.uniform(8.5, 11.5), rng.uniform(2, 6)
        kind = "flat" if rng.random() < style.flat else "gable"
        slope = float(np.tan(np.radians(rng.uniform(25, 42))))
        eave = 2.8 * rng.integers(2, 4) + rng.uniform(0, 0.6)
        paint = str(rng.choice(PITCHED_ROOFS if kind == "gable" else LEVEL_ROOFS))
        at = rng.uniform(4, 9)
        while at < edge.length - 12:
            count, lot = int(rng.integers(3, 9)), rng.uniform(5.8, 8.5)
            row: list[Building] = []
            for number in range(count):
                mid = at + lot / 2
                if mid > edge.length - 8:
                    break
                at += lot
                step = float(rng.choice([0.0, 0.0, 0.5, -0.5, 1.2]))
                off = front + deep / 2 + (0.8 if number % 3 == 2 else 0.0)
                x = x0 + np.cos(turn) * mid - np.sin(turn) * off
                y = y0 + np.sin(turn) * mid + np.cos(turn) * off
                # the ridge runs along the row
                wing = wing_on(x, y, lot, deep, turn, kind, slope)
                own = _other_paint(x, y, kind) or paint
                house = _building(rng, (wing,), kind, eave + step, turn, paint=own)
                if not _fits(house.outline, block, taken, 4.0):
                    row, at = [], at + 4
                    break
                row.append(replace(house, attached=True))
            if len(row) >= 2:
                plan.buildings += row
                taken += [house.outline for house in row]
            at += rng.uniform(5, 12)
    _planted(rng, plan, block.buffer(-1), 0.9 * style.garden_trees)


def _other_paint(x: float, y: float, kind: str) -> str | None:
    """Return the roof of the third of a row's houses whose owners chose their own."""
    own = np.random.default_rng([int(1e3 * abs(x)), int(1e3 * abs(y))])
    if own.random() > OWN_ROOF:
        return None
    return str(own.choice(PITCHED_ROOFS if kind == "gable" else LEVEL_ROOFS))


def _dense(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Houses wall to wall around a court."""
    plan.covers.append((block, "pavement", "ground"))
    deep = rng.uniform(10.5, 14.5)
    court = block.buffer(-deep, join_style="mitre")
    eave = rng.uniform(*style.dense_m)
    slope = float(np.tan(np.radians(rng.uniform(22, 38))))
    if court.is_empty or court.geom_type != "Polygon" or court.area < 60:
        kind = "flat" if rng.random() < 0.6 else "hip"
        wing = Wing(block, FLAT if kind == "flat" else ring_planes(block, slope))
        plan.buildings.append(_building(rng, (wing,), kind, eave, _turn(block)))
        return
    ring = block.difference(court)
    outer, inner = ring_planes(block, slope), court_planes(court, slope)
    if rng.random() < 0.22:
        kind = "flat" if rng.random() < 0.5 else "hip"
        wing = Wing(ring, FLAT) if kind == "flat" else Wing(ring, outer, inner)
        plan.buildings.append(_building(rng, (wing,), kind, eave, _turn(block)))
    else:
        flat = rng.uniform(0.3, 0.8)
        for part in _parcels(rng, block, ring, deep):
            if rng.random() < 0.05:
                continue
            level = rng.random() < flat
            corner = len(part.exterior.coords) > 5
            kind = "flat" if level else ("hip" if corner else "gable")
            wing = Wing(part, FLAT) if level else Wing(part, outer, inner)
            tall = float(np.clip(eave * rng.uniform(0.72, 1.2), style.dense_m[0] * 0.8, 40))
            house = replace(_building(rng, (wing,), kind, tall, _turn(part)), attached=True)
            if level and part.area > 250 and rng.random() < 0.2:
                setback = part.buffer(-3.0, join_style="mitre")
                if setback.geom_type == "Polygon" and setback.area > 60:
                    house = raised(house, setback, 3.0)
            plan.buildings.append(house)
    _court(rng, plan, style, court)


def _court(rng: Generator, plan: Plan, style: Style, court: Polygon) -> None:
    yard = court.buffer(-2.5)
    if rng.random() < 0.5:
        plan.covers.append((court, str(rng.choice(["grass", "gravel"])), "ground"))
    if yard.area > 350 and rng.random() < 0.5:
        centre = yard.centroid
        wing = wing_on(centre.x, centre.y, rng.uniform(8, 14), rng.uniform(6, 9), _turn(court),
                       "flat", 0.0)  # fmt: skip
        back = _building(rng, (wing,), "flat", rng.uniform(3, 9), _turn(court))
        if yard.contains(back.outline):
            plan.buildings.append(back)
    if not yard.is_empty:
        _planted(rng, plan, yard, 0.8 * style.garden_trees)


def _parcels(rng: Generator, block: Polygon, ring: Polygon, deep: float) -> list[Polygon]:
    """Return pieces of a ring of houses, cut across; corners stay whole."""
    cuts = []
    for edge in _edges(block):
        (x0, y0), (x1, y1) = edge.coords
        way = np.array([x1 - x0, y1 - y0]) / edge.length
        across = np.array([-way[1], way[0]])
        at = deep + rng.uniform(1.5, 8)
        while at < edge.length - deep - 1.5:
            foot = np.array([x0, y0]) + way * at
            cuts.append(LineString([foot - 0.5 * across, foot + (deep + 0.5) * across]))
            at += rng.uniform(11, 24)
    lines = shapely.unary_union([ring.boundary, *cuts])
    parts = [p for p in polygonize(lines) if ring.buffer(0.05).contains(p.representative_point())]
    return [p for p in parts if p.area > 40]


def _towers(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Tall houses on their own, some on a podium, in green."""
    plan.covers.append((block, "grass", "ground"))
    taken: list[Polygon] = []
    turn = _turn(block)
    for _ in range(int(rng.integers(1, 4)) + int(block.area > 6000)):
        x, y = _spot(rng, block)
        slab = rng.random() < 0.45
        long = rng.uniform(35, 60) if slab else rng.uniform(17, 25)
        wide = rng.uniform(12, 15) if slab else rng.uniform(16, 23)
        own = turn + (np.pi / 2 if rng.random() < 0.4 else 0.0)
        tall = rng.uniform(15, 30) if slab else rng.uniform(*style.tower_m)
        wing = wing_on(x, y, long, wide, own, "flat", 0.0)
        tower = _building(rng, (wing,), "flat", tall, own)
        if not slab and rng.random() < 0.4:
            podium = rng.uniform(4, 8)
            base = wing_on(x, y, long + rng.uniform(12, 22), wide + rng.uniform(8, 16), own,
                           "flat", 0.0)  # fmt: skip
            tower = _building(rng, (base,), "flat", podium, own)
            tower = raised(tower, wing.outline, tall - podium)
        if _fits(tower.outline, block.buffer(-3), taken, 12.0):
            taken.append(tower.outline)
            plan.buildings.append(tower)
    if rng.random() < 0.5:
        x, y = _spot(rng, block)
        lot = box(x, y, 34, 17, turn)
        if _fits(lot, block, taken, 3.0):
            taken.append(lot)
            _car_park(rng, plan, lot, turn)
    _planted(rng, plan, block.buffer(-1), 1.2 * style.garden_trees)


def _halls(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Halls on asphalt."""
    plan.covers.append((block, "asphalt", "ground"))
    taken: list[Polygon] = []
    turn = _turn(block)
    for _ in range(int(rng.integers(2, 5))):
        x, y = _spot(rng, block)
        long, wide = rng.uniform(25, 70), rng.uniform(16, 40)
        kind = str(rng.choice(["flat", "gable", "shed"], p=[0.6, 0.3, 0.1]))
        slope = float(np.tan(np.radians(rng.uniform(4, 12))))
        wings = [wing_on(x, y, long, wide, turn, kind, slope)]
        hall = _building(rng, tuple(wings), kind, rng.uniform(5, 12), turn)
        if _fits(hall.outline, block.buffer(-3), taken, 8.0):
            taken.append(hall.outline)
            plan.buildings.append(hall)
    for _ in range(2):
        x, y = _spot(rng, block)
        lot = box(x, y, 40, 17, turn)
        if _fits(lot, block, taken, 2.0):
            taken.append(lot)
            _car_park(rng, plan, lot, turn)


def _green(rng: Generator, plan: Plan, area: Polygon, density: float) -> None:
    for part in shapely.get_parts(area):
        if part.geom_type == "Polygon" and part.area > 30:
            plan.covers.append((part, "grass" if rng.random() < 0.8 else "dry", "ground"))
            _planted(rng, plan, part.buffer(-1.5), density)


def _planted(rng: Generator, plan: Plan, area: Polygon, per_1000_m2: float) -> None:
    """Plant single trees, and groves where there is room."""
    if area.is_empty:
        return
    for _ in range(int(rng.poisson(area.area / 1000 * per_1000_m2 * 1.3))):
        x, y = _spot(rng, area)
        together = int(rng.integers(4, 14)) if area.area > 4000 and rng.random() < 0.12 else 1
        for _ in range(together):
            spread = 7.0 if together > 1 else 0.0
            a, b = x + rng.normal(0, spread), y + rng.normal(0, spread)
            if area.contains(shapely.Point(a, b)):
                plan.trees.append(_tree(rng, a, b, rng.gamma(6, 0.42)))


def _tree(rng: Generator, x: float, y: float, radius: float) -> Tree:
    needle = bool(rng.random() < 0.22)
    radius = float(np.clip(radius * (0.75 if needle else 1.0), 0.9, 5.5))
    tall = radius * (rng.uniform(3.0, 4.2) if needle else rng.uniform(2.0, 3.0)) + 1.0
    return Tree(float(x), float(y), radius, float(min(tall, 19.0)), needle)


def _lamps(rng: Generator, plan: Plan, style: Style, area: Polygon) -> None:
    """Plant the trees of avenues."""
    for edge in _edges(area):
        if rng.random() < 0.5 * style.street_trees:
            for at in np.arange(5, edge.length - 5, rng.uniform(9, 16)):
                spot = edge.interpolate(at)
                plan.trees.append(_tree(rng, spot.x, spot.y, rng.uniform(1.6, 3.0)))


def _clear_of(plan: Plan) -> list[Tree]:
    """Return the trees whose trunks stand clear of buildings and decks."""
    walls = shapely.STRtree([b.outline for b in plan.buildings] + plan.bridges)
    if not len(walls.geometries):
        return plan.trees
    points = [shapely.Point(t.x, t.y) for t in plan.trees]
    near = {
        int(i)
        for i, j in zip(*walls.query(points, predicate="dwithin", distance=6.0), strict=True)
        if points[i].distance(walls.geometries[j]) < 0.55 * plan.trees[i].radius_m + 0.6
    }
    return [tree for number, tree in enumerate(plan.trees) if number not in near]


def _parked(rng: Generator, plan: Plan, block: Polygon) -> None:
    """Park cars along a block's streets."""
    kerb = block.buffer(1.3, join_style="mitre")
    for edge in _edges(kerb):
        (x0, y0), (x1, y1) = edge.coords
        turn = float(np.arctan2(y1 - y0, x1 - x0))
        for at in np.arange(4, edge.length - 4, 6.2):
            if rng.random() < 0.3:
                plan.cars.append(_car(rng, x0 + np.cos(turn) * at, y0 + np.sin(turn) * at, turn))


def _car_park(rng: Generator, plan: Plan, lot: Polygon, turn: float) -> None:
    plan.covers.append((lot, "asphalt", "road"))
    centre = lot.centroid
    u, v = (np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))
    for row in (-5.2, 5.2):
        for along in np.arange(-15, 15, 2.8):
            if rng.random() < 0.6:
                x = centre.x + u[0] * along + v[0] * row
                y = centre.y + u[1] * along + v[1] * row
                plan.cars.append(_car(rng, x, y, turn + np.pi / 2))


def _car(rng: Generator, x: float, y: float, turn: float) -> Car:
    van = rng.random() < 0.12
    size = (5.6, 2.0, 2.3) if van else (rng.uniform(3.9, 4.8), 1.8, rng.uniform(1.4, 1.7))
    paint = str(rng.choice(["white car", "dark car", "metal", "red car", "blue car"],
                           p=[0.3, 0.3, 0.22, 0.09, 0.09]))  # fmt: skip
    return Car(float(x), float(y), turn + rng.normal(0, 0.03), size, paint)


def _river(rng: Generator, plan: Plan, style: Style, size_m: float) -> Polygon | None:
    """Lay a winding river and its bridges; return what must stay free of buildings."""
    if not style.river_m:
        return None
    turn = rng.uniform(0, np.pi)
    along = np.arange(-0.8 * size_m, 0.8 * size_m, 10.0)
    swing = 0.06 * size_m * np.sin(along / rng.uniform(110, 170) + rng.uniform(0, 6))
    swing += rng.uniform(-0.12, 0.12) * size_m
    x = size_m / 2 + np.cos(turn) * along - np.sin(turn) * swing
    y = size_m / 2 + np.sin(turn) * along + np.cos(turn) * swing
    plan.river = LineString(np.stack([x, y], 1))
    town = shapely.box(0, 0, size_m, size_m)
    inside = plan.river.intersection(town).length
    enter = plan.river.project(shapely.get_parts(plan.river.intersection(town))[0].interpolate(0))
    for share in (0.3, 0.68):
        at = enter + share * inside
        mid, ahead = plan.river.interpolate(at), plan.river.interpolate(at + 5)
        course = np.arctan2(ahead.y - mid.y, ahead.x - mid.x) + np.pi / 2
        long = style.river_m + 44
        plan.bridges.append(box(mid.x, mid.y, long, rng.uniform(8, 12), float(course)))
    return plan.river.buffer(style.river_m / 2 + 9)


def _building(
    rng: Generator, wings: tuple[Wing, ...], kind: str, eave: float, turn: float, *,
    paint: str | None = None,
) -> Building:  # fmt: skip
    shares = LEVEL_ROOFS if kind == "flat" else PITCHED_ROOFS
    wall = str(rng.choice(["light wall", "light wall", "brick wall", "grey wall"]))
    outline = shapely.unary_union([wing.outline for wing in wings])
    tint = float(np.exp(rng.normal(0, 0.16)))
    return Building(outline, wings, kind, float(eave), PAINT[paint or str(rng.choice(shares))],
                    tint, PAINT[wall], float(turn))  # fmt: skip


def _roof_kind(rng: Generator, style: Style) -> str:
    if rng.random() < style.flat:
        return "flat"
    left = 1.0 - style.hip
    shares = [left * 0.84, style.hip * 0.9, left * 0.16, style.hip * 0.1]
    return str(rng.choice(["gable", "hip", "shed", "pyramid"], p=shares))


def _fits(outline: Polygon, block: Polygon, taken: list[Polygon], gap_m: float) -> bool:
    return block.contains(outline) and all(outline.distance(other) > gap_m for other in taken)


def _edges(area: Polygon) -> list[Any]:
    ring = shapely.geometry.polygon.orient(area, 1.0).exterior.coords
    lines = [LineString([p, q]) for p, q in itertools.pairwise(ring)]
    return [line for line in lines if line.length > 1.0]


def _turn(area: Polygon) -> float:
    (x0, y0), (x1, y1) = max(_edges(area), key=lambda e: e.length).coords
    return float(np.arctan2(y1 - y0, x1 - x0))


def _spot(rng: Generator, area: Polygon) -> tuple[float, float]:
    """Return a random place inside."""
    x0, y0, x1, y1 = area.bounds
    for _ in range(200):
        x, y = rng.uniform(x0, x1), rng.uniform(y0, y1)
        if shapely.contains_xy(area, x, y):
            return float(x), float(y)
    point = area.representative_point()
    return float(point.x), float(point.y)
