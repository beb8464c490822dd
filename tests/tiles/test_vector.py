"""Vector tiles as GDAL reads them: the right shapes, attributes and number of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import geopandas
import morecantile
import pandas as pd
import pyogrio
import pytest
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from pyproj import Transformer
from shapely.geometry import box
from starlette.testclient import TestClient

from catalog import footprint_table
from tiles import vector

MERCATOR = morecantile.tms.get("WebMercatorQuad")
TO_DEGREES = Transformer.from_crs("EPSG:32631", "OGC:CRS84", always_xy=True)
EAST, NORTH = 430_000.0, 5_290_000.0


def houses(count: int, side_m: float = 10.0) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(
        {
            "id": range(1, count + 1),
            "roof_m": [110.5] * count,
            "lod": pd.array([1] * count, dtype="Int32"),
            "reason": pd.array([None] * count, dtype="string"),
        },
        geometry=[
            box(EAST + 20 * n, NORTH, EAST + 20 * n + side_m, NORTH + side_m) for n in range(count)
        ],
        crs="EPSG:32631",
    )


@pytest.fixture(scope="module")
def pool(
    new_database: Callable[[], AbstractContextManager[str]],
) -> Iterator[ConnectionPool[Any]]:
    with new_database() as url, ConnectionPool(url, min_size=1, max_size=2) as open_pool:
        with open_pool.connection() as conn:
            footprint_table.put_footprints(conn, "village", houses(12))
            footprint_table.put_footprints(conn, "hangar", houses(1, side_m=200.0))
        yield open_pool


@pytest.fixture(scope="module")
def client(pool: ConnectionPool[Any]) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(vector.router(pool))
    with TestClient(app, base_url="http://maps.example", root_path="/prefix") as open_client:
        yield open_client


def tile_of(x: float, y: float, zoom: int) -> str:
    tile = MERCATOR.tile(*TO_DEGREES.transform(x, y), zoom)
    return f"{zoom}/{tile.x}/{tile.y}"


def read(content: bytes, tile: str, folder: Path) -> geopandas.GeoDataFrame:
    """Return what GDAL finds in a tile."""
    path = folder / f"{tile}.mvt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    # clipped for the screen at tile borders, GDAL would do it once more
    return pyogrio.read_dataframe(path, CLIP="NO")


def test_a_tile_holds_the_buildings_with_their_attributes(
    client: TestClient, tmp_path: Path
) -> None:
    tile = tile_of(EAST + 5, NORTH + 5, 17)
    response = client.get(f"/vector/village/{tile}.mvt")
    assert response.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    assert pyogrio.list_layers(_kept(response.content, tile, tmp_path))[0][0] == "footprints"
    found = read(response.content, tile, tmp_path).to_crs("EPSG:32631")
    first = found[found["id"] == 1].iloc[0]
    assert first["mvt_id"] == 1
    assert (first["roof_m"], first["lod"], first["product"]) == (110.5, 1, "village")
    inside = box(EAST, NORTH, EAST + 10, NORTH + 10)
    # a step of a tile is 5 cm at this zoom and latitude
    assert first.geometry.symmetric_difference(inside).area < 40 * 0.05


def _kept(content: bytes, tile: str, folder: Path) -> Path:
    read(content, tile, folder)
    return folder / f"{tile}.mvt"


def test_all_products_are_in_one_tile_and_one_product_alone(
    client: TestClient, tmp_path: Path
) -> None:
    tile = tile_of(EAST + 5, NORTH + 5, 15)
    every = read(client.get(f"/vector/{tile}.mvt").content, tile, tmp_path)
    assert every["product"].value_counts().to_dict() == {"village": 12, "hangar": 1}
    one = read(client.get(f"/vector/hangar/{tile}.mvt").content, tile, tmp_path)
    assert list(one["product"]) == ["hangar"]


def test_from_afar_only_large_buildings_are_seen(client: TestClient, tmp_path: Path) -> None:
    tile = tile_of(EAST + 5, NORTH + 5, 12)
    found = read(client.get(f"/vector/{tile}.mvt").content, tile, tmp_path)
    assert list(found["product"]) == ["hangar"]
    farther = tile_of(EAST + 5, NORTH + 5, 11)
    assert client.get(f"/vector/{farther}.mvt").status_code == 204


def test_where_there_is_nothing_there_is_no_content(client: TestClient) -> None:
    response = client.get("/vector/15/0/0.mvt")
    assert (response.status_code, response.content) == (204, b"")
    tile = tile_of(EAST, NORTH, 15)
    assert client.get(f"/vector/unknown/{tile}.mvt").status_code == 204


@pytest.mark.parametrize(
    "path",
    [
        "15/-1/0.mvt", "15/32768/0.mvt", "-1/0/0.mvt", "23/0/0.mvt", "99999999/0/0.mvt",
        "village%00/15/0/0.mvt",
    ],
)  # fmt: skip
def test_a_tile_that_cannot_be_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(f"/vector/{path}").status_code == 404


def test_a_name_is_a_value_not_a_statement(client: TestClient) -> None:
    assert client.get("/vector/x' OR true --/15/1/1.mvt").status_code == 204


def test_a_tile_is_compressed_for_whoever_can_read_it(client: TestClient) -> None:
    address = f"/vector/{tile_of(EAST, NORTH, 15)}.mvt"
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    none = client.get(address, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in none.headers
    with client.stream("GET", address, headers={"Accept-Encoding": "br, gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        raw = b"".join(packed.iter_raw())
    assert len(raw) < len(plain.content)
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in packed.headers["vary"]


def test_a_tile_that_is_known_is_not_sent_until_it_changes(
    client: TestClient, pool: ConnectionPool[Any]
) -> None:
    address = f"/vector/{tile_of(EAST, NORTH, 15)}.mvt"
    tag = client.get(address).headers["etag"]
    again = client.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    with pool.connection() as conn:
        footprint_table.put_footprints(conn, "new", houses(1))
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 200
    with pool.connection() as conn:
        footprint_table.delete_footprints(conn, "new")
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304


def test_the_tilejson_says_what_is_there(client: TestClient) -> None:
    one = client.get("/vector/village/tilejson.json").json()
    assert one["tiles"] == ["http://maps.example/prefix/vector/village/{z}/{x}/{y}.mvt"]
    assert one["vector_layers"][0]["id"] == "footprints"
    assert one["vector_layers"][0]["fields"]["roof_m"] == "Number"
    west, south, east, north = one["bounds"]
    assert (west, south) < TO_DEGREES.transform(EAST + 5, NORTH + 5) < (east, north)
    every = client.get("/vector/tilejson.json").json()
    assert every["tiles"] == ["http://maps.example/prefix/vector/{z}/{x}/{y}.mvt"]
    assert client.get("/vector/unknown/tilejson.json").status_code == 404
