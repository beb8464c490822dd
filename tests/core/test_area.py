"""What people send as an area of interest, and the polygon that it means."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from processes.core.area import Area, shape_of

RING = [[2.0, 47.0], [3.0, 47.0], [3.0, 48.0], [2.0, 48.0], [2.0, 47.0]]
SQUARE = {"type": "Polygon", "coordinates": [RING]}
FEATURE = {"type": "Feature", "properties": {}, "geometry": SQUARE}
BOX = [2.0, 47.0, 3.0, 48.0]
AREA = TypeAdapter(Area)


@pytest.mark.parametrize(
    "sent",
    [
        SQUARE,
        {"type": "MultiPolygon", "coordinates": [[RING]]},
        FEATURE,
        {"type": "FeatureCollection", "features": [FEATURE]},
        {"bbox": BOX},
        {"bbox": BOX, "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
        {"bbox": [2.0, 47.0, -10.0, 3.0, 48.0, 900.0]},
    ],
)
def test_an_area_is_a_polygon_a_feature_or_a_box(sent):
    assert shape_of(AREA.validate_python(sent)).equals(shape_of(SQUARE))


def test_features_that_lie_apart_are_one_area():
    other = [[x + 5.0, y] for x, y in RING]
    there = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [other]}}
    area = AREA.validate_python({"type": "FeatureCollection", "features": [FEATURE, there]})
    assert shape_of(area).area == pytest.approx(2.0)


@pytest.mark.parametrize(
    "sent",
    [
        BOX,
        "POLYGON ((2 47, 3 47, 3 48, 2 47))",
        {"bbox": "2,47,3,48"},
        {"bbox": [2.0, 47.0]},
        {"bbox": [True, 47.0, 3.0, 48.0]},
        {"type": "Point", "coordinates": [2.0, 47.0]},
        {"type": "Feature", "geometry": None},
        {"href": "area.geojson"},
    ],
)
def test_what_is_no_area_is_answered_with_what_is_one(sent):
    with pytest.raises(ValidationError, match=r'"bbox": \[west, south, east, north\]'):
        AREA.validate_python(sent)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"bbox": [3.0, 47.0, 2.0, 48.0]}, "each less than its opposite"),
        ({"bbox": BOX, "crs": "EPSG:32631"}, "CRS84"),
        ({"bbox": [431000, 5290000, 431100, 5290100]}, "degrees"),
        ({"type": "Polygon", "coordinates": [[RING[i] for i in (0, 2, 1, 3, 0)]]}, "crosses"),
        ({"type": "Polygon", "coordinates": "here"}, "do not form"),
        ({"type": "FeatureCollection", "features": []}, "empty"),
    ],
)
def test_an_area_that_cannot_be_says_why(sent, said):
    with pytest.raises(ValidationError, match=said):
        AREA.validate_python(sent)
