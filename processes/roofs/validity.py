"""Is a solid valid by ISO 19107? The checks and codes of val3dity (Ledoux, 2018).

Rings, then faces, then the shell, then the solid, each only where the level below is sound, so
a fault is named once, at its cause. A solid here has one shell, so 401 to 404 cannot arise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processes.core.building import Ring, Solid
from processes.roofs.shell import (
    Shell,
    crosses_itself,
    packed,
    planes,
    ring_codes,
    shell_code,
    simple_faces,
    snapped,
    volume,
)

SNAP_M = 0.001
PLANE_M = 0.01
NORMAL_DEG = 20.0
LEANING_M = PLANE_M * float(np.tan(np.radians(NORMAL_DEG)))
"""A triangle PLANE_M high that leans by NORMAL_DEG has corners this far apart in height."""
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
    points, number = snapped(np.ascontiguousarray(solid.vertices, np.float64), SNAP_M)
    shell = packed([face.rings for face in solid.faces], number)
    found = [Fault(int(c), i) for i, c in enumerate(ring_codes(shell)) if c]
    if found:
        return found
    frames, middles, leaves = planes(points, shell)
    # a triangle that is no sliver can only lean where the face leaves its plane by as much
    doubtful = ~simple_faces(points, shell, frames, middles)
    doubtful |= (leaves[:, 0] > LEANING_M) | (leaves[:, 1] > PLANE_M) | ~frames.any(axis=(1, 2))
    found = [
        Fault(code, int(i))
        for i in np.flatnonzero(doubtful)
        for code in _face_codes(_Flat.of(points, _numbered(shell, int(i))))
    ]
    if found:
        return found
    code = shell_code(shell, len(points))
    if code:
        return [Fault(int(code))]
    if crosses_itself(points, shell, frames, middles, TOUCH_M):
        return [Fault(306)]
    return [Fault(405)] if volume(points, shell) < 0 else []


def _numbered(shell: Shell, face: int) -> tuple[Ring, ...]:
    """Return the rings of one face."""
    corners, starts, first = shell
    rings = range(first[face], first[face + 1])
    return tuple(tuple(corners[starts[r] : starts[r + 1]].tolist()) for r in rings)


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
        """Return triangles (n, 3) as rows of the corners, ring after ring."""
        import mapbox_earcut

        plan = np.ascontiguousarray(np.concatenate(self.plan))
        ends = np.cumsum([len(ring) for ring in self.plan]).astype(np.uint32)
        found = mapbox_earcut.triangulate_float64(plan, ends).astype(np.int64).reshape(-1, 3)
        a, b, c = np.moveaxis(plan[found], 1, 0)
        ab, ac = b - a, c - a
        turned = ab[:, 0] * ac[:, 1] < ab[:, 1] * ac[:, 0]
        found[turned] = found[turned][:, ::-1]
        return np.asarray(found, np.int64)


def _face_codes(face: _Flat) -> list[int]:
    import shapely

    if np.abs(face.height).max() > PLANE_M:
        return [203]
    polygon = shapely.Polygon(face.plan[0], face.plan[1:])
    if not polygon.is_valid:
        return [_polygon_code(face, shapely.is_valid_reason(polygon))]
    if np.ptp(face.height) > LEANING_M and _leaning(face):
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


def _leaning(face: _Flat) -> bool:
    """Return whether a triangle that is not a sliver leans more than 20° from the plane."""
    local = np.column_stack([np.concatenate(face.plan), face.height])
    a, b, c = np.moveaxis(local[face.triangles()], 1, 0)
    normal = np.cross(b - a, c - a)
    longest = np.max([np.linalg.norm(s, axis=1) for s in (b - a, c - b, a - c)], axis=0)
    size = np.linalg.norm(normal, axis=1)
    wide = size / np.maximum(longest, 1e-12) > PLANE_M
    return bool((normal[wide, 2] < np.cos(np.radians(NORMAL_DEG)) * size[wide]).any())


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
