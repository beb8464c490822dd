"""Footprints in PostGIS: written in one go, read by box, property, page and reference system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import psycopg
import pytest
from pyproj import Transformer
from shapely.geometry import MultiPolygon, Point, Polygon, box, shape

from catalog import features, footprint_table
from catalog.assets import measure
from processes.core.process import GEOPARQUET

UTM = "EPSG:32631"
EAST, NORTH = 430_000.0, 5_290_000.0


def houses(count: int, *, first: int = 1, east: float = EAST) -> geopandas.GeoDataFrame:
    """Houses of 10 m by 10 m, one every 20 m eastwards; every second one has no roof height."""
    left = east + 20.0 * np.arange(count)
    return geopandas.GeoDataFrame(
        {
            "id": np.arange(first, first + count),
            "roof_m": np.where(np.arange(count) % 2, np.nan, 112.25),
            "lod": pd.array([1] * count, dtype="Int32"),
            "reason": pd.array([None if n % 2 else "no: it's 50 % \\ \t" for n in range(count)]),
        },
        geometry=[box(x, NORTH, x + 10, NORTH + 10) for x in left],
        crs=UTM,
    )


@pytest.fixture(scope="module")
def conn(
    new_database: Callable[[], AbstractContextManager[str]],
) -> Iterator[psycopg.Connection[Any]]:
    with new_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(footprint_table.SCHEMA)
        connection.execute(footprint_table.SCHEMA)  # safe to run again
        yield connection


@pytest.fixture
def village(conn: psycopg.Connection[Any]) -> Iterator[str]:
    footprint_table.put_footprints(conn, "village", houses(30))
    yield "village"
    conn.execute("DELETE FROM orograph.footprint_set")


def everything(conn: psycopg.Connection[Any], **asked: Any) -> list[dict[str, Any]]:
    found, after = [], None
    while True:
        page = features.features(conn, after=after, **asked)
        found += page.features
        if page.next_after is None:
            return found
        after = page.next_after


def test_a_feature_comes_back_as_it_was_put(conn: psycopg.Connection[Any], village: str) -> None:
    found = features.feature(conn, "village.3", srid=32631)
    assert found is not None
    assert found["id"] == "village.3"
    assert shape(found["geometry"]).equals_exact(box(EAST + 40, NORTH, EAST + 50, NORTH + 10), 2e-3)
    assert found["properties"] == {
        "id": 3, "roof_m": 112.25, "lod": 1, "reason": "no: it's 50 % \\ \t", "product": "village",
    }  # fmt: skip
    unknown = features.feature(conn, "village.4")
    assert unknown is not None
    assert unknown["properties"]["roof_m"] is None


def test_coordinates_are_longitude_and_latitude_unless_asked_otherwise(
    conn: psycopg.Connection[Any], village: str
) -> None:
    found = features.feature(conn, "village.1")
    assert found is not None
    lon, lat = found["geometry"]["coordinates"][0][0]
    corner = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True).transform(EAST, NORTH)
    assert min(Point(*corner).distance(Point(*c)) for c in found["geometry"]["coordinates"][0]) < (
        2e-8
    )
    assert 2 < lon < 3 < 47 < lat < 48


@pytest.mark.parametrize(
    "wrong", ["village.31", "village.x", "village", "", ".1", "a\x00.1", "v.-1"]
)
def test_an_unknown_id_is_no_feature(
    conn: psycopg.Connection[Any], village: str, wrong: str
) -> None:
    assert features.feature(conn, wrong) is None


def test_pages_together_hold_every_feature_once_in_order(
    conn: psycopg.Connection[Any], village: str
) -> None:
    footprint_table.put_footprints(conn, "town", houses(7))
    ids = [f["id"] for f in everything(conn, limit=5)]
    assert ids == [f"town.{n}" for n in range(1, 8)] + [f"village.{n}" for n in range(1, 31)]
    assert [f["id"] for f in features.features(conn, limit=2, offset=6).features] == ids[6:8]
    assert features.features(conn, limit=37).next_after is None


def test_a_box_finds_what_it_touches_in_any_system(
    conn: psycopg.Connection[Any], village: str
) -> None:
    second = (EAST + 15, NORTH, EAST + 35, NORTH + 5)
    found = features.features(conn, bbox=second, bbox_srid=32631)
    assert [f["id"] for f in found.features] == ["village.2"]
    assert features.count(conn, bbox=second, bbox_srid=32631) == 1
    west, south, east, north = features.summary(conn).bbox or ()
    assert features.count(conn, bbox=(west, south, east, north)) == 30
    assert features.count(conn, bbox=(-180, -90, 180, 90)) == 30
    assert features.count(conn, bbox=(170, -90, west + 1e-5, 90)) == 1  # across the date line
    assert features.count(conn, bbox=(170, -90, -170, 90)) == 0


@pytest.mark.parametrize(
    ("filters", "matched"),
    [
        ({"id": "3"}, 1),
        ({"roof_m": "112.25"}, 15),
        ({"roof_m": "null"}, 15),
        ({"lod": "1", "id": "4"}, 1),
        ({"reason": "no: it's 50 % \\ \t"}, 15),
        ({"lod": "2"}, 0),
        ({"lod": "NaN"}, 0),
        ({"lod": "'; DROP TABLE orograph.footprint; --"}, 0),
        ({"nothing": "1"}, 0),
    ],
)
def test_properties_are_matched_by_value(
    conn: psycopg.Connection[Any], village: str, filters: dict[str, str], matched: int
) -> None:
    assert features.count(conn, filters=filters) == matched
    assert len(features.features(conn, filters=filters, limit=100).features) == matched


def test_a_product_that_is_put_again_is_replaced(
    conn: psycopg.Connection[Any], village: str
) -> None:
    footprint_table.put_footprints(conn, "village", houses(4, first=100))
    assert [f["id"] for f in everything(conn)] == [f"village.{n}" for n in range(100, 104)]
    assert features.summary(conn, "village").count == 4


def test_a_transaction_that_fails_leaves_the_former_features(
    conn: psycopg.Connection[Any], village: str
) -> None:
    with conn.transaction(force_rollback=True):
        footprint_table.put_footprints(conn, "village", houses(4))
    assert features.count(conn, product="village") == 30


def test_the_summary_says_how_many_where_and_what(
    conn: psycopg.Connection[Any], village: str
) -> None:
    footprint_table.put_footprints(conn, "east", houses(2, east=EAST + 50_000))
    one, every = features.summary(conn, "village"), features.summary(conn)
    assert (one.count, every.count) == (30, 32)
    assert every.types == {
        "id": "integer", "roof_m": "number", "lod": "integer", "reason": "string",
    }  # fmt: skip
    assert one.bbox
    assert every.bbox
    assert every.bbox[:2] == one.bbox[:2]
    assert every.bbox[2] > one.bbox[2] + 0.5
    assert features.summary(conn, "nobody") == features.Summary(0, None, {})


def test_any_table_can_be_put(conn: psycopg.Connection[Any], village: str) -> None:
    triangle = Polygon([(0, 0, 5), (10, 0, 5), (0, 10, 5)])
    frame = geopandas.GeoDataFrame(
        {
            "id": ["a", "a", "b"],
            "when": pd.to_datetime(["2024-06-14T10:00:00Z", None, None]),
            "list": [[1, 2], None, {"x": 1}],
            "zero": ["a\x00b", "line\nbreak", "é"],
            7: [1.5, np.inf, np.nan],
        },
        geometry=[MultiPolygon([triangle]), Polygon(), triangle],
        crs="EPSG:4326",
    )
    assert footprint_table.put_footprints(conn, "odd", frame) == 2
    first, last = (f["properties"] for f in everything(conn, product="odd"))
    assert first == {
        "id": "a", "when": "2024-06-14T10:00:00.000Z", "list": "[1, 2]", "zero": "ab", "7": 1.5,
        "product": "odd",
    }  # fmt: skip
    assert (last["zero"], last["7"], last["when"]) == ("é", None, None)


def test_a_product_without_footprints_is_known_to_have_none(
    conn: psycopg.Connection[Any], village: str
) -> None:
    assert footprint_table.put_footprints(conn, "village", houses(0)) == 0
    assert features.count(conn, product="village") == 0


def test_a_page_far_into_ten_thousand_does_not_count_through(
    conn: psycopg.Connection[Any], village: str
) -> None:
    footprint_table.put_footprints(conn, "city", houses(10_000))
    conn.execute("ANALYZE orograph.footprint")
    conn.commit()
    page = features.features(conn, after="city.9000", limit=10)
    assert [f["id"] for f in page.features] == [f"city.{n}" for n in range(9001, 9011)]
    read = conn.execute(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables "
        "WHERE relid = 'orograph.footprint'::regclass"
    ).fetchone()
    assert read is not None
    assert read[0] < 5_000


# -- ids that outlive products


def rebuilt(count: int, *, moved_m: float, **given: Any) -> geopandas.GeoDataFrame:
    """The same houses as another run draws them, last one first."""
    frame = houses(count, **given)
    frame = frame.set_geometry(frame.geometry.translate(moved_m, -moved_m))
    return frame.iloc[::-1].reset_index(drop=True).assign(id=np.arange(1, count + 1))


def building_ids(conn: psycopg.Connection[Any], product: str) -> list[str]:
    """Return the ids of a product's buildings from west to east."""
    found = everything(conn, product=product)
    found.sort(key=lambda f: f["geometry"]["coordinates"][0][0][0])
    return [f["properties"]["building_id"] for f in found]


def test_a_rerun_keeps_the_ids_of_buildings(conn: psycopg.Connection[Any], village: str) -> None:
    footprint_table.put_footprints(conn, "first", houses(8), collection="a")
    first = building_ids(conn, "first")
    assert len(set(first)) == 8
    footprint_table.put_footprints(conn, "second", rebuilt(9, moved_m=0.7), collection="a")
    second = building_ids(conn, "second")
    assert second[:8] == first
    assert second[8] not in first
    footprint_table.put_footprints(conn, "third", rebuilt(9, moved_m=-0.7), collection="a")
    assert building_ids(conn, "third") == second
    footprint_table.put_footprints(conn, "third", rebuilt(9, moved_m=-0.7), collection="a")
    assert building_ids(conn, "third") == second, "a product put again is not its own rival"


def test_other_collections_name_their_own(conn: psycopg.Connection[Any], village: str) -> None:
    footprint_table.put_footprints(conn, "first", houses(3), collection="a")
    footprint_table.put_footprints(conn, "other", rebuilt(3, moved_m=1.5), collection="b")
    assert set(building_ids(conn, "first")).isdisjoint(building_ids(conn, "other"))


def test_texts_of_the_footprints_are_the_first_ids(
    conn: psycopg.Connection[Any], village: str
) -> None:
    named = houses(3).assign(id=pd.array(["b1", "b2", "b3"], dtype="string"))
    footprint_table.put_footprints(conn, "first", named, collection="a")
    assert building_ids(conn, "first") == ["b1", "b2", "b3"]
    elsewhere = houses(3, east=EAST + 5000).assign(id=["b1", "b2", "b9"])
    footprint_table.put_footprints(conn, "far", elsewhere, collection="a")
    assert building_ids(conn, "far") == ["b1-2", "b2-2", "b9"]


def test_a_building_is_found_by_its_lasting_id(conn: psycopg.Connection[Any], village: str) -> None:
    footprint_table.put_footprints(conn, "first", houses(4), collection="a")
    footprint_table.put_footprints(conn, "second", rebuilt(4, moved_m=0.4), collection="a")
    one = building_ids(conn, "first")[2]
    assert features.summary(conn, "first").types["building_id"] == "string"
    found = everything(conn, filters={"building_id": one})
    assert [f["id"] for f in found] == ["first.3", "second.2"]
    index = conn.execute(
        "SELECT count(*) FROM orograph.footprint WHERE building_id = %s", [one]
    ).fetchone()
    assert index == (2,)


@pytest.mark.parametrize("where", [np.inf, np.nan, 1e300])
def test_an_outline_that_lies_nowhere_is_no_feature_and_bounds_nothing(
    conn: psycopg.Connection[Any], tmp_path: Path, where: float
) -> None:
    """One among a hundred thousand would end the job that publishes them, or every list of them."""
    house = box(431000, 5290000, 431010, 5290010)
    with np.errstate(invalid="ignore"):
        lost = Polygon([(431000, 5290000), (where, 5290000), (431000, 5290010)])
        frame = geopandas.GeoDataFrame({"id": [1, 2]}, geometry=[house, lost], crs=32631)
        frame.to_parquet(tmp_path / "houses.parquet")
        assert footprint_table.put_footprints(conn, "lost", frame) == 1
    around = features.summary(conn, "lost").bbox
    assert around == pytest.approx(
        geopandas.GeoSeries([house], crs=32631).to_crs(4326).total_bounds
    )
    hull = measure("footprints", tmp_path, "houses.parquet", GEOPARQUET).footprint
    assert hull is not None
    assert shape(hull).bounds == pytest.approx(around, abs=1e-6)
