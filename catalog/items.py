"""A finished product as a STAC Item. Pure: facts in, one dictionary out.

Core is STAC 1.1 (its `bands`); extensions are projection, raster, processing, file, classification
and web-map-links. Addresses are below `ROOT`, a host that cannot exist, which whoever serves the
item replaces by the address it was called by: so one item is right behind any prefix and proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from typing import Any

from catalog.assets import AssetFacts, Band, PointFacts, as_nodata
from processes.core.process import COG, GEOJSON, GEOPACKAGE, GEOPARQUET, TILESET
from processes.core.raster import Grid

ROOT = "http://root.invalid"
"""Stands for the server's outside URL in everything that is stored (RFC 2606 reserves .invalid)."""

EXTENSIONS = {
    "proj:": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster:": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "processing:": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "file:": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "classification:": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "pc:": "https://stac-extensions.github.io/pointcloud/v2.0.0/schema.json",
    "eo:": "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "web-map-links": "https://stac-extensions.github.io/web-map-links/v1.2.0/schema.json",
}
TIFF = "image/tiff; application=geotiff"
TYPES = {"tif": TIFF, "tiff": TIFF, "jp2": "image/jp2", "parquet": GEOPARQUET, "gpkg": GEOPACKAGE}
"""Media types of sources by their endings; any other is an Item."""
PHOTOGRAMMETRY = "eopc"
LINK_RELS = ("3d-tiles", "xyz", "tilejson")
COMMON_NAMES = ("pan", "coastal", "blue", "green", "yellow", "red", "rededge", "nir", "swir16")
HEIGHTS = ("dsm", "dtm", "ndsm")
SHADED = "?algorithm=hillshade&buffer=3"
COLOURED = "?rescale=0,25&colormap_name=viridis"
SHOWN = {"ortho": "", "dsm": SHADED, "dtm": SHADED, "ndsm": COLOURED, "classes": ""}


@dataclass(frozen=True)
class Known:
    """What is said of an asset by its name: title, roles, and the unit of its values."""

    title: str
    roles: tuple[str, ...] = ("data",)
    unit: str | None = None


ASSETS = {
    "dsm": Known("Surface model", ("data", "surface"), "m"),
    "dtm": Known("Terrain model", ("data", "terrain"), "m"),
    "ndsm": Known("Heights above ground", ("data",), "m"),
    "confidence": Known("Error of nine heights in ten", ("confidence", "metadata"), "m"),
    "ortho_mask": Known("Origin of each cell of the surface model", ("metadata",)),
    "ortho": Known("True orthoimage", ("data", "visual")),
    "ortho_source": Known("Image each cell of the orthoimage is from", ("metadata",)),
    "classes": Known("Classes of the ground"),
    "footprints": Known("Building footprints"),
    "geopackage": Known("Buildings as GeoPackage"),
    "cityjson": Known("Buildings as CityJSON"),
    "tileset": Known("Buildings as 3D Tiles"),
    "mesh": Known("Terrain as 3D Tiles"),
    "points": Known("Point cloud"),
    "point_tileset": Known("Point cloud as 3D Tiles"),
    "error_map": Known("Product minus reference", ("data",), "m"),
    "report": Known("Report", ("metadata",)),
    "page": Known("Report as a page", ("metadata", "overview")),
}
THUMBNAIL = Known("Thumbnail", ("thumbnail",))


@dataclass(frozen=True)
class Made:
    """How a product was made."""

    process_id: str
    title: str
    version: str
    created: datetime
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that are values, not files."""


@dataclass(frozen=True)
class Source:
    """An input: an image or an earlier product. *href* is None for one sent within the request."""

    id: str
    href: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    """STAC properties of its Item, where it has one."""


def product_item(
    key: str,
    made: Made,
    assets: Sequence[AssetFacts],
    *,
    collection: str,
    sources: Sequence[Source] = (),
    thumbnail: AssetFacts | None = None,
    report: Mapping[str, Any] | None = None,
    geometry: Mapping[str, Any] | None = None,
    facility: str | None = None,
) -> dict[str, Any]:
    """Return the STAC Item of product *key*, addresses below `ROOT`.

    Its geometry is where its rasters have data, else where its vectors lie, else *geometry*.
    *report* becomes properties `orograph:NAME`, numbers and texts only. Raises ValueError for a
    product that lies nowhere: it cannot be found in a catalogue.
    """
    where = place(assets) or geometry
    if where is None:
        raise ValueError(f"product {key} lies nowhere")
    main = _main_raster(assets)
    properties = {
        "title": f"{made.title}, {_day(sources, made)}",
        **_when(sources, made),
        **_instruments(sources),
        **({"gsd": _rounded(main.cell_m)} if main else {}),
        **(_projection(main) if main else {}),
        **_counted(assets),
        **_processing(made, sources, facility),
        **{f"orograph:{name}": value for name, value in (report or {}).items() if _plain(value)},
    }
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": key,
        "collection": collection,
        "geometry": where,
        "bbox": bbox(where),
        "properties": properties,
        "links": [*_inputs(sources), *_maps(key, collection, assets)],
        "assets": {facts.name: _asset(key, facts) for facts in assets},
    }
    if thumbnail:
        item["assets"]["thumbnail"] = _asset(key, thumbnail, THUMBNAIL)
    item["stac_extensions"] = _extensions(item)
    return item


def place(assets: Sequence[AssetFacts]) -> Mapping[str, Any] | None:
    """Return where a product lies: its first height model or image, or else anything it has."""
    by_name = {facts.name: facts for facts in assets}
    order = [*(by_name[name] for name in SHOWN if name in by_name), *assets]
    rasters = [facts for facts in order if facts.grid]
    boxes = [facts for facts in order if facts.type == TILESET]  # coarser than outlines
    order = [facts for facts in order if facts.type != TILESET] + boxes
    return next((facts.footprint for facts in [*rasters, *order] if facts.footprint), None)


def absolute(value: Any, url: str) -> Any:
    """Return *value* with every address below `ROOT` moved to *url*; it is not changed itself."""
    if isinstance(value, str):
        return url.rstrip("/") + value[len(ROOT) :] if value.startswith(ROOT) else value
    if isinstance(value, Mapping):
        return {name: absolute(part, url) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [absolute(part, url) for part in value]
    return value


def bbox(geometry: Mapping[str, Any]) -> list[float]:
    """Return west, south, east, north of a GeoJSON geometry."""

    def points(part: Any) -> Iterator[Sequence[float]]:
        if part and isinstance(part[0], int | float):
            yield part
            return
        for inner in part:
            yield from points(inner)

    lons, lats = zip(*(point[:2] for point in points(geometry["coordinates"])), strict=True)
    return [min(lons), min(lats), max(lons), max(lats)]


def moment(time: datetime) -> str:
    """Return RFC 3339 in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


# -- properties


def _dates(sources: Sequence[Source]) -> list[datetime]:
    """Return when the sources were taken, earliest first."""
    names = ("start_datetime", "datetime", "end_datetime")
    texts = [source.properties.get(name) for source in sources for name in names]
    return sorted(date for text in texts if (date := _date(text)))


def _date(text: Any) -> datetime | None:
    """Return a time in UTC; None for what is none, as catalogues hold everything."""
    try:
        date = datetime.fromisoformat(text)
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _when(sources: Sequence[Source], made: Made) -> dict[str, str]:
    """Say what moment the product shows: that of its images, or, where they do not say, now."""
    dates = _dates(sources)
    shown = {"datetime": moment(dates[0] if dates else made.created)}
    if len(dates) > 1 and dates[0] != dates[-1]:
        shown |= {"start_datetime": moment(dates[0]), "end_datetime": moment(dates[-1])}
    return shown | {"created": moment(made.created), "updated": moment(made.created)}


def _day(sources: Sequence[Source], made: Made) -> str:
    return moment((_dates(sources) or [made.created])[0])[:10]


def _instruments(sources: Sequence[Source]) -> dict[str, Any]:
    """Return platform and constellation where all sources share them, and every instrument."""
    said: dict[str, Any] = {}
    for name in ("platform", "constellation", "mission"):
        values = [source.properties.get(name) for source in sources]
        if (
            values
            and isinstance(values[0], str)
            and values[0]
            and values.count(values[0]) == len(values)
        ):
            said[name] = values[0]
    lists = [source.properties.get("instruments") for source in sources]
    named = [
        name for one in lists if isinstance(one, list) for name in one if isinstance(name, str)
    ]
    return said | ({"instruments": list(dict.fromkeys(named))} if named else {})


def _projection(grid: Grid) -> dict[str, Any]:
    return {
        **_system(grid.crs),
        "proj:bbox": [_rounded(side) for side in grid.bounds],
        "proj:shape": [grid.height, grid.width],
        "proj:transform": [_rounded(number) for number in tuple(grid.transform)[:6]],
    }


def _system(crs: str) -> dict[str, Any]:
    known = crs.startswith("EPSG:")
    return {"proj:code": crs} if known else {"proj:code": None, "proj:wkt2": crs}


def _processing(made: Made, sources: Sequence[Source], facility: str | None) -> dict[str, Any]:
    given = ", ".join(f"{name} {value}" for name, value in made.parameters.items() if _plain(value))
    used = ", ".join(source.id for source in sources)
    lineage = f"Process {made.process_id} {made.version}"
    lineage += f" of {used}" if used else ""
    lineage += f" with {given}" if given else ""
    said = {
        "processing:level": "L3",
        "processing:lineage": lineage,
        "processing:software": {"orograph": version("orograph"), made.process_id: made.version},
        "processing:datetime": moment(made.created),
        "processing:version": made.version,
    }
    return said | ({"processing:facility": facility} if facility else {})


# -- assets


def _main_raster(assets: Sequence[AssetFacts]) -> Grid | None:
    by_name = {facts.name: facts for facts in assets}
    order = [*(by_name[name] for name in (*HEIGHTS, "ortho") if name in by_name), *assets]
    return next((facts.grid for facts in order if facts.grid), None)


def _asset(key: str, facts: AssetFacts, known: Known | None = None) -> dict[str, Any]:
    known = known or ASSETS.get(facts.name) or Known(facts.name.replace("_", " ").capitalize())
    asset: dict[str, Any] = {
        "href": _address(key, facts),
        "type": facts.type,
        "title": known.title,
        "roles": list(known.roles),
        "file:size": facts.size,
        "file:checksum": facts.checksum,
    }
    if facts.grid:
        asset |= {"gsd": _rounded(facts.grid.cell_m), **_projection(facts.grid)}
        asset["bands"] = [_band(band, facts, known.unit) for band in facts.bands]
        types = {band.data_type for band in facts.bands}
        if len(types) == 1:
            asset["data_type"] = types.pop()
    if facts.points:
        asset |= _cloud(facts.points)
    return asset


def _counted(assets: Sequence[AssetFacts]) -> dict[str, Any]:
    """Return how many points a product has, measured in optical images, if it has any."""
    counts = [facts.points.count for facts in assets if facts.points]
    return {"pc:count": sum(counts), "pc:type": PHOTOGRAMMETRY} if counts else {}


def _cloud(points: PointFacts) -> dict[str, Any]:
    """Version 2 of the extension has no encoding: the media type says it."""
    fields = ("name", "size", "type")
    return {
        **_system(points.crs),
        "proj:bbox": [_rounded(side) for side in points.bounds],
        "pc:count": points.count,
        "pc:type": PHOTOGRAMMETRY,
        "pc:schemas": [dict(zip(fields, part, strict=True)) for part in points.dimensions],
    }


def _band(band: Band, facts: AssetFacts, unit: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"name": band.name, "data_type": band.data_type}
    if band.name in COMMON_NAMES and facts.name == "ortho":
        said["eo:common_name"] = band.name
    if band.nodata is not None:
        said["nodata"] = as_nodata(band.nodata)
    if unit:
        said["unit"] = unit
    if facts.grid:
        said["raster:spatial_resolution"] = _rounded(facts.grid.cell_m)
    figures = {
        "minimum": band.minimum,
        "maximum": band.maximum,
        "mean": band.mean,
        "stddev": band.stddev,
        "valid_percent": band.valid_percent,
    }
    said["statistics"] = {
        name: round(value, 4) for name, value in figures.items() if value is not None
    }
    if facts.classes:
        said["classification:classes"] = [
            {"value": value, "name": name.replace(" ", "_"), "description": name.capitalize()}
            | ({"color_hint": facts.colours[value]} if facts.colours else {})
            for value, name in facts.classes.items()
        ]
    return said


def _address(key: str, facts: AssetFacts) -> str:
    """Return where a file is served: a tileset with its tiles under an address of its own."""
    if facts.name == "tileset":
        return f"{ROOT}/3dtiles/{key}/tileset.json"
    return f"{ROOT}/products/{key}/{facts.href}"


# -- links


def _inputs(sources: Sequence[Source]) -> list[dict[str, Any]]:
    return [
        {
            "rel": "derived_from",
            "href": source.href,
            "type": TYPES.get(source.href.rsplit(".", 1)[-1].lower(), GEOJSON),
            "title": source.id,
        }
        for source in sources
        if source.href
    ]


def _maps(key: str, collection: str, assets: Sequence[AssetFacts]) -> list[dict[str, Any]]:
    """Return links to the collection and for whoever draws the product."""
    names = {facts.name: facts.type for facts in assets}
    addresses = {facts.name: _address(key, facts) for facts in assets}
    links = [
        _link("collection", f"/stac/collections/{collection}", "application/json", collection),
        _link("alternate", f"/viewer/#{collection}/{key}", "text/html", "3D map"),
    ]
    if names.get("tileset") == TILESET:
        links.append(_link("3d-tiles", f"/3dtiles/{key}/tileset.json", TILESET, "Buildings"))
    if names.get("mesh") == TILESET:
        links.append(_link("3d-tiles", addresses["mesh"].removeprefix(ROOT), TILESET, "Terrain"))
    if names.get("point_tileset") == TILESET:
        address = addresses["point_tileset"].removeprefix(ROOT)
        links.append(_link("3d-tiles", address, TILESET, "Point cloud"))
    for name, query in SHOWN.items():
        if names.get(name) == COG:
            tiles = f"/raster/{key}/{name}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.webp{query}"
            links.append(_link("xyz", tiles, "image/webp", ASSETS[name].title))
    if names.get("footprints") == GEOPARQUET:
        links += [
            _link("tilejson", f"/vector/{key}/tilejson.json", "application/json", "Footprints"),
            _link(
                "related",
                f"/collections/footprints/items?product={key}",
                "application/geo+json",
                "Footprints as OGC API – Features",
            ),
        ]
    return links


def _link(rel: str, path: str, kind: str, title: str) -> dict[str, Any]:
    return {"rel": rel, "href": ROOT + path, "type": kind, "title": title}


def _extensions(item: Mapping[str, Any]) -> list[str]:
    """Return the schemas of every prefix that occurs in the item."""
    used = set(_names(item["properties"])) | set(_names(item["assets"]))
    maps = any(link["rel"] in LINK_RELS for link in item["links"])
    return [
        schema
        for prefix, schema in EXTENSIONS.items()
        if (prefix.endswith(":") and any(name.startswith(prefix) for name in used))
        or (prefix == "web-map-links" and maps)
    ]


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield str(name)
            yield from _names(part)
    elif isinstance(value, list):
        for part in value:
            yield from _names(part)


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value))


def _rounded(number: float) -> float:
    """Return a number without the last digits of binary arithmetic: 0.5, not 0.4999999999."""
    return round(float(number), 9)
