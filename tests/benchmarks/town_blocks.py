"""Blocks of a made-up town: houses on lots, rows, houses around courts, towers and halls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from numpy.random import Generator
from shapely import LineString, Polygon
from shapely.ops import polygonize
from town_cars import car_park
from town_green import planted
from town_ground import PAINT
from town_plan import Plan, Style, edges_of, fits, spot_in, turn_of
from town_shapes import Building, Wing, box, court_planes, raised, ring_planes, wing_on

FLAT = ((0.0, 0.0, 0.0),)
LEVEL_ROOFS = ("bitumen", "roof gravel", "metal", "white", "copper", "slate")
OWN_ROOF = 0.45
"""Share of houses in a row that draw a roof of their own; a quarter of them draw the row's."""
PITCHED_ROOFS = ("tile", "tile", "tile", "brown tile", "slate", "metal")


def houses(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Detached houses with gardens along the streets of a block."""
    plan.covers.append((block, "grass" if rng.random() < 0.75 else "dry", "ground"))
    taken: list[Polygon] = []
    for edge in edges_of(block):
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
            if not fits(house.outline, block, taken, 3.0):
                continue
            taken.append(house.outline)
            plan.buildings.append(house)
            if rng.random() < 0.35:
                _garage(rng, plan, block, taken, house)
            if rng.random() < 0.15:
                _pool(rng, plan, block, taken, x, y, turn)
    planted(rng, plan, block.buffer(-1), 1.1 * style.garden_trees)


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
    if fits(small.outline, block, taken, 1.5):
        taken.append(small.outline)
        plan.buildings.append(small)


def _pool(
    rng: Generator, plan: Plan, block: Polygon, taken: list[Polygon], x: float, y: float,
    turn: float,
) -> None:  # fmt: skip
    away = rng.uniform(12, 16)
    at = x - np.sin(turn) * away, y + np.cos(turn) * away
    basin = box(*at, rng.uniform(6, 10), rng.uniform(3, 4.5), turn)
    if fits(basin, block, taken, 2.0):
        taken.append(basin)
        plan.covers.append((basin, "pool", "ground"))


def rows(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Attached houses: rows along the longer streets, gardens between."""
    plan.covers.append((block, "grass", "ground"))
    taken: list[Polygon] = []
    edges = sorted(edges_of(block), key=lambda e: -e.length)[:2]
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
                if not fits(house.outline, block, taken, 4.0):
                    row, at = [], at + 4
                    break
                row.append(replace(house, attached=True))
            if len(row) >= 2:
                plan.buildings += row
                taken += [house.outline for house in row]
            at += rng.uniform(5, 12)
    planted(rng, plan, block.buffer(-1), 0.9 * style.garden_trees)


def _other_paint(x: float, y: float, kind: str) -> str | None:
    """Return the roof of the third of a row's houses whose owners chose their own."""
    own = np.random.default_rng([int(1e3 * abs(x)), int(1e3 * abs(y))])
    if own.random() > OWN_ROOF:
        return None
    return str(own.choice(PITCHED_ROOFS if kind == "gable" else LEVEL_ROOFS))


def dense(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Houses wall to wall around a court."""
    plan.covers.append((block, "pavement", "ground"))
    deep = rng.uniform(10.5, 14.5)
    court = block.buffer(-deep, join_style="mitre")
    eave = rng.uniform(*style.dense_m)
    slope = float(np.tan(np.radians(rng.uniform(22, 38))))
    if court.is_empty or court.geom_type != "Polygon" or court.area < 60:
        kind = "flat" if rng.random() < 0.6 else "hip"
        wing = Wing(block, FLAT if kind == "flat" else ring_planes(block, slope))
        plan.buildings.append(_building(rng, (wing,), kind, eave, turn_of(block)))
        return
    ring = block.difference(court)
    outer, inner = ring_planes(block, slope), court_planes(court, slope)
    if rng.random() < 0.22:
        kind = "flat" if rng.random() < 0.5 else "hip"
        wing = Wing(ring, FLAT) if kind == "flat" else Wing(ring, outer, inner)
        plan.buildings.append(_building(rng, (wing,), kind, eave, turn_of(block)))
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
            house = replace(_building(rng, (wing,), kind, tall, turn_of(part)), attached=True)
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
        wing = wing_on(centre.x, centre.y, rng.uniform(8, 14), rng.uniform(6, 9), turn_of(court),
                       "flat", 0.0)  # fmt: skip
        back = _building(rng, (wing,), "flat", rng.uniform(3, 9), turn_of(court))
        if yard.contains(back.outline):
            plan.buildings.append(back)
    if not yard.is_empty:
        planted(rng, plan, yard, 0.8 * style.garden_trees)


def _parcels(rng: Generator, block: Polygon, ring: Polygon, deep: float) -> list[Polygon]:
    """Return pieces of a ring of houses, cut across; corners stay whole."""
    cuts = []
    for edge in edges_of(block):
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


def towers(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Tall houses on their own, some on a podium, in green."""
    plan.covers.append((block, "grass", "ground"))
    taken: list[Polygon] = []
    turn = turn_of(block)
    for _ in range(int(rng.integers(1, 4)) + int(block.area > 6000)):
        x, y = spot_in(rng, block)
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
        if fits(tower.outline, block.buffer(-3), taken, 12.0):
            taken.append(tower.outline)
            plan.buildings.append(tower)
    if rng.random() < 0.5:
        x, y = spot_in(rng, block)
        lot = box(x, y, 34, 17, turn)
        if fits(lot, block, taken, 3.0):
            taken.append(lot)
            car_park(rng, plan, lot, turn)
    planted(rng, plan, block.buffer(-1), 1.2 * style.garden_trees)


def halls(rng: Generator, plan: Plan, style: Style, block: Polygon) -> None:
    """Halls on asphalt."""
    plan.covers.append((block, "asphalt", "ground"))
    taken: list[Polygon] = []
    turn = turn_of(block)
    for _ in range(int(rng.integers(2, 5))):
        x, y = spot_in(rng, block)
        long, wide = rng.uniform(25, 70), rng.uniform(16, 40)
        kind = str(rng.choice(["flat", "gable", "shed"], p=[0.6, 0.3, 0.1]))
        slope = float(np.tan(np.radians(rng.uniform(4, 12))))
        wings = [wing_on(x, y, long, wide, turn, kind, slope)]
        hall = _building(rng, tuple(wings), kind, rng.uniform(5, 12), turn)
        if fits(hall.outline, block.buffer(-3), taken, 8.0):
            taken.append(hall.outline)
            plan.buildings.append(hall)
    for _ in range(2):
        x, y = spot_in(rng, block)
        lot = box(x, y, 40, 17, turn)
        if fits(lot, block, taken, 2.0):
            taken.append(lot)
            car_park(rng, plan, lot, turn)


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
