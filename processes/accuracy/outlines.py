"""Footprint figures: found or not, and how well drawn, one outline against one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

MATCH_IOU = 0.5
STRAIGHT_DEG = 1.0
"""A vertex whose corner turns less than this shapes nothing and is not counted."""

Geometries = Sequence[BaseGeometry] | NDArray[np.object_]


@dataclass(frozen=True)
class Match:
    """One outline of the product and the reference outline it is taken for."""

    product: int
    reference: int
    iou: float


@dataclass(frozen=True)
class OutlineFigures:
    """Agreement of two sets of polygons in one projected CRS; NaN where nothing matches."""

    product: int
    reference: int
    matches: int
    precision: float
    recall: float
    f1: float
    mean_iou: float
    """Over the matches."""
    mean_c_iou: float
    """IoU · (1 − |N − Nref| / (N + Nref)): an outline of too many corners is worth less."""
    mean_polis_m: float
    """Mean distance of the vertices of either outline to the other's boundary."""
    vertex_ratio: float
    """Corners of all matched product outlines over those of their references."""
    orientation_error_deg: float
    """Mean angle between the main directions, 0…45: right angles are the same direction."""


def outline_figures(
    product: Geometries, reference: Geometries, *, match_iou: float = MATCH_IOU
) -> OutlineFigures:
    """Return the figures of *product* polygons against *reference* polygons."""
    made, true = _polygonal(product), _polygonal(reference)
    pairs = matches(made, true, match_iou)
    nan = float("nan")
    precision = len(pairs) / len(made) if len(made) else nan
    recall = len(pairs) / len(true) if len(true) else nan
    found = [(made[pair.product], true[pair.reference], pair.iou) for pair in pairs]
    corners = np.array([(corner_count(a), corner_count(b)) for a, b, _ in found], float)
    return OutlineFigures(
        product=len(made),
        reference=len(true),
        matches=len(pairs),
        precision=precision,
        recall=recall,
        f1=2 * len(pairs) / (len(made) + len(true)) if len(made) + len(true) else nan,
        mean_iou=_mean(iou for *_, iou in found),
        mean_c_iou=_mean(
            iou * (1 - abs(n - m) / (n + m))
            for (*_, iou), (n, m) in zip(found, corners, strict=True)
        ),
        mean_polis_m=_mean(polis(a, b) for a, b, _ in found),
        vertex_ratio=float(corners[:, 0].sum() / corners[:, 1].sum()) if found else nan,
        orientation_error_deg=_mean(orientation_error_deg(a, b) for a, b, _ in found),
    )


def matches(
    product: Geometries, reference: Geometries, match_iou: float = MATCH_IOU
) -> list[Match]:
    """Return the one-to-one matches of at least *match_iou*, the largest total IoU there is.

    Above 0.5 hardly any outline has two candidates; where one has, the assignment is optimal and
    not first come, first served.
    """
    from scipy.optimize import linear_sum_assignment

    made, true = np.asarray(product, object), np.asarray(reference, object)
    if not len(made) or not len(true):
        return []
    row, col = shapely.STRtree(true).query(made, predicate="intersects")
    common = shapely.area(shapely.intersection(made[row], true[col]))
    iou = common / (shapely.area(made[row]) + shapely.area(true[col]) - common)
    row, col, iou = (values[iou >= match_iou] for values in (row, col, iou))
    found = []
    for group in _groups(row, col):
        rows, row_at = np.unique(row[group], return_inverse=True)
        cols, col_at = np.unique(col[group], return_inverse=True)
        score = np.zeros((len(rows), len(cols)))
        score[row_at, col_at] = iou[group]
        for i, j in zip(*linear_sum_assignment(score, maximize=True), strict=True):
            if score[i, j] > 0:
                found.append(Match(int(rows[i]), int(cols[j]), float(score[i, j])))
    return sorted(found, key=lambda match: match.product)


def polis(a: BaseGeometry, b: BaseGeometry) -> float:
    """Return the mean of the two mean distances from vertices to the other boundary.

    Avbelj, Müller & Bamler, 2015. In units of the coordinates.
    """
    return float((_vertex_distance(a, b) + _vertex_distance(b, a)) / 2)


def corner_count(polygon: BaseGeometry) -> int:
    """Return the number of vertices at which the boundary turns."""
    return sum(len(_corners(ring)) for ring in _rings(polygon))


def orientation_deg(polygon: BaseGeometry) -> float:
    """Return the main direction of the walls, 0…90°, counter-clockwise from the x axis.

    Walls vote with their length, and a wall and its normal are one direction: the mean of
    length · exp(4i·angle).
    """
    total = 0j
    for ring in _rings(polygon):
        edges = np.diff(ring[:, 0] + 1j * ring[:, 1])
        length = np.abs(edges)
        edges, length = edges[length > 0], length[length > 0]
        total += np.sum(length * (edges / length) ** 4)
    return float(np.degrees(np.angle(total)) / 4 % 90)


def orientation_error_deg(a: BaseGeometry, b: BaseGeometry) -> float:
    """Return the angle between the main directions, modulo 90°: 0…45."""
    off = abs(orientation_deg(a) - orientation_deg(b)) % 90
    return min(off, 90 - off)


def _polygonal(geometries: Geometries) -> NDArray[np.object_]:
    """Return valid polygons with area; what is broken is repaired, what is empty left out."""
    repaired = shapely.make_valid(np.asarray(list(geometries), object))
    whole = shapely.force_2d(repaired)
    return np.asarray(whole[shapely.area(whole) > 0], object)


def _mean(values: object) -> float:
    known = list(values)  # type: ignore[call-overload]  # any iterable of floats
    return float(np.mean(known)) if known else float("nan")


def _groups(row: NDArray[np.integer], col: NDArray[np.integer]) -> list[NDArray[np.intp]]:
    """Return the indices of candidate pairs, grouped so that groups share no outline."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(row):
        return []
    size = int(row.max()) + int(col.max()) + 2
    graph = coo_array((np.ones(len(row)), (row, col + int(row.max()) + 1)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label[row], kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[row][order])) + 1)


def _rings(polygon: BaseGeometry) -> list[NDArray[np.float64]]:
    """Return the closed rings of a polygon or of each part, as coordinates."""
    parts = [p for p in shapely.get_parts(polygon) if p.geom_type == "Polygon"]
    return [
        shapely.get_coordinates(ring) for part in parts for ring in (part.exterior, *part.interiors)
    ]


def _corners(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vertices of a closed ring at which it turns by STRAIGHT_DEG or more."""
    open_ring = ring[:-1]
    before = open_ring - np.roll(open_ring, 1, axis=0)
    after = np.roll(open_ring, -1, axis=0) - open_ring
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    turn = np.abs(np.degrees(np.arctan2(cross, (before * after).sum(axis=1))))
    return np.asarray(open_ring[turn >= STRAIGHT_DEG])


def _vertex_distance(polygon: BaseGeometry, other: BaseGeometry) -> float:
    vertices = np.concatenate([ring[:-1] for ring in _rings(polygon)])
    return float(shapely.distance(shapely.points(vertices), shapely.boundary(other)).mean())


def position_rmse(product: Sequence[BaseGeometry], reference: Sequence[BaseGeometry]) -> float:
    """Return the radial RMSE of the middles of matched outlines, in order; NaN without any.

    A middle is a point that both know well, which a corner of a traced outline is not.
    """
    if not len(product):
        return float("nan")
    ours, theirs = (shapely.centroid(np.asarray(group, object)) for group in (product, reference))
    return float(np.sqrt(np.mean(shapely.distance(ours, theirs) ** 2)))
