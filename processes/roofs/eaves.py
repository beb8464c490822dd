"""Roofs that rise from the walls alike: hips over plans of any corners, bent blocks, blocks
around courts, their ends hipped or gables.

The distance from the walls is a min–max formula: a plan is its convex hull without its pockets and
courts, each of which is a hull without pockets again, so inside a plan the rise is the least of the
distances from the hull's walls and of what each pocket leaves, the greatest of the distances from
its walls (Dobkin et al., 1988: every wall occurs once). Valleys so come to stand over corners that
point inwards, ridges midway between walls, as in the straight skeleton. All walls have one level
and one slope, so that is linear in two unknowns. A wall from which the roof does not rise, a gable
or one that two houses share, is left out of the formula where the surface says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processes.roofs.blur import Seen, bic
from processes.roofs.planes import Planes
from processes.roofs.wings import FLATTEST, STEEPEST, Wing, Winged, robust

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Terms = frozenset[frozenset[int]]
"""Sets of walls: the rise is the greatest over the sets of the least distance in each."""

STRAIGHT_M = 0.7
"""Corners that lie closer to a straight wall are none."""
RECTANGULAR = 0.93
"""Four walls that fill their rectangle so far are left to the bank."""
MOST_WALLS, MOST_TERMS = 20, 12
DEEPEST_M = 1.0
"""Cells may lie this far beyond the walls by the formula, no farther."""
LONGEST_END_M, MOST_ENDS = 20.0, 6
"""Walls that may be gables, or shared with a neighbour."""
UNKNOWNS = 2
"""Level and slope; where all ends are hipped one more, since blurred gables look like hips."""


@dataclass(frozen=True)
class _Walls:
    """The walls of a plan, and how the roof rises from them."""

    rows: Floats
    """a, b, c of each wall: a·x + b·y + c is the distance inwards, about *origin*."""
    terms: Terms
    origin: Floats
    ends: tuple[int, ...]
    """Walls between two corners that point outwards, the shortest first: they may be gables."""

    def rise(self, x: Floats, y: Floats) -> Floats:
        """Return how far in from the walls places lie, by the formula."""
        away = np.column_stack([x, y, np.ones(len(x))]) - (*self.origin, 0.0)
        away = away @ self.rows.T
        return np.asarray(np.max([away[:, list(term)].min(axis=1) for term in self.terms], axis=0))

    def without(self, wall: int) -> _Walls | None:
        """Return the roof that does not rise from *wall*; None where nothing else bounds it."""
        terms = frozenset(term - {wall} for term in self.terms)
        return replace(self, terms=terms) if all(terms) else None


def fit_eaves(outline: BaseGeometry, cells: Seen, coarsest_m: float) -> Winged | None:
    """Return the best roof that rises from walls; None where plan or surface have no such roof.

    A plan that is a rectangle is left to the bank, which knows hips, pyramids and gables.
    """
    walls = _walls(outline)
    if walls is None or walls.rise(cells.x, cells.y).min() < -DEEPEST_M:
        return None
    gables = 0
    best = _fitted(outline, walls, cells, coarsest_m, gables)
    for wall in walls.ends:
        fewer = walls.without(wall)
        if best is None or fewer is None:
            break
        trial = _fitted(outline, fewer, cells, coarsest_m, gables + 1)
        if trial is not None and trial.score < best.score:
            walls, best, gables = fewer, trial, gables + 1
    return best


def _fitted(
    outline: BaseGeometry, walls: _Walls, cells: Seen, coarsest_m: float, gables: int
) -> Winged | None:
    import shapely

    shown = cells(walls.rise(cells.x, cells.y))
    (level, slope), residual = robust(np.column_stack([np.ones(len(shown)), shown]), cells.z)
    if not FLATTEST <= slope <= STEEPEST:
        return None
    hipped = 1 - gables / len(walls.ends) if walls.ends else 0.0
    off = np.abs(residual)
    cost = float(np.mean(np.minimum(off, coarsest_m) ** 2))
    rows = slope * walls.rows + (0.0, 0.0, level)
    around = shapely.get_coordinates(shapely.envelope(outline))[:-1]
    place = (float(walls.origin[0]), float(walls.origin[1]))
    return Winged(
        "gable" if gables and gables == len(walls.ends) else "hip",
        tuple(Wing(around, Planes(rows[sorted(term)], place)) for term in walls.terms),
        float(np.degrees(np.arctan(slope))),
        float(np.sqrt(cost)),
        float((off <= coarsest_m).mean()),
        bic(cost, len(off), UNKNOWNS + hipped),
    )


def _walls(outline: BaseGeometry) -> _Walls | None:
    """Return the walls of an outline; None where it is a rectangle or has too many."""
    import shapely

    plan = shapely.simplify(outline, STRAIGHT_M)
    if not isinstance(plan, shapely.Polygon) or plan.is_empty:
        return None
    corners = len(shapely.get_coordinates(plan)) - len(shapely.get_rings(plan))
    full = plan.area > RECTANGULAR * shapely.oriented_envelope(plan).area
    if corners > MOST_WALLS or (corners == 4 and full):
        return None
    origin = np.array(outline.bounds[:2])
    outer, *courts = (_anticlockwise(ring, origin) for ring in shapely.get_rings(plan))
    rows, terms = _rows(outer), _terms(outer, list(range(len(outer))), within=True)
    for court in courts:
        names = list(range(len(rows), len(rows) + len(court)))
        terms = _all([terms, _terms(court, names, within=False)])
        rows = np.vstack([rows, -_rows(court)])
    if not terms or len(terms) > MOST_TERMS:
        return None
    return _Walls(rows, terms, origin, _ends(outer))


def _terms(ring: Floats, names: Sequence[int | None], *, within: bool) -> Terms:
    """Return the formula of what lies *within* a ring, or of what does not.

    *ring* runs anticlockwise; *names* are those of the walls that start at its corners, None for
    the lid of a pocket, which is no wall.
    """
    hull = _hull(ring)
    found: list[Terms] = []
    for here, after in zip(hull, [*hull[1:], hull[0] + len(ring)], strict=True):
        chain = [number % len(ring) for number in range(here, after + 1)]
        walls = [names[number] for number in chain[:-1]]
        if len(walls) == 1:
            found += [frozenset([frozenset([wall])]) for wall in walls if wall is not None]
        else:
            found.append(_terms(ring[chain[::-1]], [*walls[::-1], None], within=not within))
    return _all(found) if within else _least(frozenset().union(*found))


def _all(formulas: Sequence[Terms]) -> Terms:
    """Return the formula of what lies in all of them."""
    joined: Terms = frozenset([frozenset()])
    for formula in formulas:
        joined = _least(frozenset(one | other for one in joined for other in formula))
        if len(joined) > MOST_TERMS:
            return frozenset()
    return joined


def _least(terms: Terms) -> Terms:
    """Return the terms without those that hold all of another, which are never the greatest."""
    return frozenset(term for term in terms if not any(other < term for other in terms))


def _hull(ring: Floats) -> list[int]:
    """Return the corners of an anticlockwise ring that lie on its convex hull, in order."""
    order = sorted(range(len(ring)), key=lambda number: tuple(ring[number]))
    found: set[int] = set()
    for way in (order, order[::-1]):
        side: list[int] = []
        for number in way:
            while len(side) > 1 and _turn(*ring[[*side[-2:], number]]) <= 0:
                side.pop()
            side.append(number)
        found.update(side)
    return sorted(found)


def _turn(a: Floats, b: Floats, c: Floats) -> float:
    """Return twice the area of the triangle a, b, c, above nought where it turns left."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _anticlockwise(ring: Any, origin: Floats) -> Floats:
    import shapely

    corners = shapely.get_coordinates(ring)[:-1] - origin
    return np.asarray(corners if shapely.is_ccw(ring) else corners[::-1])


def _rows(ring: Floats) -> Floats:
    """Return a, b, c of each side of an anticlockwise ring, the distance inwards."""
    along = np.roll(ring, -1, axis=0) - ring
    inwards = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, None]
    return np.column_stack([inwards, -(inwards * ring).sum(axis=1)])


def _ends(ring: Floats) -> tuple[int, ...]:
    """Return the walls that may be gables, the shortest first."""
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    out = np.array([_turn(*three) > 0 for three in zip(before, ring, after, strict=True)])
    long = np.hypot(*(after - ring).T)
    short = 2 * long < np.roll(long, 1) + np.roll(long, -1)
    ends = np.flatnonzero(out & np.roll(out, -1) & short & (long < LONGEST_END_M))
    return tuple(ends[np.argsort(long[ends])][:MOST_ENDS].tolist())
