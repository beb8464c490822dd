"""Building footprints of every product, read as GeoJSON from the table that they are in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row, tuple_row

from catalog.footprint_table import WGS84, Conn

DECIMALS = {True: 8, False: 3}
"""Of a coordinate in degrees and in metres: a millimetre."""

Box = Sequence[float]
"""xmin, ymin, xmax, ymax; in degrees, xmin > xmax means across the date line."""


@dataclass(frozen=True)
class Page:
    """Features as GeoJSON objects, and the id after which the next page starts, if there is one."""

    features: list[dict[str, Any]]
    next_after: str | None


@dataclass(frozen=True)
class Summary:
    """How many features there are, where, and the JSON type of each of their properties."""

    count: int
    bbox: tuple[float, float, float, float] | None
    types: Mapping[str, str]


def summary(conn: Conn, product: str | None = None) -> Summary:
    """Return what is known of all features, or of one product's."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT number_of_features AS count, bbox, types FROM orograph.footprint_set "
            "WHERE %(product)s::text IS NULL OR product = %(product)s",
            {"product": product},
        ).fetchall()
    boxes = [row["bbox"] for row in rows]
    around = (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    ) if boxes else None  # fmt: skip
    types: dict[str, str] = {}
    for row in rows:
        for name, kind in row["types"].items():
            types[name] = kind if types.get(name, kind) == kind else "string"
    return Summary(sum(row["count"] for row in rows), around, types)


def features(
    conn: Conn,
    *,
    bbox: Box | None = None,
    bbox_srid: int = WGS84,
    product: str | None = None,
    filters: Mapping[str, str] | None = None,
    limit: int = 10,
    offset: int = 0,
    after: str | None = None,
    srid: int = WGS84,
) -> Page:
    """Return features in order of their ids, coordinates in EPSG:*srid* with x (or east) first.

    *filters* are properties and the text of the value they must have. *after*, the id of the
    last feature seen, makes any page as fast as the first; *offset* counts through.
    """
    where, values = _where(bbox, bbox_srid, product, filters)
    seen = _parsed(after) if after else None
    if seen:
        where.append(sql.SQL("(product, number) > (%(seen_product)s, %(seen_number)s)"))
        values |= {"seen_product": seen[0], "seen_number": seen[1]}
    query = sql.SQL(
        "SELECT product, number, {geometry} AS geometry, properties FROM orograph.footprint "
        "WHERE {where} ORDER BY product, number LIMIT %(limit)s OFFSET %(offset)s"
    ).format(geometry=_geometry(srid), where=sql.SQL(" AND ").join(where))
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, {**values, "limit": limit + 1, "offset": offset}).fetchall()
    found = [_feature(row) for row in rows[:limit]]
    return Page(found, found[-1]["id"] if len(rows) > limit and found else None)


def count(
    conn: Conn,
    *,
    bbox: Box | None = None,
    bbox_srid: int = WGS84,
    product: str | None = None,
    filters: Mapping[str, str] | None = None,
) -> int:
    """Return how many features match; without box and filters nothing is counted through."""
    if bbox is None and not filters:
        return summary(conn, product).count
    where, values = _where(bbox, bbox_srid, product, filters)
    query = sql.SQL("SELECT count(*) FROM orograph.footprint WHERE {}")
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query.format(sql.SQL(" AND ").join(where)), values).fetchone()
    return int(row[0]) if row else 0


def feature(conn: Conn, feature_id: str, *, srid: int = WGS84) -> dict[str, Any] | None:
    """Return one feature, or None."""
    place = _parsed(feature_id)
    if place is None:
        return None
    query = sql.SQL(
        "SELECT product, number, {geometry} AS geometry, properties FROM orograph.footprint "
        "WHERE product = %s AND number = %s"
    ).format(geometry=_geometry(srid))
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query, place).fetchone()
    return None if row is None else _feature(row)


def _where(
    bbox: Box | None, bbox_srid: int, product: str | None, filters: Mapping[str, str] | None
) -> tuple[list[sql.Composable], dict[str, Any]]:
    """Return conditions, at least one, and the values they name."""
    conditions: list[sql.Composable] = [sql.SQL("true")]
    values: dict[str, Any] = {}
    if product is not None:
        conditions.append(sql.SQL("product = %(product)s"))
        values["product"] = product
    if bbox is not None:
        parts = _boxes(bbox, across=bbox_srid == WGS84)
        within = sql.SQL(" OR ").join(
            sql.SQL("(geometry && {0} AND ST_Intersects(geometry, {0}))").format(_box(part))
            for part in range(len(parts))
        )
        conditions.append(sql.SQL("({})").format(within))
        values |= {"srid": bbox_srid}
        for i, box in enumerate(parts):
            values |= {f"box{i}_{j}": float(side) for j, side in enumerate(box)}
            values[f"step{i}"] = max(box[2] - box[0], box[3] - box[1]) / 16 or 1.0
    for index, (name, text) in enumerate((filters or {}).items()):
        conditions.append(
            sql.SQL("properties @> ANY({}::jsonb[])").format(sql.Placeholder(f"filter{index}"))
        )
        values[f"filter{index}"] = [json.dumps({name: value}) for value in _meanings(text)]
    return conditions, values


def _box(part: int) -> sql.Composable:
    """Return a box in degrees; the sides of a projected one are curves there."""
    sides = [sql.Placeholder(f"box{part}_{side}") for side in range(4)]
    return sql.SQL("ST_Transform(ST_Segmentize(ST_MakeEnvelope({}, %(srid)s), {}), 4326)").format(
        sql.SQL(", ").join(sides), sql.Placeholder(f"step{part}")
    )


def _boxes(bbox: Box, *, across: bool) -> list[Box]:
    xmin, ymin, xmax, ymax = bbox
    if across and xmin > xmax:
        return [(xmin, ymin, 180.0, ymax), (-180.0, ymin, xmax, ymax)]
    return [bbox]


def _meanings(text: str) -> list[Any]:
    """Return the JSON values a text in a URL may stand for."""
    known = {"true": True, "false": False, "null": None}
    meanings: list[Any] = [text]
    if text in known:
        meanings.append(known[text])
    try:
        number = json.loads(text)
        if isinstance(number, int | float) and not isinstance(number, bool):
            json.dumps(number, allow_nan=False)
            meanings.append(number)
    except ValueError:
        pass
    return meanings


def _geometry(srid: int) -> sql.Composable:
    degrees = srid == WGS84
    shape = sql.SQL("geometry") if degrees else sql.SQL("ST_Transform(geometry, {})").format(srid)
    return sql.SQL("ST_AsGeoJSON({}, {}, 0)::jsonb").format(shape, DECIMALS[degrees])


def _feature(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"{row['product']}.{row['number']}",
        "geometry": row["geometry"],
        "properties": {**row["properties"], "product": row["product"]},
    }


def _parsed(feature_id: str) -> tuple[str, int] | None:
    product, dot, number = feature_id.rpartition(".")
    is_number = number.isascii() and number.isdigit() and len(number) < 19
    return (product, int(number)) if dot and is_number and "\x00" not in product else None
