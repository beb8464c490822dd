"""Walls as the straight sides of outlines: which of them are one, and outlines with walls moved.

A wall that two buildings share is one wall with two faces: it moves for both. One that is shared
along a part of its line stays. Corners that outlines share stay shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]

APART_M = 0.4
"""A wall is free where no building lies so far beyond it."""
SQUARE = 0.01
"""Walls that meet at less than some 11° do not tell where along them their corner is."""
TINY = 1e-6


@dataclass(frozen=True)
class Sides:
    """The straight pieces of outlines: from *start* to *stop*, *normal* outwards, (n, 2) each."""

    start: Floats
    stop: Floats
    normal: Floats
    wall: Indices
    """Pieces of one line that touch have one number, as have both sides of a party wall; -1 where
    a building is attached along a part of the line, or otherwise."""
    facing: Indices
    """1, or -1 on the second side of a party wall."""
    ends: Indices
    """The numbers of the corners where they start and stop, (2, n) …"""
    points: Indices
    """… and of all points of the polygons, in order."""

    @property
    def length(self) -> Floats:
        return np.asarray(np.hypot(*(self.stop - self.start).T))


def sides_of(polygons: Sequence[Any]) -> Sides:
    """Return the pieces of all rings, in the polygons' order."""
    rings = shapely.get_rings(polygons)
    points, of_point = shapely.get_coordinates(rings, return_index=True)
    corner = _corners(points)
    same = of_point[1:] == of_point[:-1]
    start, stop, ring = points[:-1][same], points[1:][same], of_point[:-1][same]
    along = stop - start
    length = np.maximum(np.hypot(*along.T), TINY)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1) / length[:, None]
    # shells run against the clock, yards with it: outside is on the right
    shell = np.concatenate([[n == 0 for n in range(1 + len(p.interiors))] for p in polygons])
    normal[(shapely.is_ccw(rings) != shell)[ring]] *= -1
    attached = np.zeros(len(start), bool)
    tree = shapely.STRtree(polygons)
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        beyond = start + share * along + APART_M * normal
        attached[tree.query(shapely.points(beyond), predicate="intersects")[0]] = True
    ends = np.stack([corner[:-1][same], corner[1:][same]])
    wall, facing = _walls(ends, normal, attached)
    return Sides(start, stop, normal, wall, facing, ends, corner)


def redrawn(polygons: Sequence[Any], sides: Sides, offsets: Floats) -> list[Any]:
    """Return the polygons with each corner where its walls, moved, meet again."""
    ways = _ways(sides, np.append(offsets, 0.0)[sides.wall] * sides.facing)
    counts = np.asarray(shapely.get_num_coordinates(polygons))
    parts = np.split(sides.points, np.cumsum(counts)[:-1])
    while True:
        found = [
            shapely.transform(polygon, lambda xy, part=part: xy + ways[part])
            for polygon, part in zip(polygons, parts, strict=True)
        ]
        bad = [
            part
            for part, old, new in zip(parts, polygons, found, strict=True)
            if ways[part].any() and not _sound(old, new)
        ]
        if not bad:
            return found
        ways[np.concatenate(bad)] = 0.0


def _corners(points: Floats) -> Indices:
    """Return a number for each point, the same where they coincide."""
    keys = np.round((points - points.min(axis=0)) * 1e4).astype(np.int64)
    _, numbers = np.unique(keys[:, 0] * (keys[:, 1].max() + 1) + keys[:, 1], return_inverse=True)
    return np.asarray(numbers, np.int64)


def _walls(ends: Indices, normal: Floats, attached: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Return the number of the wall of each piece, or -1, and the way that it faces."""
    name = _joined(ends[0], ends[1], normal, int(ends.max()) + 1)
    fixed = np.zeros(len(name), bool)
    fixed[name[attached]] = True
    other = _beyond(ends, name)
    party = fixed[name] & (other >= 0) & (other != name)
    own = np.where(party, np.minimum(name, other), np.where(fixed[name], -1, name))
    names, numbers = np.unique(own, return_inverse=True)
    wall = np.asarray(numbers - int(names[0] < 0), np.int64)
    return wall, np.where(party & (name > other), -1, 1)


def _beyond(ends: Indices, name: Indices) -> Indices:
    """Return for each piece the line that is the other side of its own, whole; -1 for none."""
    low, high = ends.min(axis=0), ends.max(axis=0)
    _, same, count = np.unique(
        low * (high.max() + 1) + high, return_inverse=True, return_counts=True
    )
    order = np.argsort(same, kind="stable")
    twins = order[np.repeat(count == 2, count)].reshape(-1, 2)
    twin = np.full(len(name), -1)
    twin[twins] = twins[:, ::-1]
    there = np.where(twin >= 0, name[twin], -1)
    least, most = np.full(len(name), len(name)), np.full(len(name), -1)
    np.minimum.at(least, name, there)
    np.maximum.at(most, name, there)
    one = np.where((least == most) & (least >= 0), least, -1)
    mutual = (one >= 0) & (one[one] == np.arange(len(name)))
    return np.where(mutual, one, -1)[name]


@njit(cache=True, nogil=True)
def _joined(start: Indices, stop: Indices, normal: Floats, corners: int) -> Indices:
    """Return for each piece the first of those of one line that touch it, one by one."""
    pieces = len(start)
    first = np.full(corners, -1, np.int64)
    following = np.full(2 * pieces, -1, np.int64)
    for end in range(2 * pieces):
        at = start[end] if end < pieces else stop[end - pieces]
        following[end] = first[at]
        first[at] = end
    name = np.arange(pieces)
    for end in range(2 * pieces):
        one = end % pieces
        other_end = following[end]
        while other_end >= 0:
            other = other_end % pieces
            turn = normal[one, 0] * normal[other, 1] - normal[one, 1] * normal[other, 0]
            same = normal[one, 0] * normal[other, 0] + normal[one, 1] * normal[other, 1] > 0
            if same and abs(turn) < 1e-4:
                a, b = one, other
                while name[a] != a:
                    a = name[a]
                while name[b] != b:
                    b = name[b]
                name[max(a, b)] = min(a, b)
            other_end = following[other_end]
    for one in range(pieces):
        name[one] = name[name[one]]
    return name


def _sound(old: Any, new: Any) -> bool:
    """Say whether a polygon that was moved is valid, and no ring of it turned over."""
    return bool(
        shapely.is_valid(new)
        and new.area > 0.5 * old.area
        and (shapely.is_ccw(shapely.get_rings(new)) == shapely.is_ccw(shapely.get_rings(old))).all()
    )


def _ways(sides: Sides, moves: Floats) -> Floats:
    """Return how each corner moves: to where its walls meet, no further than they ask."""
    count = int(sides.ends.max()) + 1
    ask, pull = np.zeros((count, 2, 2)), np.zeros((count, 2))
    outer = sides.normal[:, :, None] * sides.normal[:, None, :]
    for end in sides.ends:
        np.add.at(ask, end, outer)
        np.add.at(pull, end, sides.normal * moves[:, None])
    size, axes = np.linalg.eigh(ask)
    along = (axes * pull[:, :, None]).sum(axis=1)
    told = size > SQUARE * size[:, 1:]
    along = np.where(told, along / np.where(told, size, 1.0), 0.0)
    return np.asarray((axes * along[:, None, :]).sum(axis=2))
