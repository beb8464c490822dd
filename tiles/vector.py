"""Vector tiles of building footprints: each is one SQL statement that PostGIS answers.

From far away a building is less than a pixel: there are none below `MIN_ZOOM`, and above it only
those that would be seen.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from psycopg import sql
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tiles.answers import accepts, outside, unless_known

LAYER = "footprints"
MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
MIN_ZOOM, MAX_ZOOM = 12, 22
EXTENT, BUFFER = 4096, 64
"""Steps along the side of a tile, and how far shapes go on beyond it."""
SMALLEST_PX = 2.0
"""Buildings whose box is less than this along both sides, in a tile of 512 pixels, are left out."""
WHOLE_ZOOM = 15
"""From here on nothing is left out."""
GZIP_LEVEL = 5
HEADERS = {"Cache-Control": "public, max-age=60", "Vary": "Accept-Encoding"}
NO_NAME = re.compile(r"[\x00-\x1f]")

Key = Annotated[str, InPath(description="Key of the product.")]

TILE = sql.SQL("""
WITH tile AS (
    SELECT ST_TileEnvelope(%(z)s, %(x)s, %(y)s) AS box,
           ST_Transform(
               ST_TileEnvelope(%(z)s, %(x)s, %(y)s, margin => %(margin)s), 4326
           ) AS degrees
), shown AS (
    SELECT ST_AsMVTGeom(
               ST_Transform(geometry, 3857), tile.box, %(extent)s, %(buffer)s, true
           ) AS geometry,
           number,
           properties || jsonb_build_object('product', product) AS properties
    FROM orograph.footprint, tile
    WHERE geometry && tile.degrees AND {product} AND {size}
)
SELECT ST_AsMVT(shown, %(layer)s, %(extent)s, 'geometry', 'number')
FROM shown WHERE geometry IS NOT NULL
""")
OF_PRODUCT = sql.SQL("product = %(product)s")
LARGE = sql.SQL(
    "greatest(ST_XMax(geometry) - ST_XMin(geometry), ST_YMax(geometry) - ST_YMin(geometry)) "
    ">= %(smallest)s"
)
ALL = sql.SQL("true")

SUMMARY = """
SELECT sum(number_of_features), min(bbox[1]), min(bbox[2]), max(bbox[3]), max(bbox[4]),
       coalesce(jsonb_agg(types), '[]')
FROM orograph.footprint_set WHERE %(product)s::text IS NULL OR product = %(product)s
"""


def router(pool: ConnectionPool[Any]) -> APIRouter:
    """Return routes below `/vector`: of all products, or below `/vector/{key}` of one."""
    routes = APIRouter(prefix="/vector", tags=["Vector tiles"])

    @routes.get("/tilejson.json", operation_id="getVectorTileJson")
    def tilejson(request: Request) -> Response:
        """What there is to be seen of all products, as TileJSON 3.0."""
        return _tilejson(request, pool, None)

    @routes.get("/{key}/tilejson.json", operation_id="getProductVectorTileJson")
    def product_tilejson(request: Request, key: Key) -> Response:
        """What there is to be seen of one product, as TileJSON 3.0."""
        return _tilejson(request, pool, key)

    @routes.get("/{z}/{x}/{y}.mvt", operation_id="getVectorTile", response_class=Response)
    def every(request: Request, z: int, x: int, y: int) -> Response:
        """Footprints of all products."""
        return _answer(request, pool, None, z, x, y)

    @routes.get(
        "/{key}/{z}/{x}/{y}.mvt", operation_id="getProductVectorTile", response_class=Response
    )
    def of_product(request: Request, key: Key, z: int, x: int, y: int) -> Response:
        """Footprints of one product."""
        return _answer(request, pool, key, z, x, y)

    return routes


def tile(conn: Any, z: int, x: int, y: int, product: str | None = None) -> bytes:
    """Return a vector tile of the Web Mercator quad; empty where there is nothing to see."""
    if z < MIN_ZOOM:
        return b""
    degrees_a_px = 360 / 2**z / 512
    query = TILE.format(
        product=OF_PRODUCT if product is not None else ALL,
        size=LARGE if z < WHOLE_ZOOM else ALL,
    )
    values = {
        "z": z,
        "x": x,
        "y": y,
        "margin": BUFFER / EXTENT,
        "extent": EXTENT,
        "buffer": BUFFER,
        "layer": LAYER,
        "product": product,
        "smallest": SMALLEST_PX * degrees_a_px,
    }
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query, values).fetchone()
    return bytes(row[0]) if row and row[0] else b""


def _answer(
    request: Request, pool: ConnectionPool[Any], product: str | None, z: int, x: int, y: int
) -> Response:
    if not 0 <= z <= MAX_ZOOM or not (0 <= x < 2**z and 0 <= y < 2**z):
        raise HTTPException(404, f"there is no tile {z}/{x}/{y}: zoom levels are 0 to {MAX_ZOOM}")
    with pool.connection() as conn:
        content = tile(conn, z, x, y, _name(product))
    if not content:
        return Response(status_code=204, headers=HEADERS)
    tag = hashlib.blake2b(content, digest_size=12).hexdigest()
    headers = HEADERS | {"ETag": f'"{tag}"'}
    if accepts(request, "gzip"):
        # mtime: equal tiles are equal bytes
        content = gzip.compress(content, GZIP_LEVEL, mtime=0)
        headers |= {"Content-Encoding": "gzip", "ETag": f'"{tag}-gzip"'}
    return unless_known(request, Response(content, 200, headers, MEDIA_TYPE))


def _tilejson(request: Request, pool: ConnectionPool[Any], product: str | None) -> Response:
    with pool.connection() as conn, conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(SUMMARY, {"product": _name(product)}).fetchone()
    count, west, south, east, north, types = row or (None, *[None] * 4, [])
    if not count and product is not None:
        raise HTTPException(404, f"there are no footprints of product {product}")
    bounds = [west, south, east, north] if count else [-180.0, -85.0511, 180.0, 85.0511]
    middle = [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, 15]
    fields = {name: kind.capitalize() for each in types for name, kind in each.items()}
    here = f"{outside(request)}/vector" + (f"/{product}" if product is not None else "")
    return JSONResponse(
        {
            "tilejson": "3.0.0",
            "name": "Building footprints",
            "tiles": [f"{here}/{{z}}/{{x}}/{{y}}.mvt"],
            "minzoom": MIN_ZOOM,
            "maxzoom": MAX_ZOOM,
            "bounds": bounds,
            "center": middle,
            "vector_layers": [{"id": LAYER, "fields": {**fields, "product": "String"}}],
        },
        headers={"Cache-Control": "no-cache"},
    )


def _name(product: str | None) -> str | None:
    if product is not None and NO_NAME.search(product):
        raise HTTPException(404, "there is no such product")
    return product
