"""Images and stereo pairs: what is found in the catalogue, and which pair is the better one."""

from __future__ import annotations

import json
from math import atan, degrees
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box, mapping

from catalog import store
from catalog.search import images, pairs

AREA = mapping(box(2.0, 47.0, 2.1, 47.1))


def image(
    name: str,
    *,
    lean: float = 0.0,
    azimuth: float = 90.0,
    day: str = "2024-06-14T10:40:00Z",
    west: float = 2.0,
    **said: Any,
) -> dict[str, Any]:
    """An image that leans *lean* metres for each metre up."""
    area = box(west, 47.0, west + 0.1, 47.1)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": name,
        "collection": "images",
        "geometry": mapping(area),
        "bbox": list(area.bounds),
        "properties": {
            "datetime": day,
            "view:incidence_angle": degrees(atan(abs(lean))),
            "view:azimuth": azimuth if lean >= 0 else azimuth + 180,
            "view:sun_azimuth": 150.0,
            "view:sun_elevation": 50.0,
            "gsd": 0.5,
            **said,
        },
        "links": [],
        "assets": {"image": {"href": "a.tif", "roles": ["data"]}},
    }


def names(items: list[dict[str, Any]], **asked: Any) -> list[tuple[str, str]]:
    return [(pair.left, pair.right) for pair in pairs(items, **asked)]


def test_base_to_height_is_the_difference_of_the_leans() -> None:
    (pair,) = pairs([image("a", lean=0.2), image("b", lean=-0.15)])
    assert pair.base_to_height == pytest.approx(0.35)
    assert pair.convergence_deg == pytest.approx(degrees(atan(0.2) + atan(0.15)))
    assert (pair.overlap, pair.days, pair.sun_deg) == (1.0, 0.0, 0.0)
    assert pair.score == pytest.approx(1.0)


def test_leans_across_each_other_add_as_vectors() -> None:
    (pair,) = pairs([image("a", lean=0.3), image("b", lean=0.4, azimuth=0.0)])
    assert pair.base_to_height == pytest.approx(0.5)


def test_pairs_that_lean_too_little_or_too_much_are_none() -> None:
    assert pairs([image("a", lean=0.2), image("b", lean=0.21)]) == []
    assert pairs([image("a", lean=0.7), image("b", lean=-0.7)]) == []
    assert pairs([image("a", lean=1.2), image("b", lean=0.9)]) == []  # both beyond 40 degrees


@pytest.mark.parametrize(
    "worse",
    [
        {"day": "2024-09-14T10:40:00Z"},
        {"view:sun_azimuth": 210.0},
        {"view:sun_elevation": 25.0},
        {"gsd": 0.7},
        {"eo:cloud_cover": 40},
        {"west": 2.05},
        {"lean": 0.9},
    ],
)
def test_the_better_pair_comes_first(worse: dict[str, Any]) -> None:
    first, good = image("first", lean=0.0), image("good", lean=0.35, day="2024-06-14T10:41:00Z")
    bad = image("bad", **{"lean": 0.35, "day": "2024-06-14T10:41:00Z"} | worse)
    assert names([bad, first, good])[0] == ("first", "good")


def test_overlap_is_of_the_area_that_was_named() -> None:
    half = [image("a", lean=0.3), image("b", west=2.05)]
    (pair,) = pairs(half, area=AREA)
    assert pair.overlap == pytest.approx(0.5)
    assert names(half, area=mapping(box(2.06, 47.0, 2.08, 47.01))) == [("a", "b")]
    assert pairs(half, area=mapping(box(3, 47, 3.1, 47.1))) == []


def test_what_does_not_say_how_it_was_viewed_is_left_out() -> None:
    silent = image("silent")
    del silent["properties"]["view:incidence_angle"]
    assert names([silent, image("a", lean=0.2), image("b", lean=-0.2)]) == [("a", "b")]
    assert pairs([]) == []


@given(
    st.lists(
        st.tuples(st.floats(-0.9, 0.9), st.floats(0, 360), st.integers(1, 28)),
        min_size=2,
        max_size=6,
    )
)
def test_the_order_of_images_does_not_matter(given_: list[tuple[float, float, int]]) -> None:
    items = [
        image(str(n), lean=lean, azimuth=azimuth, day=f"2024-06-{day:02}T10:00:00Z")
        for n, (lean, azimuth, day) in enumerate(given_)
    ]
    assert pairs(items) == pairs(items[::-1])
    assert all(0 < pair.score <= 1 for pair in pairs(items))


def test_the_bundled_scene_is_a_pair(village: Path) -> None:
    items = [json.loads((village / f"{side}.json").read_text()) for side in ("left", "right")]
    (pair,) = pairs(items)
    assert 0.1 < pair.base_to_height < 0.8
    assert pair.overlap > 0.8


def test_images_are_found_by_place_and_time_and_products_are_none(database: str) -> None:
    product = image("product")
    for name in list(product["properties"]):
        if name.startswith("view:"):
            del product["properties"][name]
    with psycopg.connect(database) as conn:
        for item in (
            image("new", lean=0.2, day="2024-07-01T10:00:00Z"),
            image("old", lean=-0.2),
            image("elsewhere", west=5.0),
            product,
        ):
            store.put_item(conn, item)
        assert [item["id"] for item in images(conn, AREA)] == ["new", "old"]
        assert [item["id"] for item in images(conn, AREA, limit=1)] == ["new"]
        period = "2024-06-01T00:00:00Z/2024-06-30T00:00:00Z"
        assert [item["id"] for item in images(conn, AREA, period=period)] == ["old"]
        assert images(conn, AREA, collections=["orograph"]) == []
        assert names(images(conn, AREA), area=AREA) == [("old", "new")]
