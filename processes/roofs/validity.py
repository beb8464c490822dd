"""Is a solid valid by ISO 19107? The checks and codes of val3dity (Ledoux, 2018).

Rings, then faces, then the shell, then the solid, each only where the level below is sound, so
a fault is named once, at its cause. A solid here has one shell, so 401 to 404 cannot arise.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.core.building import Ring, Solid

SNAP_M = 0.001
PLANE_M = 0.01
NORMAL_DEG = 20.0
TOUCH_M = 0.0015
"""Vertices are rounded to millimetres: contact closer than that is rounding, not a fault."""

NAMES = {
    101: "TOO_FEW_POINTS",
    102: "CONSECUTIVE_POINTS_SAME",
    104: "RING_SELF_INTERSECTION",
    201: "INTERSECTION_RINGS",
    202: "DUPLICATED_RINGS",
    203: "NON_PLANAR_POLYGON_DISTANCE_PLANE",
    204: "NON_PLANAR_POLYGON_NORMALS_DEVIATION",
    205: "POLYGON_INTERIOR_DISCONNECTED",
    206: "INNER_RING_OUTSIDE",
    207: "INNER_RINGS_NESTED",
    208: "ORIENTATION_RINGS_SAME",
    301: "TOO_FEW_POLYGONS",
    302: "SHELL_NOT_CLOSED",
    303: "NON_MANIFOLD_CASE",
    305: "MULTIPLE_CONNECTED_COMPONENTS",
    306: "SHELL_SELF_INTERSECTION",
    307: "POLYGON_WRONG_ORIENTATION",
    405: "WRONG_ORIENTATION_SHELL",
}


@dataclass(frozen=True)
class Fault:
    """What is wrong, by its val3dity code, and at which face (None: the whole shell)."""

    code: int
    face: int | None = None

    @property
    def name(self) -> str:
        return NAMES[self.code]


def faults(solid: Solid) -> list[Fault]:
    """Return everything that is wrong with *solid*; nothing where it is valid."""
    points, number = _snapped(solid.vertices)
    rings = [tuple(tuple(number[list(r)].tolist()) for r in f.rings) for f in solid.faces]
    found = [Fault(c, i) for i, face in enumerate(rings) for c in _ring_codes(face)]
    if found:
        return found
    flat = [_Flat.of(points, face) for face in rings]
    found = [Fault(c, i) for i, face in enumerate(flat) for c in _face_codes(face)]
    if found:
        return found
    found = [Fault(c) for c in _shell_codes(rings)]
    if found:
        return found
    triangles = [face.triangles() for face in flat]
    if _crosses_itself(points, rings, triangles):
        return [Fault(306)]
    a, b, c = np.moveaxis(points[np.concatenate(triangles)] - points[0], 1, 0)
    return [Fault(405)] if np.einsum("ij,ij->", a, np.cross(b, c)) < 0 else []


def _snapped(vertices: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distinct points about their middle, and the number of each given vertex."""
    whole = np.round((vertices - vertices.min(axis=0)) / SNAP_M).astype(np.int64)
    distinct, number = np.unique(whole, axis=0, return_inverse=True)
    return distinct * SNAP_M, number.reshape(-1)


def _ring_codes(face: tuple[Ring, ...]) -> list[int]:
    for ring in face:
        if any(a == b for a, b in _edges(ring)):
            return [102]
        if len(set(ring)) < 3:
            return [101]
        if len(set(ring)) < len(ring):
            return [104]
    return []


@dataclass(frozen=True)
class _Flat:
    """A face in its own plane."""

    rings: tuple[Ring, ...]
    plan: tuple[NDArray[np.float64], ...]
    """(n, 2) of each ring, anticlockwise where the whole face is."""
    height: NDArray[np.float64]
    """Of every corner above the plane."""

    @classmethod
    def of(cls, points: NDArray[np.float64], rings: tuple[Ring, ...]) -> _Flat:
        corners = [points[list(ring)] for ring in rings]
        normal = _normal(corners[0])
        across = _cross(np.eye(3)[np.argmin(np.abs(normal))], normal)
        across /= max(float(np.linalg.norm(across)), 1e-12)
        axes = np.column_stack([across, _cross(normal, across), normal])
        middle = np.concatenate(corners).mean(axis=0)
        local = [(ring - middle) @ axes for ring in corners]
        height = np.concatenate([ring[:, 2] for ring in local])
        return cls(rings, tuple(ring[:, :2] for ring in local), height)

    def triangles(self) -> NDArray[np.int64]:
        """Return triangles (n, 3) of point numbers, anticlockwise seen from outside."""
        import mapbox_earcut

        plan = np.ascontiguousarray(np.concatenate(self.plan))
        ends = np.cumsum([len(ring) for ring in self.plan]).astype(np.uint32)
        found = mapbox_earcut.triangulate_float64(plan, ends).astype(np.int64).reshape(-1, 3)
        a, b, c = np.moveaxis(plan[found], 1, 0)
        ab, ac = b - a, c - a
        turned = ab[:, 0] * ac[:, 1] < ab[:, 1] * ac[:, 0]
        found[turned] = found[turned][:, ::-1]
        return np.asarray(np.concatenate(self.rings)[found], np.int64)


def _face_codes(face: _Flat) -> list[int]:
    import shapely

    if np.abs(face.height).max() > PLANE_M:
        return [203]
    polygon = shapely.Polygon(face.plan[0], face.plan[1:])
    if not polygon.is_valid:
        return [_polygon_code(face, shapely.is_valid_reason(polygon))]
    # only a face with enough of a step can have a triangle that leans
    if np.ptp(face.height) > SNAP_M and _leaning(face, np.concatenate(face.plan)):
        return [204]
    outer, *inner = (_area(ring) > 0 for ring in face.plan)
    return [208] if any(hole == outer for hole in inner) else []


def _polygon_code(face: _Flat, reason: str) -> int:
    import shapely

    if not all(shapely.LinearRing(ring).is_simple for ring in face.plan):
        return 104
    told = {
        "Hole lies outside shell": 206,
        "Holes are nested": 207,
        "Interior is disconnected": 205,
        "Duplicate Rings": 202,
    }
    return next((code for text, code in told.items() if reason.startswith(text)), 201)


def _leaning(face: _Flat, plan: NDArray[np.float64]) -> bool:
    """Return whether a triangle that is not a sliver leans more than 20° from the plane."""
    corner = {point: row for row, point in enumerate(np.concatenate(face.rings).tolist())}
    local = np.column_stack([plan, face.height])
    rows = np.vectorize(corner.__getitem__)(face.triangles())
    a, b, c = np.moveaxis(local[rows], 1, 0)
    normal = np.cross(b - a, c - a)
    longest = np.max([np.linalg.norm(s, axis=1) for s in (b - a, c - b, a - c)], axis=0)
    size = np.linalg.norm(normal, axis=1)
    wide = size / np.maximum(longest, 1e-12) > PLANE_M
    return bool((normal[wide, 2] < np.cos(np.radians(NORMAL_DEG)) * size[wide]).any())


def _shell_codes(rings: list[tuple[Ring, ...]]) -> list[int]:
    if len(rings) < 4:
        return [301]
    uses: dict[tuple[int, int], list[tuple[int, bool]]] = defaultdict(list)
    for number, face in enumerate(rings):
        for ring in face:
            for a, b in _edges(ring):
                uses[min(a, b), max(a, b)].append((number, a < b))
    counts = {len(faces) for faces in uses.values()}
    if 1 in counts:
        return [302]
    if counts != {2}:
        return [303]
    if any(one[1] == other[1] for one, other in uses.values()):
        return [307]
    if _components(len(rings), [(one[0], other[0]) for one, other in uses.values()]) > 1:
        return [305]
    return [303] if _pinched(rings) else []


def _components(count: int, links: list[tuple[int, int]]) -> int:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = np.array(links).T
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    return int(connected_components(graph, directed=False)[0])


def _pinched(rings: list[tuple[Ring, ...]]) -> bool:
    """Return whether the faces around some vertex form more than one fan."""
    after: dict[int, dict[int, int]] = defaultdict(dict)
    for face in rings:
        for ring in face:
            for before, here, following in zip(
                (ring[-1], *ring[:-1]), ring, (*ring[1:], ring[0]), strict=True
            ):
                after[here][following] = before
    for spokes in after.values():
        start = next(iter(spokes))
        fan, spoke = 1, spokes[start]
        while spoke != start:
            fan, spoke = fan + 1, spokes[spoke]
        if fan < len(spokes):
            return True
    return False


def _crosses_itself(
    points: NDArray[np.float64],
    rings: list[tuple[Ring, ...]],
    triangles: list[NDArray[np.int64]],
) -> bool:
    """Return whether an edge of the shell meets a face other than at their common corners.

    Faces are planar, so two of them can only meet where an edge of one meets the other.
    """
    edges = np.array(
        sorted({(min(e), max(e)) for face in rings for ring in face for e in _edges(ring)})
    )
    corners = np.concatenate(triangles)
    low_e, high_e = _boxes(points[edges])
    low_t, high_t = _boxes(points[corners])
    step = max(1, 200_000 // len(corners))
    for first in range(0, len(edges), step):
        part = slice(first, first + step)
        near = (low_e[part, None] <= high_t + TOUCH_M) & (high_e[part, None] >= low_t - TOUCH_M)
        edge, triangle = np.nonzero(near.all(axis=2))
        if _any_meets(points, edges[part][edge], corners[triangle]):
            return True
    return False


def _boxes(shapes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return shapes.min(axis=1), shapes.max(axis=1)


def _any_meets(
    points: NDArray[np.float64], edges: NDArray[np.int64], triangles: NDArray[np.int64]
) -> bool:
    """Return whether any edge meets its triangle (rows pair up) beyond a shared corner."""
    shared = (edges[:, :, None] == triangles[:, None, :]).any(axis=2).sum(axis=1)
    edges, triangles = edges[shared < 2], triangles[shared < 2]
    shared_corner = shared[shared < 2] == 1
    start, way = points[edges[:, 0]], points[edges[:, 1]] - points[edges[:, 0]]
    a, b, c = (points[triangles[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    size = np.linalg.norm(normal, axis=1)
    sound = size > 1e-9
    normal = normal / np.where(sound, size, 1)[:, None]
    above = np.einsum("ij,ij->i", start - a, normal)
    beyond = above + np.einsum("ij,ij->i", way, normal)
    # where the edge meets the plane, as fractions of it: all along, or in one point
    starts_in, ends_in = np.abs(above) <= TOUCH_M, np.abs(beyond) <= TOUCH_M
    lies_in = starts_in & ends_in
    point = np.where(starts_in, 0.0, np.where(ends_in, 1.0, _ratio(above, above - beyond)))
    low, high = np.where(lies_in, 0.0, point), np.where(lies_in, 1.0, point)
    crosses = starts_in | ends_in | (above * beyond < 0)
    # at a common corner the edge only touches, unless it runs on in the plane
    meets = lies_in | (crosses & ~shared_corner)
    for p, q in ((a, b), (b, c), (c, a)):
        inward = np.cross(normal, q - p)
        inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-12)
        depth = np.einsum("ij,ij->i", start - p, inward)
        slope = np.einsum("ij,ij->i", way, inward)
        enter, leave = _inside(depth, slope)
        low, high = np.maximum(low, enter), np.minimum(high, leave)
    return bool((sound & meets & (high >= low)).any())


def _inside(
    depth: NDArray[np.float64], slope: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fractions t between which depth + t·slope is more than a touch."""
    still = np.abs(slope) < 1e-12
    turn = _ratio(TOUCH_M - depth, slope)
    never = still & (depth < TOUCH_M)
    low = np.where(never, np.inf, np.where(still | (slope < 0), -np.inf, turn))
    high = np.where(still | (slope > 0), np.inf, turn)
    return low, high


def _ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(over, under, out=np.zeros_like(over), where=np.abs(under) > 1e-12)


def _edges(ring: Ring) -> list[tuple[int, int]]:
    return list(zip(ring, (*ring[1:], ring[0]), strict=True))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vector product, components first. `np.cross` takes ten times as long."""
    (ax, ay, az), (bx, by, bz) = a, b
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def _normal(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit normal of a ring (Newell); of a bow tie, that of the plane it lies in."""
    spread = ring - ring.mean(axis=0)
    total = _cross(spread.T, spread[[*range(1, len(spread)), 0]].T).sum(axis=1)
    size = np.linalg.norm(total)
    if size < 1e-6 * float((spread**2).sum()):
        return np.asarray(np.linalg.svd(spread)[2][2])
    return np.asarray(total / size)


def _area(ring: NDArray[np.float64]) -> float:
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)
