"""Buildings as a 3D Tiles 1.1 tileset: a quadtree, the largest buildings nearest its root.

Each tile holds its largest buildings itself and hands the rest to four children, which add to
it (`refine: ADD`). The error of a tile that is shown without its children is then exactly the
size of the largest building that is missing, and that is what `geometricError` says. So a city
from afar shows its landmarks first, and no building is stored twice.

Bounding volumes are regions: radians and heights above the WGS84 ellipsoid. Positions are in the
east-north-up frame at the middle of all buildings, taken through geocentric coordinates, so
there is no flat-earth error at any size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.core.building import BuildingModel
from processes.core.errors import UnknownCrs
from tiles import metadata
from tiles.glb import Mesh, glb
from tiles.mesh import KINDS, face_sizes, faces, normals, runs, starts, triangulate

MOST_IN_A_TILE = 1000
MARGIN_M = 0.02
"""Added around every region: 16-bit positions may lie half a step outside."""
A_M, F = 6378137.0, 1 / 298.257223563
E2 = F * (2 - F)

NOTHING: dict[str, Any] = {
    "boundingVolume": {"region": [-np.pi, -np.pi / 2, np.pi, np.pi / 2, 0.0, 0.0]},
    "geometricError": 0.0,
    "refine": "ADD",
}
"""The root of a tileset without buildings: somewhere on the globe there is nothing."""
PITCHED_SRGB, FLAT_SRGB = (176, 96, 74), (158, 158, 162)
SURFACE_SRGB = {"GroundSurface": (112, 108, 104), "WallSurface": (224, 216, 202)}


def write(
    models: Sequence[BuildingModel], crs: str, folder: Path, *, most: int = MOST_IN_A_TILE
) -> Path:
    """Write tileset.json and a GLB for each tile into *folder*; return the tileset's path.

    *crs* is that of x and y; heights are above the WGS84 ellipsoid. At most *most* buildings
    go in one tile. The same models give the same bytes. Raises UnknownCrs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scene = _scene([model for model in models if model.solids], crs)
    root = _tile(scene, _largest_first(scene), "r", folder, most) if scene.models else NOTHING
    document = {
        "asset": {"version": "1.1", "generator": "Orograph"},
        "geometricError": float(scene.size_m.max(initial=0.0)),
        "root": root | ({"transform": scene.frame.T.ravel().tolist()} if scene.models else {}),
    }
    path = folder / "tileset.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


@dataclass(frozen=True)
class _Scene:
    """All buildings with their triangles; runs of corners and triangles, one a building."""

    models: list[BuildingModel]
    properties: list[metadata.Property]
    positions: NDArray[np.float64]
    """Of every corner: metres east, up and south of the middle of the scene."""
    normals: NDArray[np.float64]
    colours: NDArray[np.uint8]
    triangles: NDArray[np.int64]
    first_corner: NDArray[np.int64]
    first_triangle: NDArray[np.int64]
    low: NDArray[np.float64]
    """(n, 3) least longitude and latitude (radians) and height of each building, with a margin."""
    high: NDArray[np.float64]
    size_m: NDArray[np.float64]
    """Longest diagonal of each building."""
    frame: NDArray[np.float64]
    """(4, 4) from metres east, north and up to geocentric coordinates."""


def _scene(models: list[BuildingModel], crs: str) -> _Scene:
    table = faces(models)
    first = starts(table.model_vertices)[:-1]
    globe = np.column_stack([_lonlat(table.vertices, crs), table.vertices[:, 2]])
    low, high = _ranges(globe, first)
    plan_low, plan_high = _ranges(table.vertices, first)
    frame = _east_north_up((low.min(axis=0) + high.max(axis=0)) / 2) if models else np.eye(4)
    local = (_geocentric(globe) - frame[:3, 3]) @ frame[:3, :3]
    y_up = local[:, [0, 2, 1]] * (1, 1, -1)
    sizes = face_sizes(table)
    triangles = triangulate(table, y_up)
    return _Scene(
        models=models,
        properties=metadata.properties(models),
        positions=y_up[table.corners],
        normals=np.repeat(normals(table, y_up), sizes, axis=0),
        colours=np.repeat(_colours(models, table.face_kind, table.model_faces), sizes, axis=0),
        triangles=triangles.corners,
        first_corner=starts(sizes)[starts(table.model_faces)],
        first_triangle=triangles.starts,
        low=low - _margin(globe),
        high=high + _margin(globe),
        size_m=np.linalg.norm(plan_high - plan_low, axis=1),
        frame=frame,
    )


def _largest_first(scene: _Scene) -> NDArray[np.int64]:
    """Return all building numbers, largest first; equal ones by identifier."""
    size = np.round(scene.size_m, 3)
    order = sorted(range(len(size)), key=lambda i: (-size[i], scene.models[i].id))
    return np.array(order, np.int64)


def _tile(
    scene: _Scene, buildings: NDArray[np.int64], name: str, folder: Path, most: int
) -> dict[str, Any]:
    """Write the tiles of *buildings*, which come largest first; return their part of the tree."""
    own, rest = buildings[:most], buildings[most:]
    (folder / f"{name}.glb").write_bytes(_content(scene, own))
    content = {"uri": f"{name}.glb", "boundingVolume": {"region": _region(scene, own)}}
    tile: dict[str, Any] = {
        "boundingVolume": {"region": _region(scene, buildings)},
        "geometricError": float(scene.size_m[rest].max(initial=0.0)),
        "refine": "ADD",
        "content": content,
    }
    children = [
        _tile(scene, part, f"{name}{quadrant}", folder, most)
        for quadrant, part in _quadrants(scene, rest)
    ]
    return tile | ({"children": children} if children else {})


def _quadrants(
    scene: _Scene, buildings: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Cut at the middle of the buildings' own extent; south-west, -east, north-west, -east."""
    if not len(buildings):
        return
    middle = (scene.low[buildings, :2] + scene.high[buildings, :2]) / 2
    cut = (middle.min(axis=0) + middle.max(axis=0)) / 2
    quadrant = (middle > cut) @ (1, 2)
    for number in range(4):
        part = buildings[quadrant == number]
        if len(part):
            yield number, part


def _content(scene: _Scene, buildings: NDArray[np.int64]) -> bytes:
    corners = runs(scene.first_corner, buildings)
    counts = scene.first_corner[buildings + 1] - scene.first_corner[buildings]
    triangles = runs(scene.first_triangle, buildings)
    moved = starts(counts)[:-1] - scene.first_corner[buildings]
    per_building = scene.first_triangle[buildings + 1] - scene.first_triangle[buildings]
    mesh = Mesh(
        positions=scene.positions[corners],
        normals=scene.normals[corners],
        colours=scene.colours[corners],
        features=np.repeat(np.arange(len(buildings)), counts),
        triangles=scene.triangles[triangles] + np.repeat(moved, per_building)[:, None],
    )
    return glb(mesh, [scene.models[i] for i in buildings], scene.properties)


def _ranges(
    rows: NDArray[np.float64], first: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not len(first):
        return rows[:0], rows[:0]
    return np.minimum.reduceat(rows, first), np.maximum.reduceat(rows, first)


def _region(scene: _Scene, buildings: NDArray[np.int64]) -> list[float]:
    """Return west, south, east, north in radians and the height range of *buildings*."""
    west, south, low = scene.low[buildings].min(axis=0).tolist()
    east, north, high = scene.high[buildings].max(axis=0).tolist()
    return [_wrapped(west), south, _wrapped(east), north, low, high]


def _wrapped(longitude: float) -> float:
    return float((longitude + np.pi) % (2 * np.pi) - np.pi)


def _margin(globe: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return MARGIN_M in radians of longitude, of latitude, and in metres, where it is widest."""
    narrowest = np.cos(np.abs(globe[:, 1]).max(initial=0.0))
    return np.array([MARGIN_M / A_M / max(narrowest, 1e-6), MARGIN_M / A_M, MARGIN_M])


def _colours(
    models: list[BuildingModel], kind: NDArray[np.uint8], per_model: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return linear colour and opacity of each face; pitched roofs are tiled, flat ones grey."""
    pitched = [str(m.attributes.get("roof_type") or "flat") != "flat" for m in models]
    palette = np.array([*(SURFACE_SRGB[name] for name in KINDS[:2]), FLAT_SRGB, PITCHED_SRGB]) / 255
    linear = np.where(palette <= 0.04045, palette / 12.92, ((palette + 0.055) / 1.055) ** 2.4)
    entry = kind + np.repeat(np.array(pitched, bool), per_model) * (kind == 2)
    opaque = np.full((len(palette), 1), 255)
    table = np.hstack([np.round(linear * 255), opaque]).astype(np.uint8)
    return np.asarray(table[entry])


def _lonlat(vertices: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """Return longitude and latitude in radians; longitudes run on across the antimeridian."""
    from pyproj import CRS, Transformer
    from pyproj.exceptions import CRSError

    try:
        plan = CRS.from_user_input(crs).to_2d()
    except CRSError:
        raise UnknownCrs(f"{crs!r} is no reference system that PROJ knows") from None
    to_wgs84 = Transformer.from_crs(plan, "EPSG:4326", always_xy=True)
    lon, lat = to_wgs84.transform(vertices[:, 0], vertices[:, 1], radians=False)
    if len(lon) and np.ptp(lon) > 180:
        lon = lon % 360
    return np.asarray(np.radians(np.column_stack([lon, lat])))


def _geocentric(globe: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return X, Y, Z of longitude, latitude (radians) and height above the ellipsoid."""
    lon, lat, height = np.moveaxis(np.asarray(globe), -1, 0)
    prime = A_M / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    across = (prime + height) * np.cos(lat)
    up = (prime * (1 - E2) + height) * np.sin(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), up], axis=-1)


def _east_north_up(origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (4, 4) matrix from local metres at *origin* to geocentric coordinates."""
    lon, lat = origin[:2]
    sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
    frame = np.eye(4)
    frame[:3, 0] = -sin_lon, cos_lon, 0
    frame[:3, 1] = -sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat
    frame[:3, 2] = cos_lat * cos_lon, cos_lat * sin_lon, sin_lat
    frame[:3, 3] = _geocentric(origin)
    return frame
