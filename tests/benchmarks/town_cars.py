"""Cars along the streets of a made-up town and on its car parks."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from shapely import Polygon
from town_plan import Car, Plan, edges_of


def parked(rng: Generator, plan: Plan, block: Polygon) -> None:
    """Park cars along a block's streets."""
    kerb = block.buffer(1.3, join_style="mitre")
    for edge in edges_of(kerb):
        (x0, y0), (x1, y1) = edge.coords
        turn = float(np.arctan2(y1 - y0, x1 - x0))
        for at in np.arange(4, edge.length - 4, 6.2):
            if rng.random() < 0.3:
                plan.cars.append(_car(rng, x0 + np.cos(turn) * at, y0 + np.sin(turn) * at, turn))


def car_park(rng: Generator, plan: Plan, lot: Polygon, turn: float) -> None:
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
