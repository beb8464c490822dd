"""From labelled cells to polygons as a surveyor would draw them.

Several explanations of one group of touching parts are tried: walls along one pair of axes, along
two, along any straight stretch of the outline, a circle, and the simplified outline itself. Each
costs the area where it disagrees with the cells plus a price for every corner; the cheapest wins.
The lines and their cells are those of `arrangement`: parts that touch share their walls exactly.

The price suits masks found in stereo surfaces. On the cells of the truth porches are lost by it:
`village` has .904 of its corners, at a third of the price .978 (IoU .974 to .981), at a sixth .991
(`quarter` 1.17). On our own cells of `village` a third gives .953 to 1.071, IoU .874 to .876
and C-IoU .826 to .816. A price in proportion to the cells that a cheap fit leaves unexplained tells
the two apart (median .03 and .21 a cell of outline), but a group that lost a porch counts as noisy:
.904 to .930 only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import shapely
import shapely.errors
from numba import njit
from numpy.typing import NDArray

from processes.outlines.arrangement import Fit, fit
from processes.outlines.rings import rings
from processes.outlines.trace import (
    Contour,
    Group,
    all_contours,
    axis_lines,
    edge_lines,
    orientation,
    without_twins,
)

Floats = NDArray[np.floating[Any]]

CIRCLE_CORNERS = 48
DETAIL = 2


@dataclass(frozen=True)
class Taste:
    """What makes one drawing better than another, in metres."""

    cell_m: float
    corner_m2: float = 3.0
    """A corner must explain at least this much area …"""
    corner_m: float = 0.3
    """… and, in large buildings, this much for every metre of the root of their area.

    Without it, blocks have a fifth too many corners; with 0.45 m small houses lose theirs."""
    min_area_m2: float = 15.0
    min_courtyard_m2: float = 10.0

    @property
    def corner_px(self) -> float:
        return self.corner_m2 / self.cell_m**2

    def of_size(self, labels: NDArray[np.int32]) -> Taste:
        """Return the taste for a group of these parts."""
        side_m = self.cell_m * float(np.sqrt(np.median(np.bincount(labels.ravel())[1:])))
        return replace(self, corner_m2=max(self.corner_m2, self.corner_m * side_m))


@dataclass(frozen=True)
class Shape:
    """One part's polygon in cells (x = column, y = row), and how it was found."""

    part: int
    polygon: Any
    method: str


@dataclass(frozen=True)
class Drawing:
    """One explanation of a whole group."""

    method: str
    energy: float
    polygons: dict[int, list[Any]]


def regularise(group: Group, taste: Taste) -> list[Shape]:
    """Return valid polygons of the group's parts that do not overlap, in the group's cells."""
    outline = all_contours(group)
    if not len(outline.points):
        return []
    best = _best_lines(group, outline, taste.of_size(group.labels))
    energy = float("inf")
    if best is not None:
        name, lines = best
        # at the price of the others: hexagons would become circles
        energy = lines.misfit_px + taste.corner_px * lines.corners
    others = _others(group, outline, taste, energy)
    cheapest = min(others, key=lambda drawing: drawing.energy, default=None)
    if cheapest is None or energy <= cheapest.energy:
        cheapest = Drawing(name, energy, polygons(lines, group))
    return list(_finished(cheapest, taste))


def outlined(group: Group, taste: Taste) -> list[Shape]:
    """Return `regularise`'s polygons, or the raster outlines of a group that defeats it.

    One odd shape must not stop a run: such polygons carry the method "cells".
    """
    try:
        return regularise(group, taste)
    except (shapely.errors.ShapelyError, ValueError, ArithmeticError, cv2.error):
        found = {
            part: _polygons_of(_cell_polygon(group.labels == part))
            for part in range(1, group.parts + 1)
        }
        return list(_finished(Drawing("cells", 0.0, found), taste))


def separated(found: Sequence[Any]) -> list[Any]:
    """Return the polygons without overlaps: the smaller of two gives way, in its largest piece.

    Within a group nothing overlaps; outlines of two groups, drawn one by one, may. What is left
    of a polygon may be empty.
    """
    result = list(found)
    if len(result) < 2:
        return result
    tree = shapely.STRtree(result)
    pairs = np.sort(tree.query(result, predicate="intersects").T, axis=1)
    for one, other in np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0).tolist():
        small, large = sorted((one, other), key=lambda index: result[index].area)
        if shapely.area(shapely.intersection(result[small], result[large])) < 1e-9:
            continue
        rest = _polygons_of(shapely.difference(result[small], result[large]))
        result[small] = max(rest, key=shapely.area, default=shapely.Polygon())
    return result


def drawn(shapes: Sequence[Shape], size: tuple[int, ...]) -> NDArray[np.int32]:
    """Return a raster with the number, from 1, of the shape that holds each cell's middle."""
    canvas = np.zeros(size, np.int32)
    for number, shape in enumerate(shapes, start=1):
        _fill(canvas, shape.polygon, number)
    return canvas


def polygons(fitted: Fit, group: Group) -> dict[int, list[Any]]:
    """Return the polygons of each part: unions of cells, exactly touching, without idle points."""
    shells: dict[int, list[Any]] = {}
    holes: dict[int, list[Floats]] = {}
    for part, points, area in rings(fitted, group.labels):
        if area > 0:
            shells.setdefault(part, []).append(shapely.Polygon(points))
        else:
            holes.setdefault(part, []).append(points)
    return {
        part: _holed(shells[part], holes[part]) if part in holes else shells[part]
        for part in sorted(shells)
    }


def _holed(shells: list[Any], holes: list[Floats]) -> list[Any]:
    """Return the shells, each with its holes: those of the smallest around them."""
    own: list[list[Floats]] = [[] for _ in shells]
    for hole in holes:
        around = [n for n, shell in enumerate(shells) if shell.covers(shapely.Polygon(hole))]
        own[min(around, key=lambda n: shells[n].area)].append(hole)
    return [shapely.Polygon(s.exterior, found) for s, found in zip(shells, own, strict=True)]


def _best_lines(group: Group, outline: Contour, taste: Taste) -> tuple[str, Fit] | None:
    angle = orientation(outline)
    axes = axis_lines(outline, angle, taste.cell_m)
    tried = {"rectilinear": axes}
    turned = _second_orientation(outline, axes)
    if turned is not None:
        tried["two orientations"] = np.concatenate(
            [axes, axis_lines(outline, turned, taste.cell_m)]
        )
    edges = edge_lines(outline, angle, taste.cell_m)
    if len(edges):
        both = np.concatenate([axes, edges])
        tried["straight walls"] = without_twins(both, outline, 0.5 / taste.cell_m)
    fits = {
        name: found
        for name, lines in tried.items()
        if (found := fit(group.labels, lines, taste.corner_px)) is not None
    }
    if not fits:
        return None
    name = min(fits, key=lambda key: fits[key].energy)
    return name, _settled(fits[name], group, outline, taste)


def _second_orientation(outline: Contour, axes: Floats) -> float | None:
    """Return the orientation of what the main axes leave unexplained, if that is much."""
    if not len(axes):
        return None
    rest = ~_explained(axes, outline.points, outline.steps)
    lengths = outline.lengths
    if lengths[rest].sum() < 0.25 * lengths.sum():
        return None
    return orientation(Contour(outline.points[rest], outline.steps[rest], ()))


@njit(cache=True, nogil=True)
def _explained(lines: Floats, points: Floats, steps: Floats) -> NDArray[np.bool_]:
    """Return which points of an outline lie on a line that goes their way."""
    found = np.zeros(len(points), np.bool_)
    for at in range(len(points)):
        length = max(np.hypot(steps[at, 0], steps[at, 1]), 1e-9)
        for line in range(len(lines)):
            nx, ny, d = lines[line]
            near = abs(points[at, 0] * nx + points[at, 1] * ny - d) < 1.2
            if near and abs(steps[at, 0] * nx + steps[at, 1] * ny) < 0.35 * length:
                found[at] = True
                break
    return found


def _settled(fitted: Fit, group: Group, outline: Contour, taste: Taste) -> Fit:
    """Return the fit with each line moved to the median of the outline it stands for."""
    lines = _moved(fitted.lines, outline.points, outline.steps, 0.8 / taste.cell_m)
    moved = fit(group.labels, lines, taste.corner_px)
    return moved if moved is not None and moved.energy < fitted.energy else fitted


@njit(cache=True, nogil=True)
def _moved(lines: Floats, points: Floats, steps: Floats, near_px: float) -> Floats:
    lines = lines.copy()
    own = np.empty(len(points))
    for line in range(len(lines)):
        nx, ny, d = lines[line]
        count = 0
        for at in range(len(points)):
            offset = points[at, 0] * nx + points[at, 1] * ny - d
            if abs(offset) < near_px:
                across = abs(steps[at, 0] * nx + steps[at, 1] * ny)
                if across < 0.3 * np.hypot(steps[at, 0], steps[at, 1]):
                    own[count] = offset
                    count += 1
        if count > 8:
            lines[line, 2] += np.median(own[:count])
    return lines


def _others(group: Group, outline: Contour, taste: Taste, most: float) -> Iterator[Drawing]:
    """Yield the drawings without wall lines that may cost less than *most*.

    Of an outline the corners of its simplified rings alone cost more, nine times in ten.
    """
    rings = [
        cv2.approxPolyDP(r.astype(np.float32)[:, None], 1.0, True)[:, 0] for r in outline.rings
    ]
    if taste.corner_px * sum(map(len, rings)) < most:
        yield _outline(group, rings, taste)
    if group.parts == 1 and len(rings) == 1:
        yield from _circle(group, outline, taste, most)


def _outline(group: Group, rings: list[Floats], taste: Taste) -> Drawing:
    """Return the outline itself with few points; for several parts, of all of them together."""
    if group.parts == 1:
        whole = _even_odd([shapely.Polygon(r) for r in rings if len(r) >= 3])
        found = {1: _polygons_of(whole)}
    else:
        cells = [_cell_polygon(group.labels == part) for part in range(1, group.parts + 1)]
        simple = shapely.coverage_simplify(cells, 2.0)
        found = {part: _polygons_of(p) for part, p in enumerate(simple, start=1)}
    corners = sum(_corners(p) for ps in found.values() for p in ps)
    return Drawing("outline", _misfit_px(found, group) + taste.corner_px * corners, found)


def _circle(group: Group, outline: Contour, taste: Taste, most: float) -> Iterator[Drawing]:
    """Yield the circle through the outline in the least-squares sense (Kåsa, 1976), if close."""
    a, b, radius = _round(outline.points)
    # three numbers say it, a corner is two
    price = taste.corner_px * 4
    away = np.abs(np.hypot(outline.points[:, 0] - a, outline.points[:, 1] - b) - radius)
    if price + 0.5 * float((away * outline.lengths).sum()) > most:
        return
    turn = np.arange(CIRCLE_CORNERS) * 2 * np.pi / CIRCLE_CORNERS
    # as much area as the true circle
    radius *= float(np.sqrt(2 * np.pi / CIRCLE_CORNERS / np.sin(2 * np.pi / CIRCLE_CORNERS)))
    ring = np.stack([a + radius * np.cos(turn), b + radius * np.sin(turn)], axis=1)
    found = {1: [shapely.Polygon(ring)]}
    yield Drawing("circle", _misfit_px(found, group) + price, found)


@njit(cache=True, nogil=True, error_model="numpy")
def _round(points: Floats) -> tuple[float, float, float]:
    """Return x, y and radius of the circle of least squared difference of squared radii."""
    number = len(points)
    x, y = points[:, 0].mean(), points[:, 1].mean()
    uu = uv = vv = up = vp = 0.0
    for at in range(number):
        u, v = points[at, 0] - x, points[at, 1] - y
        square = u * u + v * v
        uu, uv, vv = uu + u * u, uv + u * v, vv + v * v
        up, vp = up + u * square / 2, vp + v * square / 2
    det = uu * vv - uv * uv
    a, b = (up * vv - vp * uv) / det, (vp * uu - up * uv) / det
    return x + a, y + b, (a * a + b * b + (uu + vv) / number) ** 0.5


def _finished(drawing: Drawing, taste: Taste) -> Iterator[Shape]:
    least_px = taste.min_area_m2 / taste.cell_m**2
    yard_px = taste.min_courtyard_m2 / taste.cell_m**2
    every = [p for found in drawing.polygons.values() for p in found]
    for part, found in drawing.polygons.items():
        for polygon in found:
            filled = _without_small_yards(polygon, yard_px, every)
            for piece in _polygons_of(filled):
                if piece.area >= least_px:
                    yield Shape(part, piece, drawing.method)


def _without_small_yards(polygon: Any, yard_px: float, every: list[Any]) -> Any:
    if not len(polygon.interiors):
        return polygon
    kept = []
    for ring in polygon.interiors:
        yard = shapely.Polygon(ring)
        taken = any(p is not polygon and p.intersection(yard).area > 0 for p in every)
        if taken or yard.area >= yard_px:
            kept.append(ring)
    return shapely.Polygon(polygon.exterior, kept)


def _cell_polygon(mask: NDArray[np.bool_]) -> Any:
    """Return the union of raster cells, edges exactly on the lattice."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, col = np.nonzero(edges)
    # runs of cells, from every other edge to the next
    top, start, stop = row[::2] - 0.5, col[::2] - 0.5, col[1::2] - 0.5
    return shapely.union_all(shapely.box(start, top, stop, top + 1))


def _even_odd(rings: list[Any]) -> Any:
    whole = shapely.Polygon()
    for ring in sorted(rings, key=lambda r: -r.area):
        for part in _polygons_of(ring):
            whole = whole.symmetric_difference(part)
    return whole


def _polygons_of(geometry: Any) -> list[Any]:
    """Return the valid polygons of any geometry; lines and points fall away."""
    if geometry.geom_type == "Polygon" and shapely.is_valid(geometry):
        return [] if geometry.is_empty else [geometry]
    valid = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    parts = shapely.get_parts(valid)
    return [p for p in parts if p.geom_type == "Polygon" and not p.is_empty]


def _corners(polygon: Any) -> int:
    return int(shapely.get_num_coordinates(polygon)) - 1 - len(polygon.interiors)


def _misfit_px(found: dict[int, list[Any]], group: Group) -> float:
    """Return the area, in cells, where polygons and labels disagree."""
    rows, cols = group.labels.shape
    canvas = np.zeros((rows * DETAIL, cols * DETAIL), np.int32)
    for part, pieces in found.items():
        for piece in pieces:
            _fill(canvas, piece, part, detail=DETAIL)
    wanted = np.repeat(np.repeat(group.labels, DETAIL, axis=0), DETAIL, axis=1)
    return float((canvas != wanted).sum()) / DETAIL**2


def _fill(canvas: NDArray[np.int32], polygon: Any, value: int, *, detail: int = 1) -> None:
    """Write a value into the cells whose middle lies in a polygon.

    *detail* is how much finer the canvas is. OpenCV's fillPoly would take in the border cells.
    """
    rings = [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    edges = np.concatenate([np.concatenate([ring[:-1], ring[1:]], axis=1) for ring in rings])
    _scanned(canvas, (edges + 0.5) * detail - 0.5, value)


@njit(cache=True, nogil=True)
def _scanned(canvas: NDArray[np.int32], edges: Floats, value: int) -> None:
    """Fill by the even-odd rule, row by row; edges are (x0, y0, x1, y1) in cells."""
    rows, cols = canvas.shape
    crossings = np.empty(len(edges))
    low = max(int(np.ceil(edges[:, 1].min())), 0)
    high = min(int(np.floor(edges[:, 1].max())), rows - 1)
    for row in range(low, high + 1):
        count = 0
        for index in range(len(edges)):
            x0, y0, x1, y1 = edges[index]
            if (y0 <= row) != (y1 <= row):
                crossings[count] = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
                count += 1
        found = np.sort(crossings[:count])
        for pair in range(0, count - 1, 2):
            first = max(int(np.ceil(found[pair])), 0)
            last = min(int(np.ceil(found[pair + 1])) - 1, cols - 1)
            for col in range(first, last + 1):
                canvas[row, col] = value
