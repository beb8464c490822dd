"""What is mounted: catalogue, tiles, products, uploads; each with links that are right."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings


def hrefs(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["href"]] if isinstance(value.get("href"), str) else []
        return own + [href for entry in value.values() for href in hrefs(entry)]
    if isinstance(value, list):
        return [href for entry in value for href in hrefs(entry)]
    return []


@pytest.mark.parametrize("path", ["/stac/", "/stac/collections", "/stac/search"])
@pytest.mark.parametrize("arrives", ["", "/geo"])
def test_links_of_the_catalogue_are_those_of_the_public_url(
    place: Settings, path: str, arrives: str
) -> None:
    settings = place.model_copy(update={"public_url": "https://city.example/geo"})
    with TestClient(create_app(settings)) as client:
        answer = client.get(arrives + path)
        assert answer.status_code == 200, answer.text
        found = [href for href in hrefs(answer.json()) if "://" in href]
        assert any(href.startswith("https://city.example/geo/stac") for href in found)
        ours = [href for href in found if "opengis" not in href and "stacspec" not in href]
        assert all(href.startswith("https://city.example/geo/") for href in ours)


def test_the_catalogue_is_searched_and_not_changed(client: TestClient) -> None:
    assert client.get("/stac").status_code == 200
    assert client.post("/stac/search", json={"limit": 1}).json()["type"] == "FeatureCollection"
    assert client.post("/stac/collections", json={"id": "mine"}).status_code == 405


def test_a_search_needs_no_key(place: Settings) -> None:
    with TestClient(create_app(place.model_copy(update={"api_key": "k"}))) as client:
        assert client.post("/stac/search", json={"limit": 1}).status_code == 200


@pytest.fixture(scope="module")
def behind(place: Settings) -> Any:
    """A client of a server below a prefix, with one product that holds a page and a text."""
    folder = place.data / "products" / "abc123"
    folder.mkdir(exist_ok=True)
    (folder / "page.html").write_text("<script>alert(1)</script>")
    (folder / "report.json").write_text("{}")
    (folder / "results.json").write_text(
        '{"page": {"href": "page.html", "type": "text/html"},'
        ' "report": {"href": "report.json", "type": "application/json"}}'
    )
    (place.data / "secret.txt").write_text("secret")
    settings = place.model_copy(update={"public_url": "https://city.example/geo"})
    with TestClient(create_app(settings), follow_redirects=False) as client:
        yield client


def test_the_viewer_is_below_the_prefix(behind: Any) -> None:
    answer = behind.get("/viewer")
    assert answer.is_redirect
    assert answer.headers["location"] == "https://city.example/geo/viewer/"


def test_a_product_is_read_below_the_prefix_and_acts_for_nobody(behind: Any) -> None:
    for path in ("/products/abc123/report.json", "/geo/products/abc123/report.json"):
        assert behind.get(path).json() == {}
    page = behind.get("/products/abc123/page.html")
    assert page.headers["content-security-policy"].startswith("sandbox")
    assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/products/abc123/../../secret.txt",
        "/products/abc123/..%2f..%2fsecret.txt",
        "/products/%2e%2e/secret.txt",
        "/products/..%2f/secret.txt",
        "/products/abc123/%2e%2e/%2e%2e/secret.txt",
        "/products/abc123/%00",
        "/3dtiles/abc123/..%2f..%2fsecret.txt",
        "/viewer/..%2f..%2f..%2fpyproject.toml",
        "/viewer/%2e%2e/%2e%2e/pyproject.toml",
        "/uploads/..%2f/secret.txt",
    ],
)
def test_nothing_outside_is_reached(behind: Any, path: str) -> None:
    answer = behind.get(path)
    assert answer.status_code in (400, 404)
    assert "secret" not in answer.text.replace("secret.txt", "")
    assert answer.json()["detail"]
