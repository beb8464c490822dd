"""Footprints as OGC API – Features: there at once, in every reference system, in pages."""

from __future__ import annotations

import re
from typing import Any

import geopandas
import psycopg
import pytest
from starlette.testclient import TestClient

from catalog.footprint_table import put_footprints
from server.settings import Settings

ITEMS = "/collections/footprints/items"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
PAGE = {"Accept": "text/html"}


def square(x: float, y: float, side: float = 0.0001) -> str:
    east, north = x + side, y + side
    return f"POLYGON (({x} {y}, {east} {y}, {east} {north}, {x} {north}, {x} {y}))"


@pytest.fixture(scope="module")
def houses(place: Settings, client: TestClient) -> TestClient:
    """A server with 25 houses near Orléans in one product and one in Lima in another."""
    near = geopandas.GeoSeries.from_wkt([square(2.0 + 0.001 * i, 47.9) for i in range(25)])
    frame = geopandas.GeoDataFrame(
        {"height_m": [3.0 + i for i in range(25)], "roof": ["flat", "gable"] * 12 + ["flat"]},
        geometry=near,
        crs=4326,
    )
    far = geopandas.GeoSeries.from_wkt([square(-77.0, -12.0)])
    lima = geopandas.GeoDataFrame({"height_m": [9.0]}, geometry=far, crs=4326)
    with psycopg.connect(str(place.database_url)) as conn:
        put_footprints(conn, "orleans", frame)
        put_footprints(conn, "lima", lima)
    return client


def test_the_collection_says_where_it_is_and_in_which_systems(houses: TestClient) -> None:
    listed = houses.get("/collections").json()["collections"]
    collection = houses.get("/collections/footprints").json()
    assert [entry["id"] for entry in listed] == ["footprints"]
    assert collection["extent"]["spatial"]["bbox"][0] == pytest.approx([-77, -12, 2.0241, 47.9001])
    assert collection["storageCrs"] == CRS84
    assert {CRS84, EPSG + "4326", EPSG + "32631", EPSG + "32718"} <= set(collection["crs"])
    assert collection["itemType"] == "feature"
    for link in collection["links"]:
        assert link["href"].startswith("http://maps.example")


def test_every_link_of_a_collection_leads_somewhere(houses: TestClient) -> None:
    for path in ("/collections", "/collections/footprints", ITEMS, ITEMS + "/lima.1"):
        for link in houses.get(path).json()["links"]:
            if "viewer" not in link["href"]:
                assert houses.get(link["href"]).status_code == 200, link


def test_features_are_geojson(houses: TestClient) -> None:
    answer = houses.get(ITEMS, params={"product": "orleans", "limit": 100})
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.headers["content-crs"] == f"<{CRS84}>"
    found = answer.json()
    assert found["type"] == "FeatureCollection"
    assert found["numberMatched"] == found["numberReturned"] == len(found["features"]) == 25
    assert found["timeStamp"]
    first = found["features"][0]
    assert first["id"] == "orleans.1"
    assert first["properties"] == {"height_m": 3.0, "roof": "flat", "product": "orleans"}
    assert first["geometry"]["coordinates"][0][0] == [2.0, 47.9]


def test_a_new_footprint_is_there_at_once(houses: TestClient, place: Settings) -> None:
    before = houses.get(ITEMS, params={"resulttype": "hits"}).json()
    assert before["features"] == []
    shape = geopandas.GeoSeries.from_wkt([square(151.2, -33.9)])
    frame = geopandas.GeoDataFrame({"storeys": [12]}, geometry=shape, crs=4326)
    with psycopg.connect(str(place.database_url)) as conn:
        put_footprints(conn, "sydney", frame)
    after = houses.get(ITEMS, params={"resulttype": "hits"}).json()
    assert after["numberMatched"] == before["numberMatched"] + 1
    assert houses.get(ITEMS, params={"storeys": "12"}).json()["numberMatched"] == 1
    collection = houses.get("/collections/footprints").json()
    assert collection["extent"]["spatial"]["bbox"][0][2] == pytest.approx(151.2001)
    with psycopg.connect(str(place.database_url)) as conn:
        conn.execute("DELETE FROM orograph.footprint_set WHERE product = 'sydney'")


def test_pages_follow_each_other(houses: TestClient) -> None:
    seen: list[str] = []
    url: str | None = f"{ITEMS}?limit=10&product=orleans"
    while url:
        page = houses.get(url).json()
        seen += [feature["id"] for feature in page["features"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert seen == [f"orleans.{number}" for number in range(1, 26)]


@pytest.mark.parametrize(
    ("query", "matched"),
    [
        ({"bbox": "2.0,47.8,2.0045,48"}, 5),
        ({"bbox": "2.0,47.8,0,2.0045,48,100"}, 5),
        ({"bbox": "47.8,2.0,48,2.0045", "bbox-crs": EPSG + "4326"}, 5),
        ({"bbox": "425000,5300000,426000,5310000", "bbox-crs": EPSG + "32631"}, 10),
        ({"bbox": "170,-20,-70,0"}, 1),
        ({"bbox": "10,10,11,11"}, 0),
        ({"roof": "gable"}, 12),
        ({"roof": "gable", "product": "lima"}, 0),
        ({"height_m": "9"}, 2),
        ({"product": "nothing' OR true --"}, 0),
        ({"datetime": "2024-01-01/.."}, 26),
    ],
)
def test_features_are_found(houses: TestClient, query: dict[str, str], matched: int) -> None:
    answer = houses.get(ITEMS, params=query | {"limit": "100"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["numberMatched"] == len(answer.json()["features"])
    if "32631" not in str(query):
        assert answer.json()["numberMatched"] == matched
    else:
        assert 0 < answer.json()["numberMatched"] < 26


def test_coordinates_follow_the_reference_system(houses: TestClient) -> None:
    def corner(crs: str) -> Any:
        for path in (f"{ITEMS}/orleans.1", f"{ITEMS}?product=orleans&limit=1"):
            answer = (
                houses.get(path, params={"crs": crs})
                if "?" not in path
                else houses.get(f"{path}&crs={crs}")
            )
            assert answer.headers["content-crs"] == f"<{crs}>"
            body = answer.json()
            feature = body if body["type"] == "Feature" else body["features"][0]
        return feature["geometry"]["coordinates"][0][0]

    assert corner(CRS84) == [2.0, 47.9]
    assert corner(EPSG + "4326") == [47.9, 2.0]
    assert corner(EPSG + "32631") == pytest.approx([425248.6, 5305657.0], abs=5000)
    assert corner(EPSG + "3857") == pytest.approx([222638.98, 6088560], abs=5000)


def test_less_is_given_where_less_is_asked(houses: TestClient) -> None:
    query = {"properties": "roof", "skipGeometry": "true", "limit": "1", "product": "orleans"}
    (feature,) = houses.get(ITEMS, params=query).json()["features"]
    assert feature["properties"] == {"roof": "flat"}
    assert feature["geometry"] is None


@pytest.mark.parametrize(
    "query",
    [
        "surprise=1",
        "bbox=1,2,3",
        "bbox=a,b,c,d",
        "bbox=nan,1,2,3",
        "bbox=1e999,1,2,3",
        "bbox=1,2,3,4&bbox-crs=http://www.opengis.net/def/crs/EPSG/0/2056",
        "bbox=1e300,1e300,1e301,1e301&bbox-crs=http://www.opengis.net/def/crs/EPSG/0/32631",
        "crs=EPSG:4326",
        "crs=http://www.opengis.net/def/crs/EPSG/0/2056",
        "limit=0",
        "limit=-1",
        "limit=ten",
        "limit=99999999999999999999",
        "offset=-1",
        "offset=x",
        "datetime=yesterday",
        "resulttype=some",
        "skipGeometry=maybe",
        "properties=nothing",
        "product=%00",
        "f=xml",
        "filter=height_m%20%3E%203",
    ],
)
def test_a_bad_parameter_is_refused(houses: TestClient, query: str) -> None:
    answer = houses.get(f"{ITEMS}?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/collections/nothing",
        "/collections/nothing/items",
        "/collections/nothing/queryables",
        "/collections/nothing/schema",
        ITEMS + "/orleans.999",
        ITEMS + "/nonsense",
        ITEMS + "/orleans.1e3",
        ITEMS + "/%00.1",
    ],
)
def test_what_is_not_there_is_not_found(houses: TestClient, path: str) -> None:
    answer = houses.get(path)
    assert answer.status_code == 404, answer.text
    assert answer.json()["status"] == 404


def test_queryables_and_schema_know_the_properties(houses: TestClient) -> None:
    for part in ("queryables", "schema"):
        answer = houses.get(f"/collections/footprints/{part}")
        assert answer.headers["content-type"] == "application/schema+json"
        properties = answer.json()["properties"]
        assert properties["height_m"]["type"] == "number"
        assert properties["product"]["type"] == "string"


def test_an_empty_catalogue_has_a_collection_all_the_same(new_database: Any, broker: str) -> None:
    from server.app import create_app

    with new_database() as url, TestClient(create_app(Settings(database_url=url))) as client:
        assert client.get("/collections/footprints").json()["extent"]["spatial"]["bbox"]
        assert client.get(ITEMS).json()["numberMatched"] == 0
        assert client.get(ITEMS, headers=PAGE).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/collections",
        "/collections/footprints",
        "/collections/footprints/queryables",
        "/collections/footprints/schema",
        ITEMS,
        ITEMS + "/orleans.1",
    ],
)
def test_pages_show_the_outlines_and_load_nothing(houses: TestClient, path: str) -> None:
    answer = houses.get(path, headers=PAGE)
    assert answer.headers["content-type"].startswith("text/html")
    assert "unpkg" not in answer.text
    assert "<script" not in answer.text
    assert ("<svg" in answer.text) == path.startswith(ITEMS)
    assert "http://maps.example/collections" in answer.text


@pytest.mark.parametrize("path", [ITEMS, ITEMS + "/orleans.1"])
def test_links_of_pages_of_features_lead_somewhere(houses: TestClient, path: str) -> None:
    links = re.findall(r'href="([^"]*)"', houses.get(path, headers=PAGE).text)
    known = ("http://maps.example/", "?", "data:")
    assert [link for link in links if not link.startswith(known)] == []


def test_pages_lead_back_to_whatever_name_the_server_was_asked_by(houses: TestClient) -> None:
    for name in ("one.example", "other.example"):
        page = houses.get(ITEMS, headers={**PAGE, "Host": name}).text
        assert f'href="http://{name}/processes"' in page
        assert not [link for link in re.findall(r'href="([^"]*)"', page) if "maps.example" in link]
