"""Deleting a product over HTTP: with the key, whole, and nothing but a product."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

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
        assert product.is_dir()
        answer = client.delete(f"/products/{KEY}", headers={"X-API-Key": "secret"})
        assert answer.status_code == 204
