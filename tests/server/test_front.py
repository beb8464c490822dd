"""The server from outside: proxies, prefixes, keys, pages, compression, other origins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings
from workers import jobs

PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def every_href(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("href"), str):
            yield value["href"]
        for entry in value.values():
            yield from every_href(entry)
    if isinstance(value, list):
        for entry in value:
            yield from every_href(entry)


@pytest.fixture(scope="module")
def behind() -> Any:
    """A function that gives a client of a server with these settings, one for all who ask."""

    @cache
    def client(**settings: Any) -> TestClient:
        app = create_app(Settings(**settings))
        return TestClient(app, base_url="http://inside:8000", client=("10.0.0.7", 1))

    return client


@pytest.mark.parametrize(
    "path", ["/", "/processes", "/processes/echo", "/processes?limit=1", "/raster"]
)
@pytest.mark.parametrize("arrives", ["", "/geo/maps"])
def test_links_are_those_of_the_public_url(behind: Any, path: str, arrives: str) -> None:
    client = behind(public_url="https://city.example/geo/maps/")
    hrefs = list(every_href(client.get(arrives + path).json()))
    assert hrefs
    assert all(href.startswith("https://city.example/geo/maps/") for href in hrefs)


def test_a_trusted_proxy_says_where_the_server_is(behind: Any) -> None:
    forwarded = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "city.example",
        "X-Forwarded-Prefix": "/geo",
    }
    trusting = behind(trusted_proxies=("10.0.0.7",))
    assert trusting.get("/processes", headers=forwarded).json()["links"][0]["href"] == (
        "https://city.example/geo/processes"
    )
    wary = behind()
    hrefs = list(every_href(wary.get("/processes", headers=forwarded).json()))
    assert all(href.startswith("http://inside:8000/") for href in hrefs)


@pytest.mark.parametrize(
    "header",
    [
        {"X-Forwarded-Host": 'x"><script>'},
        {"X-Forwarded-Prefix": "//evil.example"},
        {"X-Forwarded-Prefix": '/a"b'},
        {"X-Forwarded-Proto": "javascript"},
    ],
)
def test_a_malformed_word_of_a_proxy_is_ignored(behind: Any, header: dict[str, str]) -> None:
    client = behind(trusted_proxies=("*",))
    for href in every_href(client.get("/processes", headers=header).json()):
        assert re.match(r"https?://(inside:8000|localhost)/(processes|jobs)", href)


def test_changes_need_the_key_and_reading_does_not(place: Settings) -> None:
    settings = place.model_copy(update={"api_key": "open sesame"})
    body = {"inputs": {"message": "x"}}
    prefer = {"Prefer": "respond-async"}
    with TestClient(create_app(settings)) as client:
        refused = client.post("/processes/echo/execution", json=body, headers=prefer)
        assert refused.status_code == 401
        assert refused.json()["type"] == "Unauthorized"
        assert refused.headers["www-authenticate"]
        wrong = {"X-API-Key": "open barley"}
        assert client.post("/processes/echo/execution", json=body, headers=wrong).status_code == 401
        assert client.delete("/jobs/some").status_code == 401
        assert client.put("/uploads/aa/x.tif", content=b"x").status_code == 401
        assert client.post("/stac/collections", json={}).status_code == 401
        assert client.get("/jobs").status_code == 200
        for key in ({"X-API-Key": "open sesame"}, {"Authorization": "Bearer open sesame"}):
            done = client.post("/processes/echo/execution", json=body, headers=prefer | key)
            assert done.status_code == 201
            assert client.delete(done.headers["location"], headers=key).status_code == 200


def test_other_pages_read_but_do_not_change(behind: Any) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    asked = origin | {"Access-Control-Request-Method": "POST"}
    asked |= {"Access-Control-Request-Headers": "content-type"}
    client = behind()
    assert client.get("/processes", headers=origin).headers["access-control-allow-origin"] == "*"
    assert client.options("/processes/echo/execution", headers=asked).status_code == 400
    keyed = behind(api_key="k")
    assert keyed.options("/processes/echo/execution", headers=asked).status_code == 200


def test_answers_are_compressed_and_say_what_they_are(behind: Any) -> None:
    client = behind()
    answer = client.get("/processes/echo", headers={"Accept-Encoding": "br"})
    assert answer.headers["content-encoding"] == "br"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/processes", "/jobs", "/collections", "/stac/", "/api"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-type"] == client.get(path).headers["content-type"]


class Links(HTMLParser):
    """Collects the links and the unclosed tags of a page."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hrefs += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_page_is_whole_and_needs_nothing_from_elsewhere(client: TestClient) -> None:
    job = client.post(
        "/processes/echo/execution",
        json={"inputs": {"message": "<script>alert(1)</script>"}},
        headers={"Prefer": "respond-async"},
    ).headers["location"]
    for path in ("/", "/conformance", "/api", "/processes", "/processes/echo", "/jobs", job, "/no"):
        answer = client.get(path, headers=PAGE)
        assert answer.headers["content-type"] == "text/html; charset=utf-8", path
        page = Links()
        page.feed(answer.text)
        assert page.open == []
        assert all(href.startswith(("http://maps.example/", "?")) for href in page.hrefs)
        assert "script-src 'none'" in answer.headers["content-security-policy"]
    client.delete(job)


def test_results_are_shown_and_never_run(client: TestClient, worker: Any) -> None:
    evil = "<script>alert(1)</script>"
    answer = client.post("/processes/echo/execution", json={"inputs": {"message": evil}})
    job = answer.headers["orograph-job"]
    shown = client.get(f"{job}/results", headers=PAGE)
    assert "<script>" not in shown.text
    assert "&lt;script&gt;" in shown.text
    assert client.get(f"{job}/results", headers={"Accept": "*/*"}).json() == {"message": evil}


def test_pages_say_what_an_input_is_called_and_why_a_job_failed(
    client: TestClient, place: Settings
) -> None:
    shown = client.get("/processes/city", headers=PAGE).text
    assert "Area of interest<br>" in shown
    assert "no, else true" in shown
    with psycopg.connect(str(place.database_url), autocommit=True) as conn:
        row = jobs.create(conn, "echo", {"inputs": {}})
        claimed = jobs.claim(conn, row.id, "test", 1)
        assert claimed
        fault = {"type": "NoRpc", "detail": "<b>left</b> has no sensor model"}
        jobs.fail(conn, row.id, claimed.fence, fault)
    assert "&lt;b&gt;left&lt;/b&gt; has no sensor model" in client.get("/jobs", headers=PAGE).text


@pytest.mark.parametrize("path", ["/raster", "/vector", "/3dtiles", "/products"])
def test_where_tiles_and_files_are_is_said(client: TestClient, path: str) -> None:
    templates = [link["href"] for link in client.get(path).json()["links"] if "templated" in link]
    url = str(client.base_url).rstrip("/")
    parts = [re.sub("{[^}]*}", "part", template.removeprefix(url)) for template in templates]
    routes = [
        re.compile(re.sub("{[^}]*}", "[^/]+", route))
        for route in client.get("/api").json()["paths"]
    ]
    assert parts
    assert [p for p in parts if not any(route.fullmatch(p) for route in routes)] == []
    assert all(template in client.get(path, headers=PAGE).text for template in templates)


def test_f_outweighs_accept(client: TestClient) -> None:
    assert client.get("/processes?f=json", headers=PAGE).json()["processes"]
    assert client.get("/processes?f=html").headers["content-type"].startswith("text/html")
    mixed = {"Accept": "text/html;q=0.5, application/json"}
    assert client.get("/processes", headers=mixed).json()
