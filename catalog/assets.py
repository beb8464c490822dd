"""What the files of a product say of themselves: size, digest, grid, bands, and where they lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.footprint_table import somewhere
from processes.core.codes import meanings
from processes.core.process import GEOPARQUET
from processes.core.raster import Grid

PREVIEW_PX = 512
"""Footprints are traced on a grid of at most this many cells a side."""
SPECK = 0.01
"""Parts and holes of a footprint smaller than this share of it are noise."""
LAZ = "application/vnd.laszip"
KINDS = {"f": "floating", "i": "signed", "u": "unsigned"}
SHA256 = "1220"
"""Multihash prefix: sha2-256, 32 bytes."""


@dataclass(frozen=True)
class Band:
    """One band of a raster; figures are of its valid cells, None where there are none."""

    name: str
    data_type: str
    nodata: float | None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    stddev: float | None = None
    valid_percent: float = 0.0


@dataclass(frozen=True)
class PointFacts:
    """What a LAS file says of its points."""

    count: int
    crs: str
    bounds: tuple[float, ...]
    """West, south, lowest, east, north, highest."""
    dimensions: tuple[tuple[str, int, str], ...]
    """Name, bytes, and whether floating, signed or unsigned."""


@dataclass(frozen=True)
class AssetFacts:
    """One file of a product. *href* is relative to the product's folder."""

    name: str
    href: str
    type: str
    size: int
    checksum: str
    grid: Grid | None = None
    bands: tuple[Band, ...] = ()
    classes: Mapping[int, str] | None = None
    colours: Mapping[int, str] | None = None
    """In which colour a map shows each class, as RRGGBB."""
    footprint: Mapping[str, Any] | None = None
    """Where there is valid data: GeoJSON in degrees."""
    points: PointFacts | None = None


def measured(folder: Path, results: Mapping[str, Any]) -> list[AssetFacts]:
    """Return the facts of every file among *results* (output id → value or {"href", "type"})."""
    return [
        measure(name, folder, value["href"], value.get("type") or "application/octet-stream")
        for name, value in results.items()
        if isinstance(value, Mapping) and isinstance(value.get("href"), str)
    ]


def measure(name: str, folder: Path, href: str, media_type: str) -> AssetFacts:
    """Read one file through, block by block."""
    path = folder / href
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = AssetFacts(name, href, media_type, path.stat().st_size, SHA256 + digest)
    if media_type.startswith("image/tiff"):
        return _with_raster(facts, path)
    if media_type.startswith(LAZ):
        return replace(facts, points=_points(path))
    if path.name == "tileset.json":
        return replace(facts, footprint=_region(path))
    return replace(facts, footprint=_hull(path)) if media_type == GEOPARQUET else facts


def _with_raster(facts: AssetFacts, path: Path) -> AssetFacts:
    import rasterio

    with rasterio.open(path) as file:
        code = file.crs.to_epsg()
        crs = f"EPSG:{code}" if code else file.crs.to_wkt()
        return replace(
            facts,
            grid=Grid(crs, file.transform, file.height, file.width),
            bands=tuple(_band(file, index) for index in file.indexes),
            classes=meanings(file.tags()) or None,
            colours=_colours(file),
            footprint=_traced(file),
        )


def _band(file: Any, index: int) -> Band:
    """Return a band's figures in one pass; sums are about a first mean, so nothing is lost."""
    count, first, total, squares = 0, None, 0.0, 0.0
    low, high = np.inf, -np.inf
    for _, window in file.block_windows(index):
        block = file.read(index, window=window, masked=True)
        values = block.compressed().astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        first = float(values.mean()) if first is None else first
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        count += values.size
        total += float((values - first).sum())
        squares += float(((values - first) ** 2).sum())
    name = (file.descriptions[index - 1] or f"b{index}").strip()
    band = Band(name, str(file.dtypes[index - 1]), file.nodatavals[index - 1])
    if first is None:
        return band
    shift = total / count
    return Band(
        band.name,
        band.data_type,
        band.nodata,
        minimum=low,
        maximum=high,
        mean=first + shift,
        stddev=sqrt(max(squares / count - shift**2, 0.0)),
        valid_percent=100.0 * count / (file.height * file.width),
    )


def _colours(file: Any) -> Mapping[int, str] | None:
    try:
        table = file.colormap(1)
    except ValueError:  # there is none
        return None
    return {value: "".join(f"{part:02X}" for part in rgba[:3]) for value, rgba in table.items()}


def _traced(file: Any) -> Mapping[str, Any] | None:
    from rasterio.enums import Resampling
    from rasterio.features import shapes
    from rasterio.transform import Affine
    from shapely.geometry import shape
    from shapely.ops import unary_union

    scale = max(file.height, file.width, PREVIEW_PX) / PREVIEW_PX
    rows, cols = max(1, round(file.height / scale)), max(1, round(file.width / scale))
    valid = np.zeros((rows, cols), bool)
    for index in file.indexes:
        valid |= _known(file, index, (rows, cols), Resampling.nearest)
    if not valid.any():
        return None
    move = file.transform @ Affine.scale(file.width / cols, file.height / rows)
    parts = [shape(part) for part, _ in shapes(valid.astype(np.uint8), valid, transform=move)]
    return in_degrees(unary_union(parts), str(file.crs.to_wkt()), tolerance=abs(move.a))


def _known(file: Any, index: int, size: tuple[int, int], how: Any) -> NDArray[np.bool_]:
    values = file.read(index, out_shape=size, resampling=how, masked=True)
    known: NDArray[np.bool_] = ~np.broadcast_to(values.mask, size)
    return known & np.isfinite(values.data) if values.dtype.kind == "f" else known


def _points(path: Path) -> PointFacts:
    """Return what the header of a LAS file says."""
    import laspy

    with laspy.open(path) as file:
        header = file.header
    crs = header.parse_crs()
    code = crs.to_2d().to_authority() if crs else None
    return PointFacts(
        header.point_count,
        ":".join(code) if code else (crs.to_wkt() if crs else ""),
        (*header.mins.tolist(), *header.maxs.tolist()),
        tuple(_dimension(part) for part in header.point_format.dimensions),
    )


def _dimension(part: Any) -> tuple[str, int, str]:
    """Return name, bytes and kind as PDAL has them: places are metres, bit fields bytes."""
    if part.name in "XYZ":
        return part.name, 8, "floating"
    words = part.name.split("_")
    name = part.name if not part.is_standard else "".join(word.capitalize() for word in words)
    kind = np.dtype(part.dtype).kind if part.dtype is not None else "u"
    return name, max(part.num_bits // 8, 1), KINDS[kind]


def _hull(path: Path) -> Mapping[str, Any] | None:
    """Return the convex hull of a vector file."""
    import geopandas

    with np.errstate(invalid="ignore"):  # of corners that lie nowhere
        frame = geopandas.read_parquet(path)
    if frame.crs is None:
        return None
    hull = frame.geometry[somewhere(frame.to_crs("OGC:CRS84"))].union_all("unary").convex_hull
    return in_degrees(hull, frame.crs.to_wkt(), tolerance=0.0)


def _region(path: Path) -> Mapping[str, Any] | None:
    """Return the box around a tileset; None where it holds nothing."""
    from shapely.geometry import MultiPolygon, box, mapping

    root = json.loads(path.read_text("utf-8")).get("root", {})
    region = root.get("boundingVolume", {}).get("region")
    if region is None or "content" not in root:
        return None
    west, south, east, north = np.degrees(region[:4]).round(7).tolist()
    if west <= east:
        return dict(mapping(box(west, south, east, north)))
    halves = [box(west, south, 180.0, north), box(-180.0, south, east, north)]
    return dict(mapping(MultiPolygon(halves)))


def in_degrees(area: Any, crs: str, *, tolerance: float) -> Mapping[str, Any] | None:
    """Return a projected shape as GeoJSON in degrees: specks gone, rings as RFC 7946 wants.

    *tolerance*, in units of *crs*, is how far the outline may move. None for an empty shape.
    """
    from pyproj import Transformer
    from shapely import force_2d, set_precision, transform
    from shapely.geometry import MultiPolygon, Polygon, mapping
    from shapely.geometry.polygon import orient

    polygons = [part for part in getattr(area, "geoms", [area]) if isinstance(part, Polygon)]
    least = SPECK * sum(part.area for part in polygons)
    kept = [
        Polygon(part.exterior, [ring for ring in part.interiors if Polygon(ring).area > least])
        for part in polygons
        if part.area > least
    ]
    if not kept:
        return None
    whole = MultiPolygon(kept).simplify(tolerance)
    step = max(whole.bounds[2] - whole.bounds[0], whole.bounds[3] - whole.bounds[1]) / 2
    to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    # straight lines of a map are curves in degrees
    dense = force_2d(whole).segmentize(max(step, 1e-9))
    placed = transform(dense, lambda xy: np.column_stack(to_degrees.transform(*xy.T)))
    placed = set_precision(placed, 1e-7)
    rings = [orient(part) for part in getattr(placed, "geoms", [placed]) if not part.is_empty]
    if not rings:
        return None
    shape = rings[0] if len(rings) == 1 else MultiPolygon(rings)
    plain: Mapping[str, Any] = json.loads(json.dumps(mapping(shape)))
    return plain


def as_nodata(value: float | None) -> float | str | None:
    """Return an absent value as STAC writes it: JSON has no NaN."""
    return "nan" if value is not None and isnan(value) else value
