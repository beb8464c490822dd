"""Outlines to solids: blocks with one flat roof, walls, floor, and courtyards as inner rings.

Coordinates are held to the millimetre from the start, so that what is written as integers in
CityJSON is exactly what was checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from processes.core.building import Face, Ring, Solid

if TYPE_CHECKING:
    from shapely.geometry import Polygon
    from shapely.geometry.base import BaseGeometry

STEP_M = 0.001
LEAST_EDGE_M = 0.01
LEAST_PART_M2 = 1.0
TOUCH_GAP_M = 0.05


def tidy(outline: BaseGeometry) -> list[Polygon]:
    """Return the parts of *outline* that can be extruded, on whole millimetres.

    Each is valid, its outer ring anticlockwise, its holes clockwise, and no two of its rings
    touch: a courtyard that meets the street in one point would make an edge of four walls, so
    it is drawn back by 5 cm. Corners closer than 1 cm are one; parts under 1 m² are dropped.
    """
    import shapely

    plain = shapely.force_2d(outline)
    try:
        plain = shapely.remove_repeated_points(plain, LEAST_EDGE_M)
    except shapely.GEOSException:  # a whole ring would be one point: such rings go
        plain = shapely.set_precision(shapely.make_valid(plain), LEAST_EDGE_M)
    if not plain.is_valid:
        plain = shapely.make_valid(plain)
    snapped = shapely.set_precision(plain, STEP_M)
    return [
        shapely.orient_polygons(part)
        for piece in shapely.get_parts(snapped)
        for part in _apart(piece)
        if part.area >= LEAST_PART_M2
    ]


def extrude(outline: Polygon, base_m: float, roof_m: float) -> Solid:
    """Return the block between two heights over an outline made by `tidy`."""
    rings = [np.asarray(ring.coords)[:-1] for ring in (outline.exterior, *outline.interiors)]
    plan = np.concatenate(rings)
    count = len(plan)
    heights = np.repeat(np.round([base_m, roof_m], 3), count)
    vertices = np.column_stack([np.tile(plan, (2, 1)), heights])
    roof: list[Ring] = []
    start = 0
    for ring in rings:
        roof.append(tuple(range(count + start, count + start + len(ring))))
        start += len(ring)
    ground = tuple(tuple(i - count for i in reversed(ring)) for ring in roof)
    faces = [Face(ground, "GroundSurface"), Face(tuple(roof), "RoofSurface")]
    faces += (
        Face(((a - count, b - count, b, a),), "WallSurface")
        for ring in roof
        for a, b in _edges(ring)
    )
    return Solid(vertices, tuple(faces))


def _edges(ring: Ring) -> Iterator[tuple[int, int]]:
    return zip(ring, (*ring[1:], ring[0]), strict=True)


def _apart(piece: Any) -> Sequence[Polygon]:
    """Return a polygon with its holes drawn back from whatever ring they touch."""
    import shapely

    if piece.geom_type != "Polygon" or piece.is_empty:
        return []
    if not piece.interiors or not _touching(piece):
        return [piece]
    holes = shapely.polygons(list(piece.interiors))
    gaps = shapely.buffer(holes, -TOUCH_GAP_M, join_style="mitre")
    whole = shapely.difference(shapely.polygons(piece.exterior), shapely.union_all(gaps))
    snapped = shapely.get_parts(shapely.set_precision(whole, STEP_M))
    return [part for part in snapped if not _touching(part)]


def _touching(piece: Polygon) -> bool:
    import shapely

    rings = [piece.exterior, *piece.interiors]
    tree = shapely.STRtree(rings)
    a, b = tree.query(rings, predicate="intersects")
    return bool(np.any(a != b))
