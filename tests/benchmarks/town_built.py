"""A plan put up on its ground: the lattice that cameras look at."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from shapely import Polygon
from town_ground import (
    BRIDGE,
    BUILDING,
    CAR,
    CELL_M,
    GROUND,
    PAINT,
    ROAD,
    TREE,
    WATER,
    Lattice,
)
from town_plan import Car, Plan, Tree
from town_shapes import Building, box

from processes.semantics.place import smooth_noise

CLUTTER = ("grey wall", "metal", "bitumen", "brick wall")


def put_up(rng: Generator, place: Lattice, plan: Plan) -> dict[int, float]:
    """Build the plan; return the eaves' height by building number, numbered from 1."""
    if plan.river is not None:
        _carve(place, plan)
    for outline, paint, kind in plan.covers:
        road = kind == "road"
        place.cover(outline, paint, ROAD if road else GROUND, float(np.exp(rng.normal(0, 0.06))))
    _markings(rng, place, plan)
    if plan.river is not None:
        _flood(place, plan)
    for deck in plan.bridges:
        _bridge(place, deck)
    eaves = {}
    for number, building in enumerate(plan.buildings, start=1):
        level = _raise(rng, place, building, number)
        if level is not None:
            eaves[number] = level
    # cars stand under trees, not in them
    for car in plan.cars:
        park(place, car)
    for tree in plan.trees:
        _plant(rng, place, tree)
    return eaves


def park(place: Lattice, car: Car) -> None:
    """Put a car on free ground."""
    long, wide, high = car.size
    found = place.inside(box(car.x, car.y, long, wide, car.turn))
    if found is None:
        return
    window, mask = found
    kinds = place.classes[window][mask]
    if not mask.any() or not np.isin(kinds, (ROAD, GROUND)).all():
        return
    x, y = place.centres(window)
    along = (x - car.x) * np.cos(car.turn) + (y - car.y) * np.sin(car.turn)
    # a bonnet and a cabin
    cabin = np.abs(along + 0.05 * long) < (0.5 if high > 2 else 0.32) * long
    top = place.ground[window] + np.where(cabin, high, 0.6 * high)
    place.surface[window][mask] = top[mask]
    place.classes[window][mask] = CAR
    place.paint[window][mask] = PAINT[car.paint]
    place.paint[window][mask & (np.abs(along - 0.3 * long) < 0.3)] = PAINT["glass"]
    place.tint[window][mask] = 1.0


def _markings(rng: Generator, place: Lattice, plan: Plan) -> None:
    """Dash the middles of streets: lines midway between neighbouring blocks."""
    blocks = [shape for shape, _, kind in plan.covers if kind == "road"]
    tree = shapely.STRtree(blocks)
    for block in blocks:
        ring = np.array(shapely.geometry.polygon.orient(block, 1.0).exterior.coords)
        for (x0, y0), (x1, y1) in itertools.pairwise(ring):
            long = float(np.hypot(x1 - x0, y1 - y0))
            if long < 20:
                continue
            u = np.array([x1 - x0, y1 - y0]) / long
            out = np.array([u[1], -u[0]])
            mid = np.array([x0 + x1, y0 + y1]) / 2
            probe = shapely.LineString([mid + out * 0.5, mid + out * 26])
            hits = [blocks[i].distance(shapely.Point(mid)) for i in tree.query(probe, "intersects")
                    if blocks[i] is not block]  # fmt: skip
            half = min(hits) / 2 if hits else 0.0
            if not 3.0 < half < 13.0:
                continue
            for at in np.arange(3, long - 3, 9.0):
                spot = np.array([x0, y0]) + u * at + out * half
                found = place.inside(box(*spot, 3.0, 0.18, float(np.arctan2(u[1], u[0]))))
                if found is not None:
                    window, mask = found
                    mask &= place.classes[window] == ROAD
                    place.paint[window][mask] = PAINT["marking"]


def _carve(place: Lattice, plan: Plan) -> None:
    """Lower the ground towards the river to the level of its water."""
    assert plan.river is not None
    wide = _river_width(plan)
    away = _away(place, plan)
    dry = place.ground[away < wide / 2]
    level = float(dry.min()) - 2.0
    share = np.clip((away - wide / 2) / 32.0, 0.0, 1.0)
    share = share * share * (3 - 2 * share)
    bank = level + 1.2
    place.ground[:] = bank + (np.maximum(place.ground, bank) - bank) * share
    place.ground[away < wide / 2] = level
    place.surface[:] = place.ground


def _flood(place: Lattice, plan: Plan) -> None:
    wet = _away(place, plan) < _river_width(plan) / 2
    place.classes[wet], place.paint[wet], place.tint[wet] = WATER, PAINT["water"], 1.0
    bank = (place.classes == ROAD) & (_away(place, plan) < _river_width(plan) / 2 + 7)
    place.classes[bank], place.paint[bank] = GROUND, PAINT["grass"]


def _river_width(plan: Plan) -> float:
    # decks reach 22 m beyond both banks
    ring = np.array(plan.bridges[0].exterior.coords)
    return float(max(np.hypot(*(ring[1] - ring[0])), np.hypot(*(ring[2] - ring[1])))) - 44.0


def _away(place: Lattice, plan: Plan) -> NDArray[np.float32]:
    """Return each cell's distance to the river's middle, metres, made at two metres."""
    assert plan.river is not None
    at = np.arange(1.0, place.size_m + 2, 2.0)
    x, y = np.meshgrid(at, place.size_m - at)
    coarse = shapely.distance(shapely.points(x, y), plan.river).astype(np.float32)
    fine = ((np.arange(place.shape[0]) + 0.5) * CELL_M / 2 - 0.5).astype(np.float32)
    col, row = np.meshgrid(fine, fine)
    edge = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(coarse, col, row, cv2.INTER_LINEAR, borderMode=edge))


def _bridge(place: Lattice, deck: Polygon) -> None:
    found = place.inside(deck)
    if found is None:
        return
    window, mask = found
    ring = np.array(deck.exterior.coords)[:4]
    sides = [ring[(i + 1) % 4] - ring[i] for i in range(2)]
    along = max(sides, key=lambda s: float(np.hypot(*s)))
    long = float(np.hypot(*along))
    along = along / long
    x, y = place.centres(window)
    centre = deck.centroid
    share = ((x - centre.x) * along[0] + (y - centre.y) * along[1]) / long + 0.5
    ends = []
    for side in (mask & (share < 0.04), mask & (share > 0.96)):
        ends.append(float(place.ground[window][side].mean()) + 0.4 if side.any() else np.nan)
    if not np.isfinite(ends).any():
        return
    ends = [e if np.isfinite(e) else float(np.nanmean(ends)) for e in ends]
    high = (ends[0] + (ends[1] - ends[0]) * share).astype(np.float32)
    place.surface[window][mask] = np.maximum(high, place.ground[window])[mask]
    above = mask & (high > place.ground[window] + 0.5)
    place.classes[window][mask] = ROAD
    place.classes[window][above] = BRIDGE
    place.paint[window][mask] = PAINT["asphalt"]
    place.tint[window][mask] = 1.25


def _raise(rng: Generator, place: Lattice, building: Building, number: int) -> float | None:
    """Put up a building; return its eaves' height, or None where it lies off the lattice."""
    found = place.inside(building.outline)
    if found is None:
        return None
    window, mask = found
    mask = mask & (place.building[window] == 0)
    if not mask.any():
        return None
    x, y = place.centres(window)
    level = float(place.ground[window][mask].mean()) + building.eave_m
    rise = np.zeros(mask.shape)
    rise[mask] = np.nan_to_num(building.rise(x[mask], y[mask]))
    roof = (level + np.maximum(rise, 0.0)).astype(np.float32)
    roof = np.maximum(roof, place.ground[window] + 1.5)
    place.surface[window][mask] = roof[mask]
    place.roof[window][mask] = roof[mask]
    place.classes[window][mask] = BUILDING
    place.building[window][mask] = number
    place.paint[window][mask] = building.material
    v = (y - building.outline.centroid.y) * np.cos(building.turn)
    v -= (x - building.outline.centroid.x) * np.sin(building.turn)
    # courses of tiles, seams of metal
    courses = 1.0 + 0.035 * np.sin(2 * np.pi * v / rng.uniform(0.7, 1.6))
    place.tint[window][mask] = (building.tint * courses)[mask]
    _clutter(rng, place, building, window, mask, x, y)
    return level


def _clutter(
    rng: Generator, place: Lattice, building: Building, window: Any, mask: Any, x: Any, y: Any
) -> None:
    """Put chimneys, skylights and plant on a roof: in the surface, not in the roof."""
    area = building.outline.area
    count = rng.poisson(min(1.0 + area / 150, 9))
    x0, y0, x1, y1 = building.outline.bounds
    for _ in range(int(count)):
        a, b = rng.uniform(x0, x1), rng.uniform(y0, y1)
        plant = building.kind in ("flat", "multilevel") and area > 200 and rng.random() < 0.5
        long, wide = (rng.uniform(1.5, 4.0), rng.uniform(1.2, 2.5)) if plant else (0.9, 0.6)
        here = shapely.contains_xy(box(a, b, long, wide, building.turn), x, y) & mask
        if not here.any():
            continue
        low = float(place.roof[window][here].min())
        window_like = not plant and rng.random() < 0.45
        if not window_like:
            tall = rng.uniform(0.9, 2.4) if plant else rng.uniform(0.7, 1.4)
            top = float(place.roof[window][here].max()) if plant else low + tall
            high = max(top, low) + (tall if plant else 0.0)
            place.surface[window][here] = np.maximum(high, place.roof[window][here])
        paint = "glass" if window_like else str(rng.choice(CLUTTER))
        place.paint[window][here] = PAINT[paint]
        place.tint[window][here] = rng.uniform(0.6, 1.4)


def _plant(rng: Generator, place: Lattice, tree: Tree) -> None:
    """Plant a crown: a rough dome or cone that ends above a short trunk."""
    r = tree.radius_m * 1.25
    window = place.window((tree.x - r, tree.y - r, tree.x + r, tree.y + r))
    if window is None:
        return
    x, y = place.centres(window)
    away = np.hypot(x - tree.x, y - tree.y) / tree.radius_m
    if min(away.shape) < 3:
        return
    row, col = (int(v) for v in np.unravel_index(away.argmin(), away.shape))
    base = float(place.ground[window][row, col])
    rough = gaussian_filter(rng.standard_normal(away.shape), 2.2)
    rough /= max(float(rough.std()), 1e-6)
    away = away * (1 + 0.10 * smooth_noise(rng, away.shape, 9.0))
    body = 1 - away if tree.needle else np.sqrt(np.clip(1 - away**2, 0, 1))
    crown = tree.height_m * (0.80 if tree.needle else 0.62)
    high = base + tree.height_m - crown + crown * body + 0.22 * rough * (body > 0.1)
    inside = (away < 1) & (high > place.surface[window] + 0.2) & (high > base + 0.8)
    place.surface[window][inside] = high[inside]
    place.classes[window][inside] = TREE
    place.paint[window][inside] = PAINT["needle" if tree.needle else "leaf"]
    place.tint[window][inside] = np.exp(rng.normal(0, 0.18))
