"""Building footprints of every product in one PostGIS table, read as GeoJSON.

A feature's id is PRODUCT.NUMBER: products are never changed, so neither is what an id means.
Its `building_id` outlives products: a building that an earlier product of the same collection
has keeps the id it has there, found by its outline (`processes.core.identity`).
Facts about a product's features that a client asks first (how many, where, which properties)
are counted once, when they are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    import geopandas
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS postgis;
CREATE SCHEMA IF NOT EXISTS orograph;
CREATE TABLE IF NOT EXISTS orograph.footprint_set (
    product text PRIMARY KEY,
    number_of_features bigint NOT NULL,
    bbox double precision[] NOT NULL,
    types jsonb NOT NULL,
    published timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS orograph.footprint (
    product text NOT NULL REFERENCES orograph.footprint_set ON DELETE CASCADE,
    number bigint NOT NULL,
    geometry public.geometry(Geometry, 4326) NOT NULL,
    properties jsonb NOT NULL,
    PRIMARY KEY (product, number)
);
CREATE INDEX IF NOT EXISTS footprint_geometry ON orograph.footprint USING gist (geometry);
ALTER TABLE orograph.footprint_set ADD COLUMN IF NOT EXISTS collection text;
ALTER TABLE orograph.footprint ADD COLUMN IF NOT EXISTS building_id text;
CREATE INDEX IF NOT EXISTS footprint_building ON orograph.footprint (building_id);
"""

WGS84 = 4326
DECIMALS = {True: 8, False: 3}
"""Of a coordinate in degrees and in metres: a millimetre."""

Conn = psycopg.Connection[Any]
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


def somewhere(frame: geopandas.GeoDataFrame) -> NDArray[np.bool_]:
    """Say which geometries, in degrees, there are, with all of their corners on the globe."""
    import numpy as np
    import shapely

    shapes = frame.geometry.to_numpy()
    corners, owner = shapely.get_coordinates(shapes, return_index=True)
    found = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    found[owner[~np.isfinite(corners).all(axis=1)]] = False
    return np.asarray(found)


def put_footprints(
    conn: Conn, product: str, frame: geopandas.GeoDataFrame, *, collection: str | None = None
) -> int:
    """Make *frame* the features of *product*, replacing what there was; return their number.

    Runs in the caller's transaction. Numbers are those of column `id` where it holds different
    whole numbers, else 1, 2, … With a *collection*, each feature gets a property `building_id`.
    """
    import numpy as np
    import shapely

    frame = frame.to_crs(WGS84)
    frame = frame[somewhere(frame)]
    delete_footprints(conn, product)
    if not len(frame):
        return 0
    bbox = [float(side) for side in np.round(frame.total_bounds, 9)]
    names: Sequence[str | None] = [None] * len(frame)
    if collection is not None:
        # two products at once would both name the same new buildings
        conn.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"buildings {collection}"])
        names = _building_ids(conn, collection, frame, bbox)
        frame = frame.assign(building_id=names)
    conn.execute(
        "INSERT INTO orograph.footprint_set (product, number_of_features, bbox, types, collection) "
        "VALUES (%s, %s, %s, %s, %s)",
        [product, len(frame), bbox, Jsonb(_types(frame)), collection],
    )
    shapes = shapely.set_srid(shapely.force_2d(frame.geometry.to_numpy()), WGS84)
    encoded = shapely.to_wkb(shapes, hex=True, include_srid=True)
    copy = "COPY orograph.footprint (product, number, geometry, properties, building_id) FROM STDIN"
    with conn.cursor() as cursor, cursor.copy(copy) as rows:
        for number, geometry, record, name in zip(
            _numbers(frame), encoded, _records(frame), names, strict=True
        ):
            rows.write_row((product, number, geometry, record, name))
    return len(frame)


def _building_ids(
    conn: Conn, collection: str, frame: geopandas.GeoDataFrame, bbox: Sequence[float]
) -> list[str]:
    """Return an id for each row: the one its building has in the collection, else a new one.

    A new one is the row's own `id` where that is a text, else named after the place.
    """
    import numpy as np
    import shapely

    from processes.core.identity import kept_ids

    rows = conn.execute(
        "SELECT DISTINCT ON (building_id) building_id, ST_AsBinary(geometry) "
        "FROM orograph.footprint JOIN orograph.footprint_set USING (product) "
        "WHERE collection = %s AND building_id IS NOT NULL "
        "AND geometry && ST_MakeEnvelope(%s, %s, %s, %s, 4326) "
        "ORDER BY building_id, published DESC, product",
        [collection, *bbox],
    ).fetchall()
    known = np.array([bytes(geometry) for _, geometry in rows], object)
    own = _own_ids(frame)
    ids = kept_ids(
        frame.geometry.to_numpy(), own, shapely.from_wkb(known), [name for name, _ in rows]
    )
    return _unborne(conn, collection, ids, {name for name, _ in rows})


def _own_ids(frame: geopandas.GeoDataFrame) -> list[str]:
    import pandas as pd
    from shapely import get_x, get_y, point_on_surface

    from processes.core.identity import place_ids

    if "id" in frame:
        ids = frame["id"]
        texts = pd.api.types.is_string_dtype(ids) and ids.notna().all()
        if texts and ids.is_unique and not ids.astype(str).str.contains("\x00").any():
            return [str(name) for name in ids]
    middles = point_on_surface(frame.geometry.to_numpy())
    return place_ids(get_x(middles).tolist(), get_y(middles).tolist())


def _unborne(conn: Conn, collection: str, ids: list[str], here: set[str]) -> list[str]:
    """Return *ids*, with a number where a building elsewhere in the collection has the same."""
    fresh = [name for name in ids if name not in here]
    found = conn.execute(
        "SELECT DISTINCT building_id FROM orograph.footprint JOIN orograph.footprint_set "
        "USING (product) WHERE collection = %s AND building_id = ANY(%s)",
        [collection, fresh],
    ).fetchall()
    elsewhere = {name for (name,) in found}
    taken = {*ids, *elsewhere}
    for row, name in enumerate(ids):
        if name in elsewhere:
            number = 2
            while f"{name}-{number}" in taken:
                number += 1
            ids[row] = f"{name}-{number}"
            taken.add(ids[row])
    return ids


def delete_footprints(conn: Conn, product: str) -> None:
    """Forget the features of *product*."""
    conn.execute("DELETE FROM orograph.footprint_set WHERE product = %s", [product])


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


def _numbers(frame: geopandas.GeoDataFrame) -> Sequence[int]:
    import pandas as pd

    if "id" in frame:
        ids = frame["id"]
        whole = pd.api.types.is_integer_dtype(ids) and ids.notna().all()
        if whole and ids.is_unique and (ids >= 0).all():
            return [int(number) for number in ids]
    return range(1, len(frame) + 1)


def _attributes(frame: geopandas.GeoDataFrame) -> Any:
    """Return the table without shapes, its cells fit for JSON."""
    table = frame.drop(columns=frame.columns[frame.dtypes == "geometry"])
    table.columns = [str(name) for name in table.columns]
    for name in table.columns:
        if table[name].dtype == object:
            table[name] = table[name].map(_plain)
    return table


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    import pandas as pd

    return None if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)


def _records(frame: geopandas.GeoDataFrame) -> Iterator[str]:
    """Yield each row's properties as JSON text; what is not known is null."""
    table = _attributes(frame)
    if not len(table.columns):
        yield from ["{}"] * len(frame)
        return
    text = table.to_json(
        orient="records", lines=True, date_format="iso", double_precision=9, force_ascii=False
    )
    # PostgreSQL keeps no zero bytes in text
    yield from text.replace("\\u0000", "").rstrip("\n").split("\n")


def _types(frame: geopandas.GeoDataFrame) -> dict[str, str]:
    import pandas as pd

    def kind(column: Any) -> str:
        if pd.api.types.is_bool_dtype(column):
            return "boolean"
        if pd.api.types.is_integer_dtype(column):
            return "integer"
        return "number" if pd.api.types.is_float_dtype(column) else "string"

    table = _attributes(frame)
    return {name: kind(table[name]) for name in table.columns}
