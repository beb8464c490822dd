"""Roofs that rise from every wall alike: blocks around a court, hips over plans of any corners.

Over a convex plan the roof is the lowest of the planes that rise inwards from its outer walls;
around a convex court it is no higher than the highest of those that rise outwards from the court's.
All have one level and one slope, so that is linear in two unknowns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processes.roofs.blur import Seen, bic
from processes.roofs.planes import Planes
from processes.roofs.wings import FLATTEST, STEEPEST, Wing, Winged, robust

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]

LEAST_CONVEX = 0.95
"""Share of their hull that a plan and a court fill."""
STRAIGHT_M = 0.7
"""Corners that lie closer to a straight wall are none."""
MOST_WALLS = 8
UNKNOWNS = 2


def fit_eaves(outline: BaseGeometry, cells: Seen, coarsest_m: float) -> Winged | None:
    """Return the roof that rises from every wall; None where plan or surface have no such roof.

    A plan of four walls without a court is left to the bank, which knows hips and pyramids.
    """
    import shapely

    if not isinstance(outline, shapely.Polygon) or len(outline.interiors) > 1:
        return None
    origin = np.array(outline.bounds[:2])
    outer = _walls(shapely.Polygon(outline.exterior), origin)
    courts = [_walls(shapely.Polygon(ring), origin) for ring in outline.interiors]
    if outer is None or any(court is None for court in courts) or not (courts or len(outer) > 4):
        return None
    inner = -courts[0] if courts and courts[0] is not None else np.zeros((0, 3))
    at = np.column_stack([cells.x - origin[0], cells.y - origin[1], np.ones(len(cells.x))])
    rise = (at @ outer.T).min(axis=1)
    if len(inner):
        rise = np.minimum(rise, (at @ inner.T).max(axis=1))
    shown = cells(rise)
    (level, slope), residual = robust(np.column_stack([np.ones(len(shown)), shown]), cells.z)
    if not FLATTEST <= slope <= STEEPEST:
        return None
    off = np.abs(residual)
    cost = float(np.mean(np.minimum(off, coarsest_m) ** 2))
    return Winged(
        "hip",
        tuple(_wings(outline, outer, inner, level, slope, origin)),
        float(np.degrees(np.arctan(slope))),
        float(np.sqrt(cost)),
        float((off <= coarsest_m).mean()),
        bic(cost, len(off), UNKNOWNS),
    )


def _walls(plan: Any, origin: Floats) -> Floats | None:
    """Return rows a, b, c of each wall: a·x + b·y + c is the distance inwards, about *origin*.

    None where the plan is not convex or has too many walls.
    """
    import shapely

    hull = shapely.convex_hull(plan)
    if plan.area < LEAST_CONVEX * hull.area:
        return None
    ring = shapely.get_coordinates(shapely.simplify(shapely.orient_polygons(hull), STRAIGHT_M))
    ring = ring - origin
    along = np.diff(ring, axis=0)
    long = np.hypot(*along.T)
    if len(along) > MOST_WALLS or not (long > 0).all():
        return None
    inwards = np.column_stack([-along[:, 1], along[:, 0]]) / long[:, None]
    return np.column_stack([inwards, -(inwards * ring[:-1]).sum(axis=1)])


def _wings(
    outline: Any, outer: Floats, inner: Floats, level: float, slope: float, origin: Floats
) -> list[Wing]:
    """Return a wing for each wall of the court, where that is the farthest; one without a court."""
    import shapely

    around = shapely.envelope(outline)
    place = (float(origin[0]), float(origin[1]))

    def planes(rows: Floats) -> Planes:
        return Planes(slope * rows + np.array([0.0, 0.0, level]), place)

    if not len(inner):
        return [Wing(shapely.get_coordinates(around)[:-1], planes(outer))]
    found = []
    for number, wall in enumerate(inner):
        region = around
        for other in np.delete(inner, number, axis=0):
            region = shapely.intersection(region, _where(wall - other, around, origin))
        if region.geom_type == "Polygon" and not region.is_empty:
            corners = shapely.get_coordinates(shapely.orient_polygons(region))[:-1]
            found.append(Wing(corners, planes(np.vstack([outer, wall]))))
    return found


def _where(row: Floats, around: Any, origin: Floats) -> Any:
    """Return the part of a large square where a·x + b·y + c ≥ 0."""
    import shapely

    size = float(np.hypot(row[0], row[1]))
    normal, reach = row[:2] / max(size, 1e-9), 10 * around.length
    middle = np.array(shapely.get_coordinates(shapely.centroid(around))[0]) - origin
    foot = middle - (normal @ middle + row[2] / max(size, 1e-9)) * normal + origin
    along = reach * np.array([-normal[1], normal[0]])
    far = 2 * reach * normal
    return shapely.Polygon([foot - along, foot + along, foot + along + far, foot - along + far])
