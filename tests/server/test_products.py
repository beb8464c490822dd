"""Deleting a product over HTTP: with the key, whole, and nothing but a product."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import psycopg
import pytest
from starlette.testclient import TestClient

from catalog.assets import measured
from catalog.items import product_item
from catalog.origins import Made, Source
from catalog.store import put_item
from server.app import create_app
from server.settings import Settings

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def product(products):
    folder = products / KEY
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text("{}")
    (folder / "report.json").write_text("{}")
    return folder


def test_a_deleted_product_is_gone(client, product):
    assert client.get(f"/products/{KEY}/report.json").status_code == 200
    answer = client.delete(f"/products/{KEY}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert not product.exists()
    assert client.get(f"/products/{KEY}/report.json").status_code == 404
    assert client.delete(f"/products/{KEY}").status_code == 404


def test_a_product_leads_to_its_description(client, product, product_folder, products, place):
    def leads(key):
        answer = client.get(f"/products/{key}", follow_redirects=False)
        return answer.status_code, answer.headers.get("location")

    assert leads(KEY) == (303, f"http://maps.example/products/{KEY}/results.json")
    assert leads("f" * 32) == (404, None)
    facts = measured(product_folder, json.loads((product_folder / "results.json").read_text()))
    made = Made("city", "3D map", "1.0.0", datetime(2026, 11, 21, tzinfo=UTC))
    image = Source("left", None, {"datetime": "2024-06-14T10:00:00Z"})
    with psycopg.connect(str(place.database_url), autocommit=True) as conn:
        put_item(conn, product_item(KEY, made, facts, collection="mine", sources=[image]))
    item = f"http://maps.example/stac/collections/mine/items/{KEY}"
    assert leads(KEY) == (303, item)
    assert client.get(item).json()["id"] == KEY
    assert client.delete(f"/stac/collections/other/items/{KEY}").status_code == 404
    assert client.delete(item).status_code == 204
    assert client.get(item).status_code == 404
    assert client.delete(item).status_code == 404
    assert not product.exists()


@pytest.mark.parametrize("key", ["..", "%2e%2e", "..%2fuploads", "A" * 32, f"{KEY}0" * 3, "x.y"])
def test_nothing_else_can_be_deleted(client, product, place, key):
    (place.data / "uploads/kept").mkdir(exist_ok=True)
    assert client.delete(f"/products/{key}").status_code in (404, 405)
    assert (place.data / "uploads/kept").is_dir()
    assert product.is_dir()
    client.delete(f"/products/{KEY}")


def test_deleting_needs_the_key_where_one_is_set(place: Settings, product):
    guarded = place.model_copy(update={"api_key": "secret"})
    with TestClient(create_app(guarded)) as client:
        assert client.delete(f"/products/{KEY}").status_code == 401
        assert client.delete(f"/stac/collections/orograph/items/{KEY}").status_code == 401
        assert product.is_dir()
        answer = client.delete(f"/products/{KEY}", headers={"X-API-Key": "secret"})
        assert answer.status_code == 204
