"""What a made-up town is like, what stands in it, and where there is room for more."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.random import Generator
from shapely import LineString, Polygon
from town_shapes import Building


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


def fits(outline: Polygon, block: Polygon, taken: list[Polygon], gap_m: float) -> bool:
    return block.contains(outline) and all(outline.distance(other) > gap_m for other in taken)


def edges_of(area: Polygon) -> list[Any]:
    ring = shapely.geometry.polygon.orient(area, 1.0).exterior.coords
    lines = [LineString([p, q]) for p, q in itertools.pairwise(ring)]
    return [line for line in lines if line.length > 1.0]


def turn_of(area: Polygon) -> float:
    (x0, y0), (x1, y1) = max(edges_of(area), key=lambda e: e.length).coords
    return float(np.arctan2(y1 - y0, x1 - x0))


def spot_in(rng: Generator, area: Polygon) -> tuple[float, float]:
    """Return a random place inside."""
    x0, y0, x1, y1 = area.bounds
    for _ in range(200):
        x, y = rng.uniform(x0, x1), rng.uniform(y0, y1)
        if shapely.contains_xy(area, x, y):
            return float(x), float(y)
    point = area.representative_point()
    return float(point.x), float(point.y)
