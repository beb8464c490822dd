"""Roofs that are the lower envelope of a few planes, over an outline of any shape.

A gable is the lower of two planes, a hip of four: ridges and hips are where planes are equal.
So any convex roof is cut to any outline, courtyards included, and stays planar.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.building import Face, Ring, Solid
from processes.roofs.extrude import STEP_M

if TYPE_CHECKING:
    from shapely.geometry import Polygon

LEAST_FACE_M2 = 0.05
WELD_M = 0.005
LEAST_WALL_M = 0.3

Point = tuple[int, int]
"""A place in plan, in whole millimetres from the origin of the planes."""


class RoofUnfit(Exception):
    """Planes that make no roof over an outline; the message says why."""


@dataclass(frozen=True)
class Planes:
    """Planes z = a·(x − x0) + b·(y − y0) + c: rows of a, b, c about a common origin x0, y0."""

    coefficients: NDArray[np.float64]
    origin: tuple[float, float]

    def heights(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Return the height of each plane (last axis) over ground coordinates."""
        dx, dy = np.asarray(x) - self.origin[0], np.asarray(y) - self.origin[1]
        a, b, c = self.coefficients.T
        return np.asarray(dx[..., None] * a + dy[..., None] * b + c)

    def lowest(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Return the height of the lower envelope."""
        return np.asarray(self.heights(x, y).min(axis=-1))


def raise_roof(outline: Polygon, base_m: float, planes: Planes) -> Solid:
    """Return the solid between a level and the lower envelope of *planes*.

    *outline* comes from `tidy`. Raises RoofUnfit where a roof face would be a sliver or a wall
    lower than 0.3 m.
    """
    corners = _Corners(planes, base_m)
    patches = [[corners.ring(ring) for ring in rings] for rings in _patches(outline, planes)]
    roof = [
        Face(tuple(tuple(map(corners.top, ring)) for ring in p), "RoofSurface") for p in patches
    ]
    walls, floor = [], []
    eaves = _eaves(patches)
    for ring in (outline.exterior, *outline.interiors):
        outer = corners.ring(np.asarray(ring.coords)[:-1])
        walls += [_wall(chain, corners) for chain in _chains(outer, eaves)]
        floor.append(tuple(map(corners.bottom, reversed(outer))))
    vertices = corners.table()
    if (vertices[vertices[:, 2] != np.round(base_m, 3), 2] < base_m + LEAST_WALL_M).any():
        raise RoofUnfit("its eaves would reach the ground")
    return Solid(vertices, (Face(tuple(floor), "GroundSurface"), *roof, *walls))


class _Corners:
    """The one vertex table: each place once at the floor and once at the roof."""

    def __init__(self, planes: Planes, base_m: float) -> None:
        self._planes, self._base = planes, base_m
        self._numbers: dict[tuple[Point, bool], int] = {}

    def ring(self, coordinates: NDArray[np.float64]) -> list[Point]:
        whole = np.round((coordinates - self._shift()) / STEP_M).astype(np.int64)
        return [(x, y) for x, y in whole.tolist()]

    def top(self, place: Point) -> int:
        return self._numbers.setdefault((place, True), len(self._numbers))

    def bottom(self, place: Point) -> int:
        return self._numbers.setdefault((place, False), len(self._numbers))

    def table(self) -> NDArray[np.float64]:
        plan = np.array([place for place, _ in self._numbers]) * STEP_M + self._shift()
        is_top = np.array([top for _, top in self._numbers])
        z = np.where(is_top, self._planes.lowest(*plan.T), self._base)
        return np.round(np.column_stack([plan, z]), 3)

    def _shift(self) -> NDArray[np.float64]:
        return np.round(self._planes.origin, 3)


def _patches(outline: Polygon, planes: Planes) -> list[list[NDArray[np.float64]]]:
    """Return the rings of each roof face in plan, anticlockwise, meeting corner to corner."""
    import shapely

    regions = [_region(outline, planes, k) for k in range(len(planes.coefficients))]
    # where a cut passes a corner, the intersection may hold a stray line beside its polygons
    areas = [part for part in shapely.get_parts(regions) if part.geom_type == "Polygon"]
    lines = [outline.boundary, *(part.boundary for part in areas)]
    net = shapely.union_all(welded(lines), grid_size=STEP_M)
    faces = shapely.get_parts(shapely.polygonize([net]))
    faces = faces[shapely.contains(outline, shapely.point_on_surface(faces))]
    if not len(faces) or shapely.area(faces).min() < LEAST_FACE_M2:
        raise RoofUnfit("a roof face would be a sliver")
    return [
        [np.asarray(ring.coords)[:-1] for ring in (face.exterior, *face.interiors)]
        for face in shapely.orient_polygons(faces)
    ]


def welded(lines: list[Any], within_m: float = WELD_M) -> Any:
    """Return *lines* with corners closer than that made one, those of the first line kept.

    Two regions compute their common ridge each for itself; where the ends round to different
    millimetres, a sliver as long as the ridge would lie between them.
    """
    import shapely

    corners = np.round(shapely.get_coordinates(lines), 3)
    return shapely.set_coordinates(np.array(lines), corners[_firsts(corners, within_m)])


@njit(cache=True, nogil=True, error_model="numpy")
def _firsts(places: NDArray[np.float64], within: float) -> NDArray[np.int64]:
    """Return for each place the first of those that are so near to it, or to one that is."""
    first = np.arange(len(places))
    for i in range(len(places)):
        for j in range(i):
            dx, dy = places[i, 0] - places[j, 0], places[i, 1] - places[j, 1]
            if dx * dx + dy * dy <= within * within:
                first[i] = first[j]
                break
    return first


def _region(outline: Polygon, planes: Planes, k: int) -> Any:
    """Return where plane *k* is the lowest."""
    import shapely

    found: Any = outline
    for other in np.delete(planes.coefficients, k, axis=0):
        found = shapely.intersection(
            found, _half_plane(planes.coefficients[k] - other, outline, planes)
        )
    return found


def _half_plane(line: NDArray[np.float64], outline: Polygon, planes: Planes) -> Any:
    """Return the part of a large square where a·x + b·y + c ≤ 0."""
    import shapely

    slope = np.hypot(line[0], line[1])
    if slope < 1e-9:
        return shapely.box(-1e7, -1e7, 1e8, 1e8) if line[2] <= 0 else shapely.Polygon()
    normal = line[:2] / slope
    along = np.array([-normal[1], normal[0]])
    foot = -line[2] / slope * normal
    reach = 10 * (np.hypot(*foot) + outline.length)
    square = [foot + reach * along, foot - reach * along]
    square += [square[1] - reach * normal, square[0] - reach * normal]
    return shapely.Polygon(np.array(square) + planes.origin)


def _eaves(patches: list[list[list[Point]]]) -> dict[Point, Point]:
    """Return, for each place on the rim of the roof, the next one anticlockwise."""
    edges = {
        edge
        for rings in patches
        for ring in rings
        for edge in zip(ring, (*ring[1:], ring[0]), strict=True)
    }
    return {a: b for a, b in edges if (b, a) not in edges}


def _chains(ring: list[Point], eaves: dict[Point, Point]) -> list[list[Point]]:
    """Return the rim above each side of an outline's ring: its two corners and what is between."""
    chains = []
    for here, following in pairwise((*ring, ring[0])):
        chain = [here]
        while chain[-1] != following:
            if chain[-1] not in eaves or len(chain) > len(eaves):
                raise RoofUnfit("its rim does not follow the outline")
            chain.append(eaves[chain[-1]])
        chains.append(chain)
    return chains


def _wall(chain: list[Point], corners: _Corners) -> Face:
    below: Ring = (corners.bottom(chain[0]), corners.bottom(chain[-1]))
    return Face(((*below, *(corners.top(place) for place in reversed(chain))),), "WallSurface")
