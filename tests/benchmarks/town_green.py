"""Lawns, single trees, groves and avenues of a made-up town."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.random import Generator
from shapely import Polygon
from town_plan import Plan, Style, Tree, edges_of, spot_in


def green(rng: Generator, plan: Plan, area: Polygon, density: float) -> None:
    for part in shapely.get_parts(area):
        if part.geom_type == "Polygon" and part.area > 30:
            plan.covers.append((part, "grass" if rng.random() < 0.8 else "dry", "ground"))
            planted(rng, plan, part.buffer(-1.5), density)


def planted(rng: Generator, plan: Plan, area: Polygon, per_1000_m2: float) -> None:
    """Plant single trees, and groves where there is room."""
    if area.is_empty:
        return
    for _ in range(int(rng.poisson(area.area / 1000 * per_1000_m2 * 1.3))):
        x, y = spot_in(rng, area)
        together = int(rng.integers(4, 14)) if area.area > 4000 and rng.random() < 0.12 else 1
        for _ in range(together):
            spread = 7.0 if together > 1 else 0.0
            a, b = x + rng.normal(0, spread), y + rng.normal(0, spread)
            if area.contains(shapely.Point(a, b)):
                plan.trees.append(_tree(rng, a, b, rng.gamma(6, 0.42)))


def avenues(rng: Generator, plan: Plan, style: Style, area: Polygon) -> None:
    """Plant the trees of avenues."""
    for edge in edges_of(area):
        if rng.random() < 0.5 * style.street_trees:
            for at in np.arange(5, edge.length - 5, rng.uniform(9, 16)):
                spot = edge.interpolate(at)
                plan.trees.append(_tree(rng, spot.x, spot.y, rng.uniform(1.6, 3.0)))


def clear_of(plan: Plan) -> list[Tree]:
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


def _tree(rng: Generator, x: float, y: float, radius: float) -> Tree:
    needle = bool(rng.random() < 0.22)
    radius = float(np.clip(radius * (0.75 if needle else 1.0), 0.9, 5.5))
    tall = radius * (rng.uniform(3.0, 4.2) if needle else rng.uniform(2.0, 3.0)) + 1.0
    return Tree(float(x), float(y), radius, float(min(tall, 19.0)), needle)
