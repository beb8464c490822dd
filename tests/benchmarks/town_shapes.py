"""Buildings of a made-up town as exact shapes: outlines, and roofs of planes.

A roof is the highest of its wings; a wing rises over its outline as the lowest of its outer planes
and, around a court, as the lower of that and the highest of its inner planes. Planes are (a, b, c):
a·x + b·y + c metres above the eaves, with x east and y north.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon
from shapely.affinity import rotate, translate

Floats = NDArray[np.float64]
Plane = tuple[float, float, float]


@dataclass(frozen=True)
class Wing:
    """A part of a roof."""

    outline: Polygon
    outer: tuple[Plane, ...]
    inner: tuple[Plane, ...] = ()

    def rise(self, x: Floats, y: Floats) -> Floats:
        """Return metres above the eaves; outside of the outline they mean nothing."""
        low = np.min([a * x + b * y + c for a, b, c in self.outer], axis=0)
        if self.inner:
            low = np.minimum(low, np.max([a * x + b * y + c for a, b, c in self.inner], axis=0))
        return np.asarray(low)


@dataclass(frozen=True)
class Building:
    """A building as drawn; its eaves' height is known once it stands."""

    outline: Polygon
    wings: tuple[Wing, ...]
    kind: str
    """flat, gable, hip, pyramid, shed or multilevel."""
    eave_m: float
    """Above the mean ground under it."""
    material: int
    tint: float
    wall: int
    turn: float
    attached: bool = False

    def rise(self, x: Floats, y: Floats) -> Floats:
        """Return metres above the eaves inside of the outline; NaN where no wing is."""
        best = np.full(x.shape, -np.inf)
        for wing in self.wings:
            inside = shapely.contains_xy(wing.outline.buffer(0.02), x, y)
            best = np.where(inside, np.maximum(best, wing.rise(x, y)), best)
        return np.where(np.isfinite(best), best, np.nan)

    def faces(self) -> list[tuple[Polygon, Plane]]:
        """Return the pieces of the roof as seen from above, each with its plane."""
        pieces = [(number, *piece) for number, w in enumerate(self.wings) for piece in _pieces(w)]
        seen = []
        for number, region, plane in pieces:
            left = region
            for other, hiding, above in pieces:
                if other != number and left.intersects(hiding):
                    left = left.difference(hiding.intersection(_higher(above, plane, hiding)))
            left = left.intersection(self.outline)
            seen += [(part, plane) for part in _polygons(left) if part.area > 0.2]
        return seen


def box(x: float, y: float, length: float, width: float, turn: float) -> Polygon:
    """Return a rectangle about (x, y), its longer side *turn* radians from east."""
    raw = shapely.box(-length / 2, -width / 2, length / 2, width / 2)
    return translate(rotate(raw, turn, origin=(0, 0), use_radians=True), x, y)


def wing_on(
    x: float, y: float, length: float, width: float, turn: float, kind: str, slope: float
) -> Wing:
    """Return a rectangular wing; ridges run with its length."""
    u = np.array([np.cos(turn), np.sin(turn)])
    v = np.array([-np.sin(turn), np.cos(turn)])
    sides = [_from(x, y, v, width / 2, slope), _from(x, y, -v, width / 2, slope)]
    ends_slope = slope * width / length if kind == "pyramid" else slope
    ends = [_from(x, y, u, length / 2, ends_slope), _from(x, y, -u, length / 2, ends_slope)]
    planes = {
        "flat": [(0.0, 0.0, 0.0)],
        "shed": sides[:1],
        "gable": sides,
        "hip": sides + ends,
        "pyramid": sides + ends,
    }[kind]
    return Wing(box(x, y, length, width, turn), tuple(planes))


def ring_planes(block: Polygon, slope: float) -> tuple[Plane, ...]:
    """Return planes that rise inwards from every edge of a convex outline."""
    return tuple(_edge_planes(block, slope, 1.0))


def court_planes(court: Polygon, slope: float) -> tuple[Plane, ...]:
    """Return planes that rise outwards from every edge of a convex court."""
    return tuple(_edge_planes(court, slope, -1.0))


def raised(building: Building, wing: Polygon, by_m: float) -> Building:
    """Return a flat building of two levels."""
    upper = Wing(wing, ((0.0, 0.0, by_m),))
    return replace(building, wings=(*building.wings, upper), kind="multilevel")


def _from(x: float, y: float, way: Floats, reach: float, slope: float) -> Plane:
    """Return the plane that falls towards *way* and is nought *reach* from (x, y)."""
    a, b = -slope * way
    return float(a), float(b), float(slope * reach - a * x - b * y)


def _edge_planes(outline: Polygon, slope: float, sign: float) -> list[Plane]:
    ring = np.array(shapely.geometry.polygon.orient(outline, 1.0).exterior.coords)
    planes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(ring):
        long = np.hypot(x1 - x0, y1 - y0)
        if long < 0.5:
            continue
        # counter-clockwise: the inside lies to the left
        a, b = -(y1 - y0) / long * slope * sign, (x1 - x0) / long * slope * sign
        planes.append((float(a), float(b), float(-a * x0 - b * y0)))
    return planes


def _half(plane: Plane, over: Polygon) -> Polygon:
    """Return the part of the plane's ground where it is above nought, as far as *over* goes."""
    a, b, c = plane
    steep = float(np.hypot(a, b))
    x0, y0, x1, y1 = over.bounds
    if steep < 1e-12:
        return shapely.box(x0, y0, x1, y1) if c > 0 else Polygon()
    mid = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    way = np.array([a, b]) / steep
    start = mid - way * (a * mid[0] + b * mid[1] + c) / steep
    far = 2 * float(np.hypot(x1 - x0, y1 - y0)) + float(np.hypot(*(start - mid))) + 10
    along = np.array([-way[1], way[0]]) * far
    near, other = start + along, start - along
    return Polygon([near, other, other + way * far, near + way * far])


def _higher(one: Plane, other: Plane, over: Polygon) -> Polygon:
    a, b, c = (p - q for p, q in zip(one, other, strict=True))
    return _half((a, b, c), over)


def _pieces(wing: Wing) -> list[tuple[Polygon, Plane]]:
    """Return the ground of each plane of a wing."""
    lows = [(_lowest(plane, wing.outer, wing.outline), plane) for plane in wing.outer]
    if not wing.inner:
        return [(region, plane) for region, plane in lows if region.area > 0.01]
    down = [tuple(-v for v in plane) for plane in wing.inner]
    highs = [(_lowest(d, down, wing.outline), p) for d, p in zip(down, wing.inner, strict=True)]
    found = []
    for low, outer in lows:
        for high, inner in highs:
            both = low.intersection(high)
            if both.area > 0.01:
                found.append((both.difference(_higher(outer, inner, both)), outer))
                found.append((both.intersection(_higher(outer, inner, both)), inner))
    merged = []
    for plane in (*wing.outer, *wing.inner):
        parts = [region for region, of in found if of == plane and region.area > 0.01]
        if parts:
            merged.append((shapely.unary_union(parts).buffer(0), plane))
    return merged


def _lowest(plane: Plane, among: tuple[Plane, ...] | list[Plane], region: Polygon) -> Polygon:
    for other in among:
        if other != plane and region.area > 0:
            region = region.intersection(_higher(other, plane, region))
    return region


def _polygons(shape: shapely.Geometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
