"""Flat roofs of two levels: towers on podiums, and top storeys that stand back from the street.

The higher level fills a rectangle along the walls, a disc, or whatever lies a distance inside the
outline.
Surfaces keep walls, so neither is blurred.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.roofs.blur import Seen, bic
from processes.roofs.planes import Planes
from processes.roofs.plans import direction
from processes.roofs.wings import Wing, Winged

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_STEP_M, LEAST_SHARE, LEAST_M2 = 2.0, 0.05, 60.0
"""The levels are this far apart, each takes this share of the roof, and the higher is this large:
lifts and stairs that stand on a flat roof are no storey."""
LEAST_FILL = {"setback": 0.65, "rectangle": 0.8, "disc": 0.8}
"""Share of the cells inside the higher level's outline that are high, and of those that are in:
on surfaces from images the edge of a storey is a metre off, and storeys that stand back on every
side are narrow."""
EDGE_M = 1.0
"""How far the edge of a level is sought around its outermost cells."""
LEAST_WIDTH_M = 2.0
SETBACKS_M = np.arange(1.0, 5.0, 0.1)
ALIKE = 0.005
"""Set-backs that name as many cells wrong, but for this share of the roof, are as good."""
UNKNOWNS = {"setback": 3, "rectangle": 6, "disc": 5}
DISC_CORNERS = 24


def fit_levels(outline: BaseGeometry, cells: Seen, coarsest_m: float) -> Winged | None:
    """Return the best flat roof of two levels, or None where the surface shows no two."""
    high = _high(cells)
    if high is None or high.mean() * outline.area < LEAST_M2:
        return None
    import shapely

    x, y = shapely.get_coordinates(shapely.envelope(outline))[:4].T
    around = np.column_stack([x, y])
    best: Winged | None = None
    for kind, area in (
        ("setback", _setback(outline, cells, high)),
        ("rectangle", _rectangle(outline, cells, high)),
        ("disc", _disc(outline, cells, high)),
    ):
        if area is None:
            continue
        inside = shapely.contains_xy(area, cells.x, cells.y)
        if not inside.any() or min(high[inside].mean(), inside[high].mean()) < LEAST_FILL[kind]:
            continue
        asked = inside[cells.asked]
        if asked.all() or not asked.any():  # no other level is left
            continue
        low_m, high_m = (float(np.median(cells.z[part])) for part in (~asked, asked))
        off = np.abs(cells.z - np.where(asked, high_m, low_m))
        cost = float(np.mean(np.minimum(off, coarsest_m) ** 2))
        score = bic(cost, len(off), UNKNOWNS[kind])
        if best is None or score < best.score:
            corners = shapely.get_coordinates(area)[:-1]
            wings = Wing(around, _level(low_m)), Wing(corners, _level(high_m))
            share = float((off <= coarsest_m).mean())
            best = Winged("multilevel", wings, 0.0, float(np.sqrt(cost)), share, score)
    return best


def _level(height_m: float) -> Planes:
    return Planes(np.array([[0.0, 0.0, height_m]]), (0.0, 0.0))


def _high(cells: Seen) -> Flags | None:
    """Return which cells under the outline belong to the higher of two levels, if there are two."""
    edge, step_m, share = _edge_between(cells.z)
    two = step_m > LEAST_STEP_M and min(share, 1 - share) > LEAST_SHARE
    return cells.every_z > edge if two else None


@njit(cache=True, nogil=True, error_model="numpy")
def _edge_between(z: Floats) -> tuple[float, float, float]:
    """Return the height midway between two levels, their difference and the share of the higher."""
    edge, step_m, share = (z.min() + z.max()) / 2, 0.0, 0.0
    for _ in range(5):
        upper = z > edge
        share = upper.mean()
        if share in (0.0, 1.0):
            break
        low_m, high_m = np.median(z[~upper]), np.median(z[upper])
        edge, step_m = (low_m + high_m) / 2, high_m - low_m
    return edge, step_m, share


def _setback(outline: BaseGeometry, cells: Seen, high: Flags) -> Any | None:
    """Return the outline drawn in by the distance that parts high cells best from the others."""
    import shapely

    wrong = ((cells.depth_m[:, None] >= SETBACKS_M) != high[:, None]).sum(axis=0)
    best = SETBACKS_M[wrong <= wrong.min() + ALIKE * len(high)].mean()
    inner = shapely.buffer(outline, -best, join_style="mitre")
    sound = inner.geom_type == "Polygon" and not inner.is_empty and not inner.interiors
    return inner if sound else None


def _rectangle(outline: BaseGeometry, cells: Seen, high: Flags) -> Any | None:
    """Return the rectangle along the walls that holds the high cells."""
    import shapely

    angle = direction(outline)
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    uv = np.column_stack([cells.x, cells.y]) @ axes
    walls = shapely.get_coordinates(outline) @ axes
    around = np.array([walls.min(axis=0), walls.max(axis=0)])
    box = np.quantile(uv[high], (0.02, 0.98), axis=0)
    for axis, side in product((0, 1), (0, 1)):
        beside = (np.abs(uv - box.mean(axis=0)) < np.ptp(box, axis=0) / 2)[:, 1 - axis]
        box[side, axis] = _edge(uv[beside, axis], high[beside], box[side, axis], side)
        if abs(box[side, axis] - around[side, axis]) < EDGE_M:
            box[side, axis] = around[side, axis]
    if (box[1] - box[0]).min() < LEAST_WIDTH_M:
        return None
    (left, low), (right, top) = box
    return shapely.polygons(
        np.array([(left, low), (right, low), (right, top), (left, top)]) @ axes.T
    )


def _disc(outline: BaseGeometry, cells: Seen, high: Flags) -> Any | None:
    """Return the disc about the high cells that is as large as they are, if the outline holds it.

    Its corners lie as far outside the circle as the middles of its sides lie inside.
    """
    import shapely

    middle = np.array([cells.x[high].mean(), cells.y[high].mean()])
    turn = 2 * np.pi / DISC_CORNERS
    area = outline.area * high.mean()
    reach = np.sqrt(2 * area / (DISC_CORNERS * np.sin(turn)))
    angle = turn * np.arange(DISC_CORNERS)
    disc = shapely.polygons(middle + reach * np.column_stack([np.cos(angle), np.sin(angle)]))
    return disc if shapely.contains(outline, disc) else None


def _edge(at: Floats, high: Flags, near: float, side: int) -> float:
    """Return the place within EDGE_M of *near* that parts most high cells from the others.

    *side* 1 is the end of the high part, 0 its start; *at* are places of cells along the axis.
    """
    places = near + np.linspace(-EDGE_M, EDGE_M, 61)
    beyond = (at[:, None] > places) if side else (at[:, None] < places)
    around = np.abs(at - near) < 2 * EDGE_M
    wrong = (beyond == high[:, None])[around].sum(axis=0)
    return float(places[wrong == wrong.min()].mean())
