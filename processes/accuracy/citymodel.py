"""Outlines and heights of the buildings in a CityJSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from processes.core.errors import AssetUnreadable

if TYPE_CHECKING:
    import geopandas
    from shapely.geometry.base import BaseGeometry

HEIGHTS = ("height_m", "measuredHeight")


def outlines_of(text: str) -> geopandas.GeoDataFrame:
    """Return one row a building: its ground plan and its height above ground.

    The height is the attribute where there is one, else highest minus lowest vertex. Raises
    AssetUnreadable.
    """
    import geopandas

    try:
        document = json.loads(text)
        rows = list(_rows(document))
        reference = document.get("metadata", {}).get("referenceSystem", "")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise AssetUnreadable("product is not readable CityJSON") from None
    crs = f"EPSG:{reference.rstrip('/').rsplit('/', 1)[-1]}" if reference else None
    columns = {"height_m": [height for _, height in rows]}
    return geopandas.GeoDataFrame(columns, geometry=[plan for plan, _ in rows], crs=crs)


def _rows(document: dict[str, Any]) -> Iterator[tuple[BaseGeometry, float]]:
    transform = document.get("transform", {"scale": [1, 1, 1], "translate": [0, 0, 0]})
    vertices = np.array(document["vertices"], float).reshape(-1, 3)
    vertices = vertices * transform["scale"] + transform["translate"]
    for city_object in document["CityObjects"].values():
        if city_object["type"] not in ("Building", "BuildingPart"):
            continue
        for geometry in city_object.get("geometry", [])[-1:]:
            rings = list(_outer_rings(geometry["boundaries"]))
            plan = _plan(vertices, rings)
            if plan is None:
                continue
            attributes = city_object.get("attributes", {})
            known = [attributes[name] for name in HEIGHTS if attributes.get(name) is not None]
            z = vertices[np.concatenate(rings), 2]
            yield plan, float(known[0]) if known else float(z.max() - z.min())


def _outer_rings(boundaries: Any) -> Iterator[list[int]]:
    """Yield the outer ring of every surface, however deep the geometry nests them."""
    if isinstance(boundaries[0][0], int):
        yield boundaries[0]
        return
    for part in boundaries:
        yield from _outer_rings(part)


def _plan(vertices: np.ndarray[Any, Any], rings: list[list[int]]) -> BaseGeometry | None:
    """Return the union of all surfaces seen from above."""
    import shapely

    shadows = [shapely.Polygon(vertices[ring, :2]) for ring in rings if len(ring) >= 3]
    flat = [shadow for shadow in shadows if shadow.area > 1e-3]
    return shapely.union_all(shapely.make_valid(np.array(flat, object))) if flat else None
