"""Areas of interest: what people send as one, and the polygon in degrees that it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

WANTED = 'give a GeoJSON Polygon or MultiPolygon, or {"bbox": [west, south, east, north]}'
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
POLYGONS = ("Polygon", "MultiPolygon")


def polygon(value: Any) -> dict[str, Any]:
    """Return an area as a GeoJSON Polygon or MultiPolygon in degrees.

    It comes as one, as a Feature or FeatureCollection of them, or as OGC's `{"bbox": […]}`. Raises
    ValueError, which says what to give.
    """
    found = _geometry(value)
    area = shape_of(found)
    if area.is_empty or not area.is_valid or area.area == 0.0:
        raise ValueError("the polygon is empty or crosses itself: draw it anew")
    xmin, ymin, xmax, ymax = area.bounds
    if xmin < -180.0 or xmax > 180.0 or ymin < -90.0 or ymax > 90.0:
        raise ValueError(
            "coordinates must be degrees, longitude before latitude: transform it to WGS84"
        )
    return found


Area = Annotated[
    dict[str, Any],
    BeforeValidator(polygon),
    WithJsonSchema(
        {
            "oneOf": [
                {
                    "type": "object",
                    "format": "geojson-geometry",
                    "required": ["type", "coordinates"],
                    "properties": {
                        "type": {"type": "string", "enum": list(POLYGONS)},
                        "coordinates": {"type": "array", "items": {}},
                    },
                },
                {
                    "type": "object",
                    "format": "ogc-bbox",
                    "required": ["bbox"],
                    "properties": {
                        "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4},
                        "crs": {"type": "string", "default": CRS84},
                    },
                },
            ]
        }
    ),
]
"""An input that is an area: whatever of it was sent, a process sees a polygon."""


def shape_of(area: Mapping[str, Any]) -> BaseGeometry:
    """Return a GeoJSON geometry as one that can be computed with. Raises ValueError."""
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        return shape(area)
    except (ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise ValueError("its coordinates do not form a polygon") from None


def _geometry(value: Any) -> dict[str, Any]:
    """Return what was sent as a Polygon or MultiPolygon, its coordinates not yet looked at."""
    from shapely import unary_union
    from shapely.geometry import mapping

    if not isinstance(value, Mapping):
        raise ValueError(WANTED)
    kind = value.get("type")
    if kind in POLYGONS:
        return dict(value)
    if kind == "Feature":
        return _geometry(value.get("geometry"))
    if kind == "FeatureCollection" and isinstance(value.get("features"), list):
        return dict(mapping(unary_union([shape_of(_geometry(f)) for f in value["features"]])))
    if kind is None and "bbox" in value:
        if not str(value.get("crs", "CRS84")).endswith(("CRS84", "CRS84h")):
            raise ValueError("give its bbox in CRS84: degrees, longitude before latitude")
        return _box(value["bbox"])
    raise ValueError(WANTED)


def _box(corners: Any) -> dict[str, Any]:
    """Return the rectangle between two corners; heights between them count for nothing."""
    if not isinstance(corners, list) or len(corners) not in (4, 6):
        raise ValueError(WANTED)
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in corners):
        raise ValueError(WANTED)
    half = len(corners) // 2
    (west, south), (east, north) = corners[:2], corners[half : half + 2]
    if not (west < east and south < north):
        raise ValueError("bbox must be [west, south, east, north], each less than its opposite")
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
