"""Items in pgstac: put in the caller's transaction, once or again, in a collection that grows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

from catalog import store
from catalog.addresses import ROOT
from processes.core.errors import InvalidInput


def item(
    name: str, *, lon: float = 2.0, day: str = "2024-06-14", collection: str = "orograph"
) -> dict[str, Any]:
    ring = [[lon, 47.0], [lon + 1, 47.0], [lon + 1, 48.0], [lon, 48.0], [lon, 47.0]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [lon, 47.0, lon + 1, 48.0],
        "properties": {"datetime": f"{day}T10:00:00Z", "title": "é 'quoted'"},
        "links": [{"rel": "derived_from", "href": "https://images.example/left.json"}],
        "assets": {"dsm": {"href": f"{ROOT}/products/{name}/dsm.tif", "roles": ["data"]}},
    }


@pytest.fixture(scope="module")
def url(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with new_database() as name:
        yield name


@pytest.fixture
def conn(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM pgstac.items")
        connection.execute("DELETE FROM pgstac.collections")


def extent(conn: psycopg.Connection[Any], collection: str = "orograph") -> tuple[Any, Any]:
    (content,) = conn.execute("SELECT pgstac.get_collection(%s)", [collection]).fetchone() or ()
    found = content["extent"]
    return found["spatial"]["bbox"], found["temporal"]["interval"]


def test_an_item_comes_back_as_it_was_put(conn: psycopg.Connection[Any]) -> None:
    store.put_item(conn, item("a"))
    assert store.get_item(conn, "a") == item("a")
    assert store.get_item(conn, "a", "orograph") == item("a")
    assert store.get_item(conn, "a", "elsewhere") is None
    assert store.get_item(conn, "b") is None


def test_putting_again_replaces(conn: psycopg.Connection[Any]) -> None:
    store.put_item(conn, item("a"))
    store.put_item(conn, item("a"))
    changed = item("a", day="2025-01-01")
    store.put_item(conn, changed)
    assert store.get_item(conn, "a") == changed
    assert conn.execute("SELECT count(*) FROM pgstac.items").fetchone() == (1,)


def test_several_items_go_in_one_transaction_or_none(conn: psycopg.Connection[Any]) -> None:
    with conn.transaction():
        store.put_item(conn, item("a"))
        store.put_item(conn, item("b"))
    with conn.transaction(force_rollback=True):
        store.put_item(conn, item("c"))
    assert store.get_item(conn, "b")
    assert store.get_item(conn, "c") is None


def test_a_deleted_item_is_gone(conn: psycopg.Connection[Any]) -> None:
    store.put_item(conn, item("a"))
    assert not store.delete_item(conn, "a", "elsewhere")
    assert store.delete_item(conn, "a", "orograph")
    assert not store.delete_item(conn, "a", "orograph")
    assert store.get_item(conn, "a") is None


def test_a_collection_grows_to_its_items(conn: psycopg.Connection[Any]) -> None:
    store.put_item(conn, item("a"))
    day = "2024-06-14T10:00:00Z"
    assert extent(conn) == ([[2.0, 47.0, 3.0, 48.0]], [[day, day]])
    store.put_item(conn, item("b", lon=5.0, day="2023-01-01"))
    store.put_item(conn, item("a"))
    assert extent(conn) == ([[2.0, 47.0, 6.0, 48.0]], [["2023-01-01T10:00:00Z", day]])


def test_dates_are_compared_as_moments() -> None:
    early, late = item("a"), item("b")
    early["properties"]["datetime"] = "2024-06-14T10:00:00.500000Z"
    late["properties"]["datetime"] = "2024-06-14T12:00:00+01:00"
    whole = store.grown(store.grown(None, late), early)
    assert whole["temporal"]["interval"] == [
        ["2024-06-14T10:00:00.500000Z", "2024-06-14T12:00:00+01:00"]
    ]


def test_a_collection_that_was_asked_for_is_made(conn: psycopg.Connection[Any]) -> None:
    store.put_item(conn, item("a", collection="paris-2024.v1"))
    store.put_item(conn, item("a"))
    assert store.get_item(conn, "a", "paris-2024.v1") == item("a", collection="paris-2024.v1")
    assert extent(conn, "paris-2024.v1")[0] == [[2.0, 47.0, 3.0, 48.0]]


@pytest.mark.parametrize("wrong", ["", "a b", "../x", "a/b", "é", "x" * 65, ".hidden", "a\x00"])
def test_a_collection_no_address_can_hold_is_refused(
    conn: psycopg.Connection[Any], wrong: str
) -> None:
    with pytest.raises(InvalidInput, match="collection"):
        store.ensure_collection(conn, wrong)


def test_two_workers_may_publish_at_once(url: str, conn: psycopg.Connection[Any]) -> None:
    faults: list[BaseException] = []
    start = threading.Barrier(4)

    def publish(number: int) -> None:
        try:
            with psycopg.connect(url) as own:
                start.wait()
                for day in range(1, 6):
                    name, date = f"{number}-{day}", f"20{20 + number}-01-{day:02}"
                    store.put_item(own, item(name, day=date, lon=float(number)))
                    own.commit()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=publish, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert conn.execute("SELECT count(*) FROM pgstac.items").fetchone() == (20,)
    assert extent(conn) == (
        [[0.0, 47.0, 4.0, 48.0]],
        [["2020-01-01T10:00:00Z", "2023-01-05T10:00:00Z"]],
    )
