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
