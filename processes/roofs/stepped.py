"""Solids under roofs of any planar pieces, with walls where neighbours differ in height.

The roof is a partition of the outline in plan, each piece on one plane. Above each corner of the
partition stands one vertical line with every height that a piece or the floor has there; walls take
all that lie between their ends, so that faces meet edge to edge and the shell is closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processes.core.building import Face, Solid
from processes.roofs.extrude import STEP_M
from processes.roofs.planes import LEAST_FACE_M2, LEAST_WALL_M, Planes, RoofUnfit, welded
from processes.roofs.validity import faults

if TYPE_CHECKING:
    from shapely.geometry import Polygon

    from processes.roofs.wings import Wing

WELD_M = 0.02
"""Corners of the partition closer than this are one."""
SNAP_MM = 2
"""Steps lower than this are none: they come from rounding. Corners drawn level by so little tilt no
triangle a centimetre wide by the 20° that would make its face uneven (204); 8 mm did."""

PINCHED = 303
"""The code of a corner with more than one fan of faces."""

Point = tuple[int, int]


def raise_wings(outline: Polygon, base_m: float, wings: Sequence[Wing]) -> Solid:
    """Return the solid between a level and the highest of *wings*, over an outline made by `tidy`.

    Raises RoofUnfit where a face would be a sliver, a wall lower than 0.3 m, or a corner of the
    roof one where two parts of it only touch.
    """
    pieces = list(_pieces(outline, wings))
    shift = np.round(np.array(outline.bounds[:2]), 3)
    faces = [
        ([_whole(ring, shift) for ring in _rings(plan)], Planes(row[None], planes.origin))
        for plan, planes, row in pieces
    ]
    heights = [
        _heights(plane, [p for ring in rings for p in ring], shift) for rings, plane in faces
    ]
    if min(min(known.values()) for known in heights) < (base_m + LEAST_WALL_M) * 1000:
        raise RoofUnfit("its eaves would reach the ground")
    _levelled(heights)
    base = round(base_m * 1000)
    table = _Table(shift)
    shell = [
        Face(
            tuple(tuple(table[(*p, known[p])] for p in ring) for ring in rings),
            "RoofSurface",
        )
        for (rings, _), known in zip(faces, heights, strict=True)
    ]
    lines = _lines(heights)
    owner = {
        edge: number
        for number, (rings, _) in enumerate(faces)
        for ring in rings
        for edge in _edges(ring)
    }
    rim: dict[Point, Point] = {}
    for (p, q), number in owner.items():
        upper = heights[number]
        other = owner.get((q, p))
        if other is None:
            if p in rim:
                raise RoofUnfit("its rim touches itself")
            rim[p] = q
            low = {p: base, q: base}
        else:
            low = heights[other]
            if low[p] > upper[p] or low[q] > upper[q]:
                if low[p] < upper[p] or low[q] < upper[q]:
                    raise RoofUnfit("two of its faces cross above a wall")
                continue
        shell += _wall(p, q, low, upper, lines, table)
    shell.append(_floor(rim, outline, base, table))
    solid = Solid(table.vertices(), tuple(shell))
    if any(fault.code == PINCHED for fault in faults(solid)):
        raise RoofUnfit("two parts of it meet in one point only")
    return solid


def _pieces(
    outline: Polygon, wings: Sequence[Wing]
) -> Iterator[tuple[Any, Planes, NDArray[np.float64]]]:
    """Yield each face of the roof in plan with its plane, meeting corner to corner."""
    import shapely

    areas = [shapely.Polygon(wing.corners) for wing in wings]
    walls = [_sides(np.asarray(ring.coords)[:-1]) for ring in shapely.get_rings(outline)]
    # side by side: GEOS 3.14 loses, of some rings, all that they go around
    near = shapely.buffer(shapely.multilinestrings(np.concatenate(walls)), WELD_M)
    sides = shapely.linestrings(np.concatenate([_sides(wing.corners) for wing in wings]))
    cells = _cells(outline, [*shapely.difference(sides, near), *_creases(wings, areas)])
    middles = shapely.point_on_surface(cells)
    within = shapely.contains(outline, middles)
    cells, middles = cells[within], middles[within]
    x, y = shapely.get_x(middles), shapely.get_y(middles)
    best = np.full(len(cells), -np.inf)
    name = np.full((len(cells), 2), -1)
    for number, (wing, area) in enumerate(zip(wings, areas, strict=True)):
        inside = shapely.contains_xy(area.buffer(0.01), x, y)
        height = wing.planes.heights(x, y)
        low = height.min(axis=1)
        higher = inside & (low > best + 1e-4)
        best[higher] = low[higher]
        name[higher] = np.column_stack([np.full(higher.sum(), number), height.argmin(1)[higher]])
    lost = name[:, 0] < 0
    if lost.any():
        # strips between a wall and the rectangle that stands for it: as high as the nearest wing
        away = shapely.distance(np.array(areas, object)[:, None], middles[lost])
        nearest = away.argmin(axis=0)
        for cell, wing_number in zip(np.flatnonzero(lost), nearest, strict=True):
            height = wings[wing_number].planes.heights(x[cell], y[cell])
            name[cell] = wing_number, int(np.argmin(height))
    for part, (number, plane) in _without_slivers(cells, _one_name_a_plane(name, wings)):
        planes = wings[number].planes
        yield shapely.orient_polygons(part), planes, planes.coefficients[plane]


def _creases(wings: Sequence[Wing], areas: Sequence[Any]) -> Iterator[Any]:
    """Yield the lines on which two planes are equally high, each once, over what both cover."""
    import shapely

    drawn: set[frozenset[tuple[Any, ...]]] = set()
    wide = shapely.buffer(areas, WELD_M)
    for number, (wing, area) in enumerate(zip(wings, areas, strict=True)):
        for after, (other, place) in enumerate(zip(wings[number:], areas[number:], strict=True)):
            both = shapely.intersection(area, place)
            if both.area <= WELD_M * both.length:  # beside each other, or not quite by rounding
                both = shapely.intersection(wide[number], wide[number + after])
            over = wing.corners.tobytes(), other.corners.tobytes()
            pairs = product(wing.planes.coefficients, other.planes.coefficients)
            for row, against in pairs:
                one = (*row.tolist(), *wing.planes.origin, over[0])
                two = (*against.tolist(), *other.planes.origin, over[1])
                if one == two or frozenset((one, two)) in drawn:
                    continue
                drawn.add(frozenset((one, two)))
                line = _equal(wing.planes, row, other.planes, against, both)
                if line is not None:
                    yield line


def _cells(outline: Polygon, lines: Sequence[Any]) -> Any:
    """Return the polygons that *lines* cut an outline into; loose ends fall away.

    So a line that ends just short of the outline would fall away whole, and a house take the
    height of its yard: 42 roofs of 18 towns were not as they had been fitted, by 2 to 20 m.

    Lines are drawn a little longer than they are, so that those that end on one another cross.
    """
    import shapely

    parts = shapely.get_parts(lines)
    parts = parts[shapely.length(parts) > WELD_M]
    longer = shapely.linestrings(_lengthened(parts))
    ties = _ties(outline, parts, longer)
    net = shapely.union_all([outline.boundary, *longer, *ties], grid_size=STEP_M)
    parts = welded([outline.boundary, *shapely.get_parts(net)], WELD_M)
    again = shapely.union_all(parts[1:], grid_size=STEP_M)
    return shapely.get_parts(shapely.polygonize([again]))


def _ties(outline: Polygon, lines: Any, longer: Any) -> Any:
    """Return what joins ends of *lines* to the outline that lie beside it even if drawn *longer*.

    A line that meets a wall at a slant comes near to it long before it crosses it.
    """
    import shapely

    found = []
    for at in (0, -1):
        ends = shapely.get_point(lines, at)
        tails = shapely.shortest_line(ends, shapely.get_point(longer, at))
        loose = shapely.distance(ends, outline.boundary) < 1.5 * WELD_M
        loose &= ~shapely.intersects(tails, outline.boundary)
        short = shapely.shortest_line(ends[loose], outline.boundary)
        found.append(short[shapely.length(short) > 0])
    return shapely.linestrings(_lengthened(np.concatenate(found)))


def _lengthened(lines: Any) -> NDArray[np.float64]:
    """Return the ends (line, 2, 2) of straight lines, moved apart."""
    import shapely

    first, last = (shapely.get_coordinates(shapely.get_point(lines, at)) for at in (0, -1))
    along = (last - first) / np.hypot(*(last - first).T)[:, None]
    return np.stack([first - 2 * WELD_M * along, last + 2 * WELD_M * along], axis=1)


def _sides(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return both ends of each side of a ring, (side, 2, 2)."""
    return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def _one_name_a_plane(name: NDArray[np.int_], wings: Sequence[Wing]) -> NDArray[np.int_]:
    """Return the names of the cells, planes that several wings share under the first one's."""
    known: dict[tuple[float, ...], tuple[int, int]] = {}
    first = {
        (wing, plane): known.setdefault((*row, *wings[wing].planes.origin), (wing, plane))
        for wing in range(len(wings))
        for plane, row in enumerate(wings[wing].planes.coefficients.tolist())
    }
    return np.array([first[wing, plane] for wing, plane in name.tolist()])


def _without_slivers(cells: Any, name: NDArray[np.int_]) -> list[tuple[Any, tuple[int, int]]]:
    """Return faces and their names: cells of one name joined, slivers to what they touch most.

    Raises RoofUnfit where a sliver touches nothing.
    """
    import shapely

    faces = _joined(cells, name)
    while True:
        plans = np.array([plan for plan, _ in faces], object)
        area = shapely.area(plans)
        least = int(area.argmin())
        if area[least] >= LEAST_FACE_M2:
            return faces
        beside = shapely.length(shapely.intersection(plans, plans[least].boundary))
        beside[least] = 0.0
        if beside.max() <= 0:
            raise RoofUnfit("a roof face would be a sliver")
        names = np.array([called for _, called in faces])
        names[least] = names[int(beside.argmax())]
        faces = _joined(plans, names)


def _joined(cells: Any, name: NDArray[np.int_]) -> list[tuple[Any, tuple[int, int]]]:
    """Return the cells of each name as one polygon or, where they lie apart, as several."""
    import shapely

    return [
        (part, (int(wing), int(plane)))
        for wing, plane in np.unique(name, axis=0)
        for part in shapely.get_parts(
            shapely.coverage_union_all(cells[(name == (wing, plane)).all(axis=1)])
        )
    ]


def _equal(
    planes: Planes,
    row: NDArray[np.float64],
    others: Planes,
    against: NDArray[np.float64],
    area: Any,
) -> Any | None:
    """Return the line within *area* on which two planes are equally high, if there is one."""
    import shapely

    if area.is_empty:
        return None
    off = np.array(planes.origin) - others.origin
    a, b = row[:2] - against[:2]
    c = row[2] - against[2] - against[:2] @ off
    slope = float(np.hypot(a, b))
    if slope < 1e-6:
        return None
    normal = np.array([a, b]) / slope
    foot = np.array(planes.origin) - c / slope * normal
    reach = 2 * (float(np.hypot(*(foot - planes.origin))) + area.length)
    along = reach * np.array([-normal[1], normal[0]])
    line = shapely.LineString([foot - along, foot + along])
    line = shapely.intersection(line, area)
    return None if line.is_empty else line


class _Table:
    """The one vertex table: places in whole millimetres and their numbers."""

    def __init__(self, shift: NDArray[np.float64]) -> None:
        self._shift = shift
        self._numbers: dict[tuple[int, int, int], int] = {}

    def __getitem__(self, place: tuple[int, int, int]) -> int:
        return self._numbers.setdefault(place, len(self._numbers))

    def vertices(self) -> NDArray[np.float64]:
        places = np.array(list(self._numbers), float) * STEP_M
        places[:, :2] += self._shift
        return np.round(places, 3)


def _rings(plan: Any) -> list[NDArray[np.float64]]:
    return [np.asarray(ring.coords)[:-1] for ring in (plan.exterior, *plan.interiors)]


def _whole(ring: NDArray[np.float64], shift: NDArray[np.float64]) -> list[Point]:
    return [(x, y) for x, y in np.round((ring - shift) / STEP_M).astype(np.int64).tolist()]


def _edges(ring: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    return zip(ring, (*ring[1:], ring[0]), strict=True)


def _heights(
    plane: Planes, places: Sequence[Point], shift: NDArray[np.float64]
) -> dict[Point, int]:
    """Return the height of a plane above each place, in whole millimetres."""
    x, y = (np.array(places) * STEP_M + shift).T
    millimetres = np.round(plane.lowest(x, y) * 1000).astype(np.int64)
    return dict(zip(places, millimetres.tolist(), strict=True))


def _levelled(heights: Sequence[dict[Point, int]]) -> None:
    """Make heights one that are apart by no more than rounding, above each corner."""
    for line in _lines(heights).items():
        place, levels = line
        last = levels[0]
        same = {last: last}
        for level in levels[1:]:
            if level - last > SNAP_MM:
                last = level
            same[level] = last
        for known in heights:
            if place in known:
                known[place] = same[known[place]]


def _lines(heights: Sequence[dict[Point, int]]) -> dict[Point, list[int]]:
    """Return every height above each corner, lowest first."""
    found: dict[Point, set[int]] = {}
    for known in heights:
        for place, level in known.items():
            found.setdefault(place, set()).add(level)
    return {place: sorted(levels) for place, levels in found.items()}


def _wall(
    p: Point,
    q: Point,
    low: dict[Point, int],
    upper: dict[Point, int],
    lines: dict[Point, list[int]],
    table: _Table,
) -> Iterator[Face]:
    """Yield the wall below the side p–q of a face; none where its neighbour is as high."""
    if low[p] == upper[p] and low[q] == upper[q]:
        return
    up = [low[q], *(z for z in lines[q] if low[q] < z < upper[q]), upper[q]]
    down = [low[p], *(z for z in lines[p] if low[p] < z < upper[p]), upper[p]][::-1]
    ring = [(*q, z) for z in dict.fromkeys(up)] + [(*p, z) for z in dict.fromkeys(down)]
    yield Face((tuple(table[place] for place in ring),), "WallSurface")


def _floor(rim: dict[Point, Point], outline: Polygon, base: int, table: _Table) -> Face:
    """Return the floor, its rings those of the rim the other way round."""
    rings = []
    left = dict(rim)
    while left:
        start = next(iter(left))
        ring = [start]
        while left[ring[-1]] != start:
            ring.append(left.pop(ring[-1]))
            if ring[-1] not in left:
                raise RoofUnfit("its rim does not close")
        left.pop(ring[-1])
        rings.append(ring)
    if len(rings) != 1 + len(outline.interiors):
        raise RoofUnfit("its rim does not follow the outline")
    rings.sort(key=_doubled_area, reverse=True)
    return Face(
        tuple(tuple(table[(*p, base)] for p in reversed(ring)) for ring in rings),
        "GroundSurface",
    )


def _doubled_area(ring: Sequence[Point]) -> int:
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in _edges(ring)))
