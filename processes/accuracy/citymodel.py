"""Outlines, heights and roofs of the buildings in a CityJSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from processes.core.errors import AssetUnreadable
from processes.core.raster import Grid

if TYPE_CHECKING:
    import geopandas
    from shapely.geometry.base import BaseGeometry

Ring = NDArray[np.float64]
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


def roof_heights(
    text: str, grid: Grid, *, move: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> NDArray[np.float32]:
    """Return the height of the highest roof at each cell centre of *grid*, NaN where there is none.

    *move* is added to the model's coordinates first. Roofs are the surfaces whose semantics say
    so. The document must be in the CRS of *grid*. Raises AssetUnreadable.
    """
    heights = np.full(grid.shape, np.nan, np.float32)
    try:
        for rings in _roofs(json.loads(text), np.asarray(move)):
            _draw(heights, rings, grid)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise AssetUnreadable("product is not readable CityJSON") from None
    return heights


def _roofs(document: dict[str, Any], move: NDArray[np.float64]) -> Iterator[list[Ring]]:
    """Yield the rings of each roof surface, outer one first."""
    vertices = _vertices(document) + move
    for city_object in document["CityObjects"].values():
        for geometry in city_object.get("geometry", [])[-1:]:
            semantics = geometry["semantics"]
            kinds = [surface["type"] for surface in semantics["surfaces"]]
            for rings, kind in _surfaces(geometry["boundaries"], semantics["values"]):
                if kind is not None and kinds[kind] == "RoofSurface":
                    yield [vertices[ring] for ring in rings]


def _surfaces(boundaries: Any, values: Any) -> Iterator[tuple[list[list[int]], int | None]]:
    """Yield every surface with its semantic value, however deep the geometry nests them."""
    if isinstance(boundaries[0][0], int):
        yield boundaries, values
        return
    for index, part in enumerate(boundaries):
        yield from _surfaces(part, values[index] if isinstance(values, list) else values)


def _draw(heights: NDArray[np.float32], rings: list[Ring], grid: Grid) -> None:
    """Raise the cells under one roof surface to its plane."""
    import shapely

    outline = shapely.Polygon(rings[0][:, :2], [ring[:, :2] for ring in rings[1:]])
    if outline.area < 1e-6:
        return
    corners = rings[0]
    middle = corners.mean(axis=0)
    normal = np.linalg.svd(corners - middle)[2][2]
    if abs(normal[2]) < 1e-6:
        return
    xmin, ymin, xmax, ymax = outline.bounds
    row, col = grid.rowcol([xmin, xmax], [ymax, ymin])
    rows = slice(max(0, int(np.floor(row[0]))), max(0, int(np.ceil(row[1])) + 1))
    cols = slice(max(0, int(np.floor(col[0]))), max(0, int(np.ceil(col[1])) + 1))
    part = heights[rows, cols]
    x, y = grid.xy(*np.mgrid[rows, cols][:, : part.shape[0], : part.shape[1]])
    inside = shapely.contains_xy(shapely.make_valid(outline), x, y)
    z = middle[2] - (normal[0] * (x - middle[0]) + normal[1] * (y - middle[1])) / normal[2]
    part[inside] = np.fmax(part[inside], z[inside])


def _vertices(document: dict[str, Any]) -> NDArray[np.float64]:
    transform = document.get("transform", {"scale": [1, 1, 1], "translate": [0, 0, 0]})
    vertices = np.array(document["vertices"], float).reshape(-1, 3)
    return np.asarray(vertices * transform["scale"] + transform["translate"])


def _rows(document: dict[str, Any]) -> Iterator[tuple[BaseGeometry, float]]:
    vertices = _vertices(document)
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


def _plan(vertices: NDArray[np.float64], rings: list[list[int]]) -> BaseGeometry | None:
    """Return the union of all surfaces seen from above."""
    import shapely

    shadows = [shapely.Polygon(vertices[ring, :2]) for ring in rings if len(ring) >= 3]
    flat = [shadow for shadow in shadows if shadow.area > 1e-3]
    return shapely.union_all(shapely.make_valid(np.array(flat, object))) if flat else None
