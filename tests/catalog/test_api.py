"""The catalogue over HTTP, behind a prefix, as pystac-client and a bare client see it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pystac_client
import pytest
import uvicorn
from fastapi import FastAPI

from catalog import store
from catalog.api import stac_app
from catalog.assets import measured
from catalog.items import product_item
from catalog.origins import Made, Source

MADE = Made("city", "3D map", "1.0.0", datetime(2026, 11, 21, tzinfo=UTC))
OTHERS = 25


@contextmanager
def serving(app: FastAPI, root_path: str = "") -> Iterator[str]:
    """Serve on loopback, below *root_path*; yields the address."""

    async def below(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": root_path}, receive, send)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = uvicorn.Config(below, log_level="warning", lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}{root_path}"
        finally:
            server.should_exit = True
            thread.join()


def around(stac: FastAPI) -> FastAPI:
    """An application that mounts the catalogue, as the server does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with stac.router.lifespan_context(stac):
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/stac", stac)
    return app


@pytest.fixture(scope="module")
def database_url(
    new_database: Callable[[], AbstractContextManager[str]], product_folder: Path
) -> Iterator[str]:
    facts = measured(product_folder, json.loads((product_folder / "results.json").read_text()))
    image = Source("left", "https://images.example/left.json", {"datetime": "2024-06-14T10:00:00Z"})
    key = product_folder.name
    item = product_item(key, MADE, facts, collection="orograph", sources=[image])
    with new_database() as url, psycopg.connect(url, autocommit=True) as conn:
        store.put_item(conn, item)
        for number in range(OTHERS):
            day = Source("a", None, {"datetime": f"2020-01-{number + 1:02}T00:00:00Z"})
            point = {"type": "Point", "coordinates": [100.0 + number, -20.0]}
            other = product_item(
                f"other-{number}", MADE, [], collection="elsewhere", sources=[day], geometry=point
            )
            store.put_item(conn, other)
        yield url


@pytest.fixture(scope="module")
def url(database_url: str) -> Iterator[str]:
    with serving(around(stac_app(database_url)), "/maps/3d") as address:
        yield address


@pytest.fixture(scope="module")
def catalogue(url: str) -> pystac_client.Client:
    return pystac_client.Client.open(f"{url}/stac")


def test_pystac_client_finds_a_product_by_place_and_time(
    catalogue: pystac_client.Client, product_folder: Path, url: str
) -> None:
    search = catalogue.search(bbox=[2.06, 47.75, 2.07, 47.77], datetime="2024-06-01/2024-07-01")
    (item,) = search.items()
    assert item.id == product_folder.name
    assert item.assets["dsm"].href == f"{url}/products/{item.id}/dsm.tif"
    assert item.get_single_link("3d-tiles").href == f"{url}/3dtiles/{item.id}/tileset.json"  # type: ignore[union-attr]
    assert list(catalogue.search(bbox=[3, 47, 4, 48]).items()) == []


def test_pystac_client_walks_every_page(catalogue: pystac_client.Client) -> None:
    search = catalogue.search(collections=["elsewhere"], limit=4, sortby="-properties.datetime")
    assert [item.id for item in search.items()] == [f"other-{n}" for n in reversed(range(OTHERS))]
    got = catalogue.search(collections=["elsewhere"], limit=4, method="GET")
    assert len(list(got.items())) == OTHERS


def test_properties_can_be_searched_by_cql2(catalogue: pystac_client.Client) -> None:
    text = "proj:code = 'EPSG:32631' AND gsd < 1"
    found = catalogue.search(filter=text, filter_lang="cql2-text", method="GET")
    assert len(list(found.items())) == 1


def test_the_collections_say_where_and_when_they_are(catalogue: pystac_client.Client) -> None:
    collections = {c.id: c for c in catalogue.get_collections()}
    assert set(collections) == {"orograph", "elsewhere"}
    assert collections["elsewhere"].extent.spatial.bboxes == [[100.0, -20.0, 124.0, -20.0]]
    collections["orograph"].validate()


def links_of(document: Any) -> Iterator[tuple[str, str]]:
    if isinstance(document, dict):
        if isinstance(document.get("href"), str):
            yield document.get("rel", "asset"), document["href"]
        for value in document.values():
            yield from links_of(value)
    elif isinstance(document, list):
        for value in document:
            yield from links_of(value)


def test_every_link_keeps_the_prefix_and_those_of_the_catalogue_answer(url: str) -> None:
    seen, open_ = set(), {f"{url}/stac"}
    with httpx.Client(timeout=20, follow_redirects=True) as client:
        while open_:
            address = open_.pop()
            response = client.get(address)
            seen |= {address, str(response.url)}
            assert response.status_code == 200, address
            if "html" in response.headers["content-type"]:
                continue
            for rel, href in links_of(response.json()):
                assert href.startswith((f"{url}/", "https://images.example/", "http://www.open")), (
                    rel,
                    href,
                )
                if href.startswith(f"{url}/stac") and rel != "next" and "{" not in href:
                    open_ |= {href} - seen
    assert len(seen) > 20


def test_a_proxys_word_is_not_taken_from_anybody(url: str) -> None:
    told = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https"}
    assert "evil" not in httpx.get(f"{url}/stac/collections", headers=told).text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/stac/collections"),
        ("POST", "/stac/collections/orograph/items"),
        ("PUT", "/stac/collections/orograph/items/other-1"),
        ("DELETE", "/stac/collections/elsewhere"),
        ("DELETE", "/stac/collections/elsewhere/items/other-1"),
    ],
)
def test_the_catalogue_cannot_be_changed_from_outside(url: str, method: str, path: str) -> None:
    response = httpx.request(method, url + path, json={"id": "x"})
    assert response.status_code in (404, 405)


@pytest.mark.parametrize(
    "query",
    ["bbox=1,2", "datetime=yesterday", "limit=x", "filter=a b c", "token=next:x", "ids=%00"],
)
def test_a_bad_search_is_answered_as_one(url: str, query: str) -> None:
    response = httpx.get(f"{url}/stac/search?{query}")
    assert response.status_code < 500, response.text
    assert "Traceback" not in response.text


DEEP = '{"op":"not","args":[' * 60 + '{"op":"=","args":[{"property":"id"},"x"]}' + "]}" * 60


@pytest.mark.parametrize(
    "text",
    ["(" * 4000 + "a=1" + ")" * 4000, "(" * 40, "(a=')' AND " * 30, "NOT " * 60 + "a=1", DEEP],
    ids=["endless", "open", "quoted", "denied", "json"],
)
@pytest.mark.parametrize("path", ["/stac/search", "/stac/collections"])
def test_a_filter_that_would_end_or_hold_up_the_server_is_refused(
    url: str, path: str, text: str
) -> None:
    """CQL2's parser and its check: a stack that overflows, time that doubles a bracket."""
    language = "cql2-json" if text is DEEP else "cql2-text"
    query = {"filter": text, "filter-lang": language}
    response = httpx.get(url + path, params=query, timeout=20)
    assert response.status_code == 400
    said = response.json()["description"].split(":")[0]
    assert said.endswith(("24 levels", "2000 letters", "10 brackets"))


def test_filters_people_write_are_answered(url: str) -> None:
    either = " OR ".join(f"(id = 'a{n}' AND (gsd < {n} OR gsd IN (1, 2)))" for n in range(20))
    text = f"({either}) OR NOT (platform LIKE 'it''s %' OR gsd BETWEEN 0 AND (1 + 2) * 3)"
    query = {"filter": text, "filter-lang": "cql2-text", "collections": "orograph"}
    response = httpx.get(f"{url}/stac/search", params=query, timeout=20)
    assert response.status_code == 200, response.text
    shape = {"type": "MultiPolygon", "coordinates": [[[[0, 0], [9, 0], [9, 9], [0, 0]]]]}
    inner = {"op": "s_intersects", "args": [{"property": "geometry"}, shape]}
    body = {"filter-lang": "cql2-json", "filter": {"op": "not", "args": [inner]}}
    response = httpx.post(f"{url}/stac/search", json=body, timeout=20)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("body", ['{"ids":["' + "x" * 2**20 + '"]}', f'{{"filter":{DEEP}}}'])
def test_a_search_that_is_too_large_or_too_deep_is_refused(url: str, body: str) -> None:
    sent = {"Content-Type": "application/json"}
    response = httpx.post(f"{url}/stac/search", content=body, headers=sent, timeout=20)
    assert response.status_code == 400
    assert response.json()["code"] == "BadRequest"


def test_a_new_item_is_there_at_the_next_request(url: str, database_url: str) -> None:
    address = f"{url}/stac/collections/elsewhere/items/new"
    assert httpx.get(address).status_code == 404
    point = {"type": "Point", "coordinates": [110.0, -20.0]}
    item = product_item("new", MADE, [], collection="elsewhere", geometry=point)
    with psycopg.connect(database_url, autocommit=True) as conn:
        store.put_item(conn, item)
        try:
            assert httpx.get(address).json()["id"] == "new"
        finally:
            store.delete_item(conn, "new", "elsewhere")
    assert httpx.get(address).status_code == 404


def test_without_its_database_the_catalogue_says_so() -> None:
    with serving(around(stac_app("postgresql://nobody@127.0.0.1:1/none"))) as address:
        response = httpx.get(f"{address}/stac/search")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
