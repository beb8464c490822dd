"""Streets, blocks and the river of a made-up town.

Districts are Voronoi cells; each has its own grid of streets, whose blocks become houses on lots,
rows, houses wall to wall around courts, towers, halls, parks or fields.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.random import Generator
from scipy.spatial import Voronoi
from shapely import LineString, Polygon
from town_blocks import dense, halls, houses, rows, towers
from town_cars import parked
from town_green import avenues, clear_of, green
from town_plan import Plan, Style, edges_of
from town_shapes import box


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
        avenues(rng, plan, style, area)
        for block in _blocks(rng, style, area, kind):
            if wet is not None and block.intersects(wet):
                green(rng, plan, block.difference(wet.buffer(2)), 3.0 * style.garden_trees)
                continue
            _built(rng, plan, style, block, kind)
    if wet is not None:
        plan.trees = [t for t in plan.trees if not shapely.contains_xy(wet, t.x, t.y)]
    plan.trees = clear_of(plan)
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
    long = max(edges_of(area), key=lambda e: e.length)
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
        green(rng, plan, inside, 2.0 * style.garden_trees)
    elif kind == "houses":
        houses(rng, plan, style, inside)
    elif kind == "rows":
        rows(rng, plan, style, inside)
    elif kind == "dense":
        dense(rng, plan, style, inside)
    elif kind == "towers":
        towers(rng, plan, style, inside)
    elif kind == "halls":
        halls(rng, plan, style, inside)
    elif kind == "field":
        plan.covers.append((inside, str(rng.choice(["crop", "soil", "dry", "grass"])), "ground"))
    else:
        green(rng, plan, inside, 14.0 if kind == "wood" else rng.uniform(2, 5))
    parked(rng, plan, block)


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
