"""Building models to triangles: every face flat, every corner with its own normal and colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel

KINDS = ("GroundSurface", "WallSurface", "RoofSurface")
KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS)}
FLAT_QUAD = ((0, 1, 2), (0, 2, 3))
TRIANGLE = ((0, 1, 2),)
MOST_CORNERS = 8
"""Convex faces of up to so many corners are cut as fans, all of one size at once."""


@dataclass(frozen=True)
class Faces:
    """The faces of many models in flat tables.

    `vertices` (n, 3) are those of all models, in their CRS. `corners` names the vertex at each
    corner of each face, ring after ring. The rest counts: rings in a face, corners in a ring,
    and corners and faces in a model.
    """

    vertices: NDArray[np.float64]
    corners: NDArray[np.int64]
    ring_sizes: NDArray[np.int64]
    face_rings: NDArray[np.int64]
    face_kind: NDArray[np.uint8]
    model_faces: NDArray[np.int64]
    model_vertices: NDArray[np.int64]


@dataclass(frozen=True)
class Triangles:
    """Triangles of many models: three corner numbers each, sorted by model."""

    corners: NDArray[np.int64]
    starts: NDArray[np.int64]
    """Where the triangles of each model start; one more at the end."""


def faces(models: Sequence[BuildingModel]) -> Faces:
    """Return the faces of *models*, in order."""
    solids = [solid for model in models for solid in model.solids]
    listed = [face for solid in solids for face in solid.faces]
    rings = list(chain.from_iterable(map(attrgetter("rings"), listed)))
    ring_sizes = np.fromiter(map(len, rings), np.int64, len(rings))
    face_rings = np.fromiter(map(len, map(attrgetter("rings"), listed)), np.int64, len(listed))
    solid_faces = np.array([len(solid.faces) for solid in solids], np.int64)
    solid_vertices = np.array([len(solid.vertices) for solid in solids], np.int64)
    first = np.repeat(starts(solid_vertices)[:-1], solid_faces)
    sizes = np.diff(starts(ring_sizes)[starts(face_rings)])
    corners = np.fromiter(chain.from_iterable(rings), np.int64, int(sizes.sum()))
    of_model = starts(np.array([len(model.solids) for model in models], np.int64))
    return Faces(
        vertices=np.concatenate([np.empty((0, 3)), *(solid.vertices for solid in solids)]),
        corners=corners + np.repeat(first, sizes),
        ring_sizes=ring_sizes,
        face_rings=face_rings,
        face_kind=np.array([KIND_NUMBER[face.kind] for face in listed], np.uint8),
        model_faces=np.diff(starts(solid_faces)[of_model]),
        model_vertices=np.diff(starts(solid_vertices)[of_model]),
    )


def select(table: Faces, which: NDArray[np.bool_]) -> Faces:
    """Return only some faces, of the same models and vertices."""
    kept = np.flatnonzero(which)
    model = np.repeat(np.arange(len(table.model_faces)), table.model_faces)
    return replace(
        table,
        corners=table.corners[runs(starts(face_sizes(table)), kept)],
        ring_sizes=table.ring_sizes[runs(starts(table.face_rings), kept)],
        face_rings=table.face_rings[kept],
        face_kind=table.face_kind[kept],
        model_faces=np.bincount(model[kept], minlength=len(table.model_faces)),
    )


def joined(one: Faces, other: Faces) -> Faces:
    """Return the models of both, those of *one* first."""
    moved = replace(other, corners=other.corners + len(one.vertices))
    names = [member.name for member in fields(Faces)]
    return Faces(*(np.concatenate([getattr(one, n), getattr(moved, n)]) for n in names))


def starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each run starts when runs of *sizes* follow each other; one more at the end."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def runs(first: NDArray[np.int64], which: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row numbers of runs *which*, where run i is first[i] … first[i + 1] - 1."""
    counts = first[which + 1] - first[which]
    within = np.arange(counts.sum()) - np.repeat(starts(counts)[:-1], counts)
    return np.asarray(np.repeat(first[which], counts) + within)


def face_sizes(table: Faces) -> NDArray[np.int64]:
    """Return the number of corners of each face, holes included."""
    return np.diff(starts(table.ring_sizes)[starts(table.face_rings)])


def following(table: Faces) -> NDArray[np.int64]:
    """Return for each corner the number of the next one on its ring."""
    ring_start = starts(table.ring_sizes)
    after = np.arange(1, len(table.corners) + 1)
    after[ring_start[1:] - 1] = ring_start[:-1]
    return after


def columns(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) points as three rows of numbers, which NumPy adds and compares far faster."""
    return np.ascontiguousarray(points.T)


def normals(table: Faces, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit normal of each face (Newell), from the *positions* of all vertices."""
    here = columns(positions).take(table.corners, axis=1)
    # relative to the face's first corner: products of ECEF-sized numbers would lose the digits
    sizes = face_sizes(table)
    first = starts(sizes)[:-1]
    anchor = np.repeat(here.take(first, axis=1), sizes, axis=1)
    twice_area = _cross(here - anchor, here.take(following(table), axis=1) - anchor)
    total = (np.add.reduceat(twice_area, first, axis=1) if len(sizes) else here).T
    length = np.linalg.norm(total, axis=1, keepdims=True)
    # a face without area has no direction: any will do, for it is not seen
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), (0.0, 1.0, 0.0))


def triangulate(
    table: Faces,
    positions: NDArray[np.float64],
    *,
    face_normal: NDArray[np.float64] | None = None,
) -> Triangles:
    """Return triangles that cover every face, wound as the face is.

    *face_normal* is what `normals` returns, where it is known already.
    """
    face_normal = normals(table, positions) if face_normal is None else face_normal
    sizes = face_sizes(table)
    first, place = starts(sizes), columns(positions)
    simple = (table.face_rings == 1) & (sizes == 3)
    quads = np.flatnonzero((table.face_rings == 1) & (sizes == 4))
    quads = quads[_convex(place[:, table.corners[first[quads] + np.arange(4)[:, None]]])]
    found = [
        _fan(np.flatnonzero(simple), first, TRIANGLE),
        _fan(quads, first, FLAT_QUAD),
    ]
    done = simple.copy()
    done[quads] = True
    for size in range(5, MOST_CORNERS + 1):
        which = np.flatnonzero((table.face_rings == 1) & (sizes == size))
        here = place[:, table.corners[first[which] + np.arange(size)[:, None]]]
        which = which[_strictly_convex(here, face_normal[which])]
        found.append(_fan(which, first, tuple((0, i, i + 1) for i in range(1, size - 1))))
        done[which] = True
    rest = np.flatnonzero(~done)
    plans, plan = _flattened(table, positions, face_normal, rest), starts(sizes[rest])
    ring_end, face_ring = starts(table.ring_sizes), starts(table.face_rings)
    for number, face in enumerate(rest):
        ends = ring_end[face_ring[face] + 1 : face_ring[face + 1] + 1] - first[face]
        pieces = _cover(plans[plan[number] : plan[number + 1]], ends) + first[face]
        found.append((np.full(len(pieces), face), pieces))
    owner = np.concatenate([face for face, _ in found])
    corners3 = np.concatenate([triangle for _, triangle in found])
    order = np.argsort(owner, kind="stable")
    faces_before = np.repeat(np.arange(len(table.model_faces)), table.model_faces)
    per_model = np.bincount(faces_before[owner], minlength=len(table.model_faces))
    return Triangles(corners3[order], starts(per_model))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cross products of (3, …); `numpy.cross` takes three times as long."""
    (ax, ay, az), (bx, by, bz) = a, b
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def _fan(
    which: NDArray[Any], first: NDArray[np.int64], pattern: tuple[tuple[int, ...], ...]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    triangles = first[which, None, None] + np.array(pattern)
    return np.repeat(which, len(pattern)), triangles.reshape(-1, 3)


def _convex(quads: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which (3, 4, n) can be cut along corners 0 and 2."""
    a, b, c, d = np.moveaxis(quads, 1, 0)
    one, other = _cross(b - a, c - a), _cross(c - a, d - a)
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    return np.asarray((one * other).sum(axis=0) > 0.5 * lengths)


def _strictly_convex(
    corners: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which (3, corners, n) turn left at every corner, by more than a straight side does."""
    side = np.roll(corners, -1, axis=1) - corners
    turn = (_cross(side, np.roll(side, -1, axis=1)) * normal.T[:, None]).sum(axis=0)
    length = np.linalg.norm(side, axis=0)
    return np.asarray((turn > 1e-6 * length * np.roll(length, -1, axis=0)).all(axis=0))


def _flattened(
    table: Faces,
    positions: NDArray[np.float64],
    normal: NDArray[np.float64],
    which: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return (n, 2) corners of faces *which*, each in its own plane, anticlockwise from outside."""
    across = np.cross(np.eye(3)[np.argmin(np.abs(normal[which]), axis=1)], normal[which])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    along = np.cross(normal[which], across)
    first, sizes = starts(face_sizes(table)), face_sizes(table)[which]
    owner = np.repeat(np.arange(len(which)), sizes)
    corners = runs(first, which)
    spread = positions[table.corners[corners]] - positions[table.corners[first[which][owner]]]
    return np.column_stack(
        [(spread * across[owner]).sum(axis=1), (spread * along[owner]).sum(axis=1)]
    )


def _cover(flat: NDArray[np.float64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return triangles (n, 3) of rows of *flat*, anticlockwise.

    Ear clipping may leave out a corner that lies on a straight side; then neighbours would not
    meet there, so such faces take the constrained Delaunay triangulation, which keeps them all.
    """
    import mapbox_earcut

    found = mapbox_earcut.triangulate_float64(flat, ends.astype(np.uint32))
    triangles: NDArray[np.int64] = found.astype(np.int64).reshape(-1, 3)
    if len(triangles) != len(flat) + 2 * (len(ends) - 1) - 2:
        triangles = _delaunay(flat, ends, otherwise=triangles)
    ax, ay, bx, by, cx, cy = flat[triangles].reshape(-1, 6).T
    clockwise = (bx - ax) * (cy - ay) < (by - ay) * (cx - ax)
    triangles[clockwise] = triangles[clockwise][:, ::-1]
    return triangles


def _delaunay(
    flat: NDArray[np.float64], ends: NDArray[np.int64], otherwise: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return triangles with every corner, or *otherwise* where the rings bound no area."""
    import shapely

    rings = np.split(flat, ends[:-1])
    row = {(x, y): number for number, (x, y) in enumerate(flat.tolist())}
    try:
        polygon = shapely.Polygon(rings[0], rings[1:])
        pieces = shapely.get_parts(shapely.constrained_delaunay_triangles(polygon))
        corners = shapely.get_coordinates(pieces).reshape(-1, 4, 2)[:, :3]
        found = [[row[x, y] for x, y in triangle] for triangle in corners.tolist()]
    except (shapely.errors.GEOSException, KeyError):  # rings that cross or fall together
        return otherwise
    return np.array(found, np.int64).reshape(-1, 3)
