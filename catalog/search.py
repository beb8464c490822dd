"""Finding images of an area, and the pairs among them that make good stereo.

What makes a pair good follows Facciolo, de Franchis & Meinhardt-Llopis, Automatic 3D
reconstruction from multi-date satellite images (CVPRW 2017): both images see the ground, they lean
enough against each other but not too much, and little changed in between. Each is a factor 0…1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, log, radians, sin, sqrt, tan
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb
from shapely import transform
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

BEST_BASE_TO_HEIGHT = 0.35
BASE_TO_HEIGHT = (0.05, 1.2)
"""Below there is no height to be seen, above the two images show different sides of things."""
MOST_INCIDENCE_DEG = 45.0
SUN_DEG, DAYS = 30.0, 60.0
"""Change of light and time after which a pair is worth a third (1/e) of a simultaneous one."""
LEAST_OVERLAP = 0.1
MOST_ITEMS = 200

Item = Mapping[str, Any]
Conn = psycopg.Connection[Any]


@dataclass(frozen=True)
class Pair:
    """Two images and how well they go together."""

    left: str
    right: str
    overlap: float
    """Share of the area, or of the smaller image where no area was named, that both see."""
    base_to_height: float
    convergence_deg: float
    sun_deg: float
    """Between the two directions of sunlight; 0 where one is not known."""
    days: float
    score: float


def images(
    conn: Conn,
    area: Mapping[str, Any],
    *,
    collections: Sequence[str] = (),
    period: str | None = None,
    limit: int = MOST_ITEMS,
) -> list[Item]:
    """Return catalogued images that touch *area* (GeoJSON, degrees), newest first.

    An image is what says how it was viewed; our own products do not. *period* is an RFC 3339
    interval, as in STAC API.
    """
    asked: dict[str, Any] = {
        "intersects": area,
        "limit": limit,
        "sortby": [{"field": "properties.datetime", "direction": "desc"}],
        "filter-lang": "cql2-json",
        "filter": {
            "op": "or",
            "args": [
                {"op": "not", "args": [{"op": "isNull", "args": [{"property": name}]}]}
                for name in ("view:off_nadir", "view:incidence_angle")
            ],
        },
    }
    asked |= {"collections": list(collections)} if collections else {}
    asked |= {"datetime": period} if period else {}
    # rolled back: pgstac's search wants its search_path, which is nobody else's
    with (
        conn.transaction(force_rollback=True),
        conn.cursor(row_factory=tuple_row) as cursor,
    ):
        cursor.execute("SET LOCAL search_path TO pgstac, public")
        row = cursor.execute("SELECT search(%s)", [Jsonb(asked)]).fetchone()
    return list(row[0]["features"]) if row else []


def pairs(items: Sequence[Item], area: Mapping[str, Any] | None = None) -> list[Pair]:
    """Return the stereo pairs among STAC Items, the best first.

    Items that do not say from where they were viewed cannot be judged and are left out.
    """
    views = [view for item in items if (view := _View.of(item)) is not None]
    if not views:
        return []
    place = _Plane(views[0].footprint.centroid.y)
    wanted = place.of(shape(dict(area))) if area else None
    ground = {view.id: place.of(view.footprint) for view in views}
    found = (
        _pair(one, two, _overlap(ground[one.id], ground[two.id], wanted))
        for one, two in combinations(views, 2)
    )
    return sorted(
        (pair for pair in found if pair), key=lambda pair: (-pair.score, pair.left, pair.right)
    )


@dataclass(frozen=True)
class _View:
    """What an Item says of how its image was taken."""

    id: str
    footprint: BaseGeometry
    taken: datetime
    lean: tuple[float, float]
    """Metres east and north towards the camera, for each metre up."""
    sun: tuple[float, float, float] | None
    gsd_m: float | None
    clear: float

    @classmethod
    def of(cls, item: Item) -> _View | None:
        said = item["properties"]
        incidence = said.get("view:incidence_angle", said.get("view:off_nadir"))
        taken = said.get("datetime") or said.get("start_datetime")
        if incidence is None or not item.get("geometry") or not taken:
            return None
        if abs(incidence) > MOST_INCIDENCE_DEG:
            return None
        azimuth = radians(said.get("view:azimuth", 0.0))
        lean = tan(radians(incidence))
        when = datetime.fromisoformat(taken)
        return cls(
            str(item["id"]),
            shape(item["geometry"]),
            when if when.tzinfo else when.replace(tzinfo=UTC),
            (lean * sin(azimuth), lean * cos(azimuth)),
            _sun(said),
            said.get("gsd"),
            1.0 - float(said.get("eo:cloud_cover") or 0.0) / 100,
        )


@dataclass(frozen=True)
class _Plane:
    """Degrees made as long east as north, near one latitude: good enough to compare areas."""

    latitude: float

    def of(self, footprint: BaseGeometry) -> BaseGeometry:
        return transform(footprint, lambda xy: xy * (cos(radians(self.latitude)), 1.0))


def _pair(one: _View, two: _View, overlap: float) -> Pair | None:
    left, right = sorted((one, two), key=lambda view: (view.taken, view.id))
    ratio = hypot(left.lean[0] - right.lean[0], left.lean[1] - right.lean[1])
    low, high = BASE_TO_HEIGHT
    if overlap < LEAST_OVERLAP or not low <= ratio <= high:
        return None
    sun_deg = _between(left.sun, right.sun) if left.sun and right.sun else 0.0
    days = (right.taken - left.taken).total_seconds() / 86_400
    score = 1.0
    for factor in (
        overlap,
        exp(-((log(ratio / BEST_BASE_TO_HEIGHT) / 0.7) ** 2)),
        exp(-sun_deg / SUN_DEG),
        exp(-days / DAYS),
        _finer(left.gsd_m, right.gsd_m),
        left.clear * right.clear,
    ):
        score *= factor
    convergence = _between((*left.lean, 1.0), (*right.lean, 1.0))
    return Pair(left.id, right.id, overlap, ratio, convergence, sun_deg, days, score)


def _overlap(one: BaseGeometry, two: BaseGeometry, wanted: BaseGeometry | None) -> float:
    both = one.intersection(two)
    if wanted is not None and wanted.area > 0:
        return float(both.intersection(wanted).area / wanted.area)
    smaller = min(one.area, two.area)
    return float(both.area / smaller) if smaller > 0 else 0.0


def _finer(one: float | None, two: float | None) -> float:
    """Return how alike two resolutions are."""
    return min(one, two) / max(one, two) if one and two else 1.0


def _sun(said: Mapping[str, Any]) -> tuple[float, float, float] | None:
    azimuth, elevation = said.get("view:sun_azimuth"), said.get("view:sun_elevation")
    if azimuth is None or elevation is None:
        return None
    a, e = radians(azimuth), radians(elevation)
    return cos(e) * sin(a), cos(e) * cos(a), sin(e)


def _between(one: Sequence[float], two: Sequence[float]) -> float:
    """Return the angle between two directions, degrees."""
    cosine = sum(a * b for a, b in zip(one, two, strict=True))
    cross = list(_cross(one, two))
    return degrees(atan2(sqrt(sum(part**2 for part in cross)), cosine))


def _cross(one: Sequence[float], two: Sequence[float]) -> Iterator[float]:
    for i, j in ((1, 2), (2, 0), (0, 1)):
        yield one[i] * two[j] - one[j] * two[i]
