"""Roofs of outlines that hold several houses: cut along the walls until each part has its own roof.

Rows of houses in one outline, towers beside lower blocks, a flat annex beside a gable: no one roof
explains them, but each part on its own is simple. A cut runs straight through the outline, along
its walls. Where it lies is found by fitting plain roofs to both sides of many; it stays where both
sides, each read and fitted like a building, explain the surface better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.roofs import levels as two_levels
from processes.roofs.bank import COARSEST_M, fit_shape
from processes.roofs.blur import NOISE_CELLS, Seen, bic
from processes.roofs.heights import NoHeights
from processes.roofs.planes import LEAST_FACE_M2, Planes
from processes.roofs.plans import direction
from processes.roofs.wings import Wing, Winged

if TYPE_CHECKING:
    from shapely import Polygon

    from processes.roofs.bank import Roof

Floats = NDArray[np.float64]

WELL_M = 0.3
"""A roof that explains its cells so well is not cut: at 0.2 a tower came out wrong, at 0.4 segments
of `dense2`."""
MOST_CUTS = 3
"""One after another, so that there are eight parts at most."""
LEAST_M, LEAST_M2 = 3.0, 20.0
"""How far a cut stays from the walls along it, and how large a part must be."""
EVERY_M, FINE_M = 1.0, 0.25
"""How densely a cut is sought, first everywhere and then around the best."""
BESIDE_M = 0.75
"""Cells so near to a cut are not asked on which side the surface's edge lies."""
CORNER_M = 0.8
"""A cut that passes a corner of the outline so closely starts there."""
MOST_CELLS, FEWEST_CELLS = 200, 12
"""That are asked where to cut, about, and on each side of it."""
WORSE = 1.5
"""Plain roofs beside a cut may leave so many times what the part's own roof leaves, else its sides
are not read: of 2312 roofs of nine scenes 3 came out otherwise. With 1 five scenes took 18 % less
time than without, but one house of `tri` was left uncut."""
UNKNOWNS = 5
"""Of a part: its roof, and where the cut is. With 3 `suburb2` is cut too often."""


@dataclass(frozen=True)
class Part:
    """A piece of an outline, read and fitted like a building."""

    plan: Polygon
    cells: Seen
    roof: Roof | Winged | None
    """None where no roof fits: then it is level."""

    @property
    def cost(self) -> float:
        """Mean squared residual of its cells, each counted as 1 m at most."""
        if self.roof is not None:
            return self.roof.rmse_m**2
        off = np.abs(self.cells.z - np.median(self.cells.z))
        return float(np.mean(np.minimum(off, COARSEST_M) ** 2))

    @property
    def type(self) -> str:
        return self.roof.type if self.roof else "flat"

    @property
    def share(self) -> float:
        """Of its cells, those that the roof explains."""
        return self.roof.share if self.roof else 0.0

    @property
    def wings(self) -> Iterator[Wing]:
        """The roof as wings that end at the part's own edges."""
        import shapely

        if isinstance(self.roof, Winged):
            for wing in self.roof.wings:
                own = shapely.intersection(shapely.Polygon(wing.corners), self.plan)
                for piece in shapely.get_parts(own):
                    if piece.geom_type == "Polygon":
                        yield Wing(shapely.get_coordinates(piece.exterior)[:-1], wing.planes)
            return
        level = Planes(np.array([[0.0, 0.0, float(np.median(self.cells.z))]]), (0.0, 0.0))
        planes = self.roof.planes if self.roof else level
        yield Wing(shapely.get_coordinates(self.plan)[:-1], planes)


Fitted = Callable[["Polygon"], Part]
"""What reads and fits a part. Raises NoHeights."""


def fit_parts(whole: Part, fitted: Fitted) -> Winged | None:
    """Return the best roof of at least two parts; None where cutting explains nothing better.

    The outline must have no holes.
    """
    cells = len(whole.cells.z)
    parts = _parted(whole, fitted, cells / NOISE_CELLS / whole.plan.area, MOST_CUTS)
    if len(parts) < 2:
        return None
    area = {part.type: 0.0 for part in parts}
    for part in parts:
        area[part.type] += part.plan.area
    weights = [part.plan.area for part in parts]
    flat = area.keys() <= {"flat", "multilevel"}
    wings = tuple(wing for part in parts for wing in part.wings)
    levels = [wing.planes.coefficients[0, 2] for wing in wings]
    if flat and (min(weights) < two_levels.LEAST_M2 or np.ptp(levels) < two_levels.LEAST_STEP_M):
        return None
    largest = max(parts, key=lambda part: part.plan.area).roof
    cost = float(np.average([part.cost for part in parts], weights=weights))
    return Winged(
        "multilevel" if flat else max(area, key=lambda kind: area[kind]),
        wings,
        largest.pitch_deg if largest else 0.0,
        float(np.sqrt(cost)),
        float(np.average([part.share for part in parts], weights=weights)),
        bic(cost, cells, UNKNOWNS * len(parts)),
    )


def _parted(part: Part, fitted: Fitted, errors_m2: float, cuts: int) -> list[Part]:
    """Return the parts that explain *part* best, itself alone where no cut pays.

    In a row of many houses a cut may pay only once its sides are cut again. *errors_m2* is how
    many independent errors a square metre has.
    """
    if cuts == 0 or part.cost <= WELL_M**2:
        return [part]
    tried = 2 if cuts == MOST_CUTS else 1
    for sides in islice(_cuts(part), tried):
        try:
            halves = [fitted(plan) for plan in sides]
        except NoHeights:
            continue
        parts = [one for half in halves for one in _parted(half, fitted, errors_m2, cuts - 1)]
        if _score(parts, errors_m2) < _score([part], errors_m2):
            return parts
    return [part]


def _score(parts: Sequence[Part], errors_m2: float) -> float:
    """Return the information criterion of parts whose errors differ in size."""
    errors = errors_m2 * np.array([part.plan.area for part in parts])
    cost = np.maximum([part.cost for part in parts], (WELL_M / 2) ** 2)
    penalty = UNKNOWNS * len(parts) * np.log(max(errors.sum(), 2.0))
    return float((errors * np.log(cost)).sum() + penalty)


def _cuts(part: Part) -> Iterator[list[Polygon]]:
    """Yield the sides of the cuts along and across that plain roofs like best, the better first.

    Those beside which plain roofs are much worse than the part's own roof are left out.
    """
    import shapely

    plan, cells = part.plan, part.cells
    angle = direction(plan)
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = shapely.get_coordinates(plan) @ axes
    some = np.s_[:: len(cells.z) // MOST_CELLS + 1]
    uv, z = np.column_stack([cells.x, cells.y])[cells.asked[some]] @ axes, cells.z[some]
    best = [(*_best(uv[:, [axis, 1 - axis]], z, corners[:, axis]), axis) for axis in (0, 1)]
    for cost, place, axis in sorted(best):
        if cost > WORSE * part.cost:
            return
        other = corners[:, 1 - axis]
        ends = np.outer((other.min() - 1, other.max() + 1), axes[:, 1 - axis])
        line = shapely.LineString(place * axes[:, axis] + ends)
        net = shapely.union_all([plan.boundary, line])
        sides = shapely.get_parts(shapely.polygonize([net]))
        sides = sides[shapely.area(sides) > LEAST_FACE_M2]  # a cut along a wall leaves slivers
        sides = sides[shapely.contains(plan, shapely.point_on_surface(sides))]
        if shapely.area(sides).min() > LEAST_M2:
            yield list(sides)


def _best(uv: Floats, z: Floats, corners: Floats) -> tuple[float, float]:
    """Return what plain roofs beside the best cut across the first axis leave, and its place.

    That is a mean squared residual; infinite where there is no room for a cut.
    """
    low, high = corners.min() + LEAST_M, corners.max() - LEAST_M
    if high < low:
        return np.inf, 0.0
    middle = np.array([(low + high) / 2, uv[:, 1].mean()])
    uv, z = np.ascontiguousarray(uv - middle), np.ascontiguousarray(z)
    places = np.linspace(low, high, int((high - low) / EVERY_M) + 1)
    place = places[_costs(uv, z, places - middle[0]).argmin()]
    places = place + np.arange(-EVERY_M, EVERY_M + FINE_M, FINE_M)
    costs = _costs(uv, z, places - middle[0])
    place = places[costs.argmin()]
    near = corners[np.abs(corners - place).argmin()]
    return float(costs.min()), float(near if abs(near - place) < CORNER_M else place)


@njit(cache=True, nogil=True, error_model="numpy")
def _costs(uv: Floats, z: Floats, places: Floats) -> Floats:
    """Return the mean squared residual of the best plain roofs on both sides of each cut."""
    costs = np.full(len(places), np.inf)
    for k in range(len(places)):
        left = np.flatnonzero(uv[:, 0] < places[k] - BESIDE_M)
        right = np.flatnonzero(uv[:, 0] > places[k] + BESIDE_M)
        if min(len(left), len(right)) >= FEWEST_CELLS:
            total = 0.0
            for side in (left, right) if len(left) > len(right) else (right, left):
                # no more than the best so far, or it does not matter how much
                if total < costs.min() * (len(left) + len(right)):
                    total += len(side) * _plain(uv[side], z[side])
            costs[k] = total / (len(left) + len(right))
    return costs


@njit(cache=True, nogil=True, error_model="numpy")
def _plain(uv: Floats, z: Floats) -> float:
    """Return the mean squared residual of the best plain roof, its ridge in the middle."""
    at, half = uv.copy(), np.empty(2)
    for axis in range(2):
        low, high = uv[:, axis].min(), uv[:, axis].max()
        at[:, axis] -= (low + high) / 2
        half[axis] = (high - low) / 2
    number = np.arange(len(z))
    seen = (number, number, np.ones(len(z)), 0.0, 0.0, number, z)
    best, middle = np.inf, float(np.median(z))
    for kind in range(6):  # level, falling both ways, gables both ways, hip
        planes = np.zeros((4, 3))
        if kind in (1, 2):
            planes[:, kind - 1] = 1.0
        elif kind in (3, 4):
            planes[:2, kind - 3], planes[2:, kind - 3] = 1.0, -1.0
        elif kind == 5:
            planes[0, 0], planes[1, 0], planes[2, 1], planes[3, 1] = 1.0, -1.0, 1.0, -1.0
            planes[:2, 2], planes[2:, 2] = half[0], half[1]
        best = min(best, fit_shape(at, planes, middle, seen)[2])
    return best
