"""Writing the catalogue: STAC Items and Collections in pgstac, inside the caller's transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from processes.core.errors import InvalidInput

COLLECTION = "orograph"
VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
EMPTY_EXTENT = {
    "spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]]},
    "temporal": {"interval": [[None, None]]},
}
LOCK = 0x0407
"""Advisory lock of whoever changes the catalogue."""

Conn = psycopg.Connection[Any]


def put_item(conn: Conn, item: Mapping[str, Any]) -> None:
    """Make *item* the catalogue's; its collection is made where there is none, and grows to it.

    Putting the same item again changes nothing. Until the transaction ends nobody else can put
    one, and now and then (pgstac alters a partition) nobody can search: put items last.
    """
    with conn.transaction():
        # pgstac locks partitions, their statistics and collections in no fixed order
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        ensure_collection(conn, item["collection"])
        conn.execute("SELECT pgstac.upsert_item(%s)", [Jsonb(item)])
        _grow(conn, item)


def get_item(conn: Conn, item_id: str, collection: str | None = None) -> dict[str, Any] | None:
    """Return an item as it was put, its hrefs below `items.ROOT`, or None."""
    found: dict[str, Any] | None = _value(
        conn, "SELECT pgstac.get_item(%s, %s)", [item_id, collection]
    )
    return found


def tell_item(conn: Conn, item_id: str, facts: Mapping[str, Any], *, prefix: str) -> bool:
    """Make *facts* the properties of an item that begin with *prefix*; False without the item."""
    with conn.transaction():
        # read under the lock: two reports on one product are both told
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        item = get_item(conn, item_id)
        if item is None:
            return False
        others = {k: v for k, v in item["properties"].items() if not k.startswith(prefix)}
        put_item(conn, item | {"properties": others | dict(facts)})
    return True


def delete_item(conn: Conn, item_id: str, collection: str) -> bool:
    """Forget an item; False where there was none."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        gone = conn.execute(
            "DELETE FROM pgstac.items WHERE id = %s AND collection = %s", [item_id, collection]
        )
    return gone.rowcount > 0


def ensure_collection(
    conn: Conn, collection: str = COLLECTION, *, title: str | None = None
) -> None:
    """Make a collection unless it is there. Raises InvalidInput for an id no URL can hold."""
    if not VALID_ID.fullmatch(collection):
        raise InvalidInput(
            f"collection {collection[:64]!r}: use up to 64 letters, digits, '-', '_' and '.'"
        )
    known = "SELECT 1 FROM pgstac.collections WHERE id = %s"
    if _value(conn, known, [collection]):
        return
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if _value(conn, known, [collection]):
            return
        conn.execute(
            "SELECT pgstac.create_collection(%s)", [Jsonb(new_collection(collection, title))]
        )


def new_collection(collection: str, title: str | None = None) -> dict[str, Any]:
    """Return an empty STAC Collection."""
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": collection,
        "title": title or ("3D maps" if collection == COLLECTION else collection),
        "description": "Surface and terrain models, true orthoimages, building footprints and "
        "buildings in 3D, computed by Orograph from stereo satellite images.",
        "keywords": ["DSM", "DTM", "orthoimage", "buildings", "3D Tiles", "CityJSON"],
        "license": "other",
        "extent": EMPTY_EXTENT,
        "links": [],
    }


def _grow(conn: Conn, item: Mapping[str, Any]) -> None:
    """Widen the collection's extent to *item*; the row stays untouched where it fits already."""
    before = _value(
        conn,
        "SELECT content->'extent' FROM pgstac.collections WHERE id = %s FOR UPDATE",
        [item["collection"]],
    )
    after = grown(before, item)
    if after != before:
        conn.execute(
            "UPDATE pgstac.collections SET content = jsonb_set(content, '{extent}', %s) "
            "WHERE id = %s",
            [Jsonb(after), item["collection"]],
        )


def grown(extent: Mapping[str, Any] | None, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a collection's extent that holds *item* as well."""
    facts = item["properties"]
    start = facts.get("start_datetime") or facts["datetime"]
    end = facts.get("end_datetime") or facts["datetime"]
    box = _flat(item["bbox"])
    if extent is None or extent == EMPTY_EXTENT:
        return {"spatial": {"bbox": [box]}, "temporal": {"interval": [[start, end]]}}
    old = _flat(extent["spatial"]["bbox"][0])
    since, until = extent["temporal"]["interval"][0]
    wide = [*map(min, old[:2], box[:2]), *map(max, old[2:], box[2:])]
    # an open end stays open
    interval = [
        since and min(since, start, key=datetime.fromisoformat),
        until and max(until, end, key=datetime.fromisoformat),
    ]
    return {"spatial": {"bbox": [wide]}, "temporal": {"interval": [interval]}}


def _flat(bbox: list[float]) -> list[float]:
    return [*bbox[:2], *bbox[3:5]] if len(bbox) == 6 else list(bbox)


def _value(conn: Conn, query: str, values: Sequence[Any]) -> Any:
    """Return the first cell of the answer, or None."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query, values).fetchone()
    return row[0] if row else None
