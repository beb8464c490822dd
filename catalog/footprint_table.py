"""The PostGIS table of every product's building footprints: how they get into it and out of it.

A feature's id is PRODUCT.NUMBER: products are never changed, so neither is what an id means.
Its `building_id` outlives products: a building that an earlier product of the same collection
has keeps the id it has there, found by its outline (`processes.core.identity`).
Facts about a product's features that a client asks first (how many, where, which properties)
are counted once, when they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
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

Conn = psycopg.Connection[Any]


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


def delete_footprints(conn: Conn, product: str) -> None:
    """Forget the features of *product*."""
    conn.execute("DELETE FROM orograph.footprint_set WHERE product = %s", [product])


def somewhere(frame: geopandas.GeoDataFrame) -> NDArray[np.bool_]:
    """Say which geometries, in degrees, there are, with all of their corners on the globe."""
    import numpy as np
    import shapely

    shapes = frame.geometry.to_numpy()
    corners, owner = shapely.get_coordinates(shapes, return_index=True)
    found = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    found[owner[~np.isfinite(corners).all(axis=1)]] = False
    return np.asarray(found)


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
