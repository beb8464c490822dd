"""Files of products over HTTP: parts, types, tags and compression; and what is none of them."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import brotli
import geopandas
import httpx
import morecantile
import pytest
import rasterio
import uvicorn
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from rasterio.windows import Window
from starlette.testclient import TestClient

from catalog.addresses import absolute
from catalog.assets import measured
from catalog.items import product_item
from catalog.origins import Made
from processes.core.process import COG
from tiles import api

MERCATOR = morecantile.tms.get("WebMercatorQuad")
CESIUM_JS = "// Cesium\n" + "let x = 1;\n" * 1000


@pytest.fixture(scope="module")
def pool(
    new_database: Callable[[], AbstractContextManager[str]],
) -> Iterator[ConnectionPool[Any]]:
    with new_database() as url, ConnectionPool(url, min_size=0, max_size=2, open=True) as open_pool:
        yield open_pool


@pytest.fixture(scope="module")
def app(
    product_folder: Path, pool: ConnectionPool[Any], tmp_path_factory: pytest.TempPathFactory
) -> FastAPI:
    cesium = tmp_path_factory.mktemp("cesium")
    (cesium / "Cesium.js").write_text(CESIUM_JS)
    (product_folder.parent / "unfinished").mkdir()
    (product_folder.parent / "unfinished/dsm.tif").write_bytes(b"half")
    made = FastAPI()
    made.include_router(api.router(product_folder.parent, pool, cesium=cesium))
    return made


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    options: dict[str, Any] = {"base_url": "http://maps.example", "root_path": "/prefix"}
    with TestClient(app, follow_redirects=False, **options) as open_client:
        yield open_client


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Iterator[str]:
    """The address of a real server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_gdal_reads_a_part_of_a_cog_over_http(served: str, product_folder: Path) -> None:
    address = f"/vsicurl/{served}/products/{product_folder.name}/dsm.tif"
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(address) as file:
        assert file.crs.to_epsg() == 32631
        there = file.read(1, window=Window(100, 100, 50, 50))
    with rasterio.open(product_folder / "dsm.tif") as file:
        assert (there == file.read(1, window=Window(100, 100, 50, 50))).all()


def test_footprints_are_read_over_http(served: str, product_folder: Path) -> None:
    at = f"{served}/products/{product_folder.name}"
    content = httpx.get(f"{at}/footprints.parquet").content
    assert len(geopandas.read_parquet(io.BytesIO(content))) == 2


def test_a_part_is_of_the_file_itself(client: TestClient, product_folder: Path) -> None:
    address = f"/products/{product_folder.name}/dsm.tif"
    content = (product_folder / "dsm.tif").read_bytes()
    part = client.get(address, headers={"Range": "bytes=10-19", "Accept-Encoding": "br, gzip"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert client.get(address, headers={"Range": "bytes=-5"}).content == content[-5:]
    assert client.get(address, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    stale = {"Range": "bytes=0-3", "If-Range": '"older"'}
    assert client.get(address, headers=stale).content == content


def test_a_part_of_what_could_be_compressed_is_not(
    client: TestClient, product_folder: Path
) -> None:
    key = product_folder.name
    tile = next((product_folder / "tileset").glob("**/*.glb"))
    asked = {"Range": "bytes=0-3", "Accept-Encoding": "br, gzip"}
    part = client.get(
        f"/3dtiles/{key}/{tile.relative_to(product_folder / 'tileset')}", headers=asked
    )
    assert (part.status_code, part.content) == (206, b"glTF")
    assert "content-encoding" not in part.headers


def test_head_tells_without_sending(client: TestClient, product_folder: Path) -> None:
    response = client.head(f"/products/{product_folder.name}/dsm.tif")
    assert response.status_code == 200
    assert response.content == b""
    assert response.headers["accept-ranges"] == "bytes"
    size = (product_folder / "dsm.tif").stat().st_size
    assert response.headers["content-length"] == str(size)


def test_types_are_those_the_product_says(client: TestClient, product_folder: Path) -> None:
    at = f"/products/{product_folder.name}"
    types = {
        "dsm.tif": COG,
        "footprints.parquet": "application/vnd.apache.parquet",
        "thumbnail.png": "image/png",
        "results.json": "application/json",
        "tileset/tileset.json": "application/json",
    }
    for name, media_type in types.items():
        assert client.get(f"{at}/{name}").headers["content-type"] == media_type


def test_the_tileset_and_every_tile_it_names_are_there(
    client: TestClient, product_folder: Path
) -> None:
    at = f"/3dtiles/{product_folder.name}"
    tileset = client.get(f"{at}/tileset.json").json()
    names = []

    def walk(tile: dict[str, Any]) -> None:
        names.extend([tile["content"]["uri"]] if "content" in tile else [])
        for child in tile.get("children", ()):
            walk(child)

    walk(tileset["root"])
    assert names
    for name in names:
        response = client.get(f"{at}/{name}")
        assert response.headers["content-type"] == "model/gltf-binary"
        assert response.content[:4] == b"glTF"


@pytest.mark.parametrize(
    ("coding", "unpack"), [("br", brotli.decompress), ("gzip", gzip.decompress)]
)
def test_a_tile_is_compressed_for_whoever_can_read_it(
    client: TestClient, product_folder: Path, coding: str, unpack: Callable[[bytes], bytes]
) -> None:
    tile = next((product_folder / "tileset").glob("**/*.glb"))
    part = tile.relative_to(product_folder / "tileset")
    address = f"/3dtiles/{product_folder.name}/{part}"
    for _ in range(2):  # compressed, then kept
        with client.stream("GET", address, headers={"Accept-Encoding": coding}) as response:
            raw = b"".join(response.iter_raw())
        assert response.headers["content-encoding"] == coding
        assert response.headers["vary"] == "Accept-Encoding"
        assert int(response.headers["content-length"]) == len(raw) < tile.stat().st_size
        assert unpack(raw) == tile.read_bytes()
    known = {"Accept-Encoding": coding, "If-None-Match": response.headers["etag"]}
    again = client.get(address, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert "content-encoding" not in again.headers
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert plain.headers["etag"] != response.headers["etag"]
    assert plain.content == tile.read_bytes()


def test_a_cog_is_never_compressed_again(client: TestClient, product_folder: Path) -> None:
    asked = {"Accept-Encoding": "br, gzip"}
    response = client.get(f"/products/{product_folder.name}/dsm.tif", headers=asked)
    assert "content-encoding" not in response.headers


def test_a_file_that_is_known_is_not_sent_again(client: TestClient, product_folder: Path) -> None:
    address = f"/products/{product_folder.name}/thumbnail.png"
    tag = client.get(address).headers["etag"]
    assert client.get(address, headers={"If-None-Match": f'"a", {tag}'}).status_code == 304
    assert client.get(address, headers={"If-None-Match": '"a"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/products/{key}/nothing.tif",
        "/products/{key}/",
        "/products/{key}/tileset",
        "/products/{key}/..%2Fsecret.txt",
        "/products/{key}/%2e%2e/secret.txt",
        "/products/{key}/dsm.tif%00.png",
        "/products/{key}//etc/passwd",
        "/products/{key}/link",
        "/products/../secret.txt",
        "/products/..%2F/secret.txt",
        "/products/%2E%2E/secret.txt",
        "/products/unfinished/dsm.tif",
        "/3dtiles/{key}/..%2Fdsm.tif",
        "/3dtiles/{key}/nothing.glb",
        "/3dtiles/unknown/tileset.json",
        "/viewer/../api.py",
        "/viewer/..%2Fapi.py",
        "/viewer/package.json",
        "/viewer/node_modules/cesium/package.json",
        "/viewer/cesium/..%2FCesium.js",
        "/viewer/cesium/nothing.js",
    ],
)
def test_what_is_no_file_of_a_product_is_not_found(
    client: TestClient, product_folder: Path, path: str
) -> None:
    secret = product_folder.parent / "secret.txt"
    secret.write_text("secret")
    link = product_folder / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    response = client.get(path.format(key=product_folder.name))
    link.unlink()
    assert response.status_code == 404
    assert str(product_folder.parent) not in response.text


def test_a_page_of_a_product_can_do_nothing_in_our_name(
    client: TestClient, product_folder: Path
) -> None:
    page = product_folder / "report.html"
    page.write_text("<script>alert(1)</script>")
    response = client.get(f"/products/{product_folder.name}/report.html")
    page.unlink()
    assert response.headers["content-type"].startswith("text/html")
    assert "sandbox" in response.headers["content-security-policy"]


def test_the_viewer_is_a_page_with_its_scripts(client: TestClient) -> None:
    moved = client.get("/viewer?x=1")
    assert moved.status_code == 307
    assert moved.headers["location"] == "http://maps.example/prefix/viewer/?x=1"
    page = client.get("/viewer/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    assert "content-security-policy" not in page.headers
    script = client.get("/viewer/viewer.js")
    assert script.headers["content-type"].startswith("text/javascript")
    cesium = client.get("/viewer/cesium/Cesium.js", headers={"Accept-Encoding": "br"})
    assert cesium.text == CESIUM_JS
    assert cesium.headers["content-encoding"] == "br"


def test_without_cesium_the_remedy_is_named(
    product_folder: Path, pool: ConnectionPool[Any]
) -> None:
    app = FastAPI()
    app.include_router(api.router(product_folder.parent, pool, cesium=product_folder / "none"))
    with TestClient(app) as client:
        response = client.get("/viewer/cesium/Cesium.js")
    assert response.status_code == 404
    assert "make env" in response.text


def test_what_the_item_names_is_served_as_it_says(client: TestClient, product_folder: Path) -> None:
    made = Made("city", "3D map", "1.0.0", datetime(2026, 1, 1, tzinfo=UTC))
    facts = measured(product_folder, json.loads((product_folder / "results.json").read_text()))
    item = absolute(product_item(product_folder.name, made, facts, collection="c"), "")
    for asset in item["assets"].values():
        response = client.get(asset["href"])
        assert response.status_code == 200
        assert response.headers["content-type"] == asset["type"]
        assert len(response.content) == asset["file:size"]
    west, south, east, north = item["bbox"]
    tile = MERCATOR.tile((west + east) / 2, (south + north) / 2, 17)
    place = f"17/{tile.x}/{tile.y}"
    maps = [link for link in item["links"] if link["rel"] in ("3d-tiles", "xyz")]
    assert len(maps) == 5
    for link in maps:
        response = client.get(link["href"].replace("{z}/{x}/{y}", place))
        assert (response.status_code, response.headers["content-type"]) == (200, link["type"])
