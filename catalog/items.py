"""A finished product as a STAC Item. Pure: facts in, one dictionary out.

Core is STAC 1.1 (its `bands`); extensions are projection, raster, processing, file, classification
and web-map-links. Addresses are below `ROOT`, a host that cannot exist, which whoever serves the
item replaces by the address it was called by: so one item is right behind any prefix and proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.addresses import ROOT, address_of
from catalog.assets import AssetFacts
from catalog.described import ASSETS, THUMBNAIL, counted, described, projection, rounded
from catalog.origins import (
    Made,
    Source,
    day_of,
    derived_from,
    instruments,
    plain,
    processing,
    shown_when,
)
from processes.core.process import COG, GEOPARQUET, TILESET
from processes.core.raster import Grid

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
LINK_RELS = ("3d-tiles", "xyz", "tilejson")
HEIGHTS = ("dsm", "dtm", "ndsm")
SHADED = "?algorithm=hillshade&buffer=3"
COLOURED = "?rescale=0,25&colormap_name=viridis"
SHOWN = {"ortho": "", "dsm": SHADED, "dtm": SHADED, "ndsm": COLOURED, "classes": ""}


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
        "title": f"{made.title}, {day_of(sources, made)}",
        **shown_when(sources, made),
        **instruments(sources),
        **({"gsd": rounded(main.cell_m)} if main else {}),
        **(projection(main) if main else {}),
        **counted(assets),
        **processing(made, sources, facility),
        **{f"orograph:{name}": value for name, value in (report or {}).items() if plain(value)},
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
        "links": [*derived_from(sources), *_maps(key, collection, assets)],
        "assets": {facts.name: described(key, facts) for facts in assets},
    }
    if thumbnail:
        item["assets"]["thumbnail"] = described(key, thumbnail, THUMBNAIL)
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


def _main_raster(assets: Sequence[AssetFacts]) -> Grid | None:
    by_name = {facts.name: facts for facts in assets}
    order = [*(by_name[name] for name in (*HEIGHTS, "ortho") if name in by_name), *assets]
    return next((facts.grid for facts in order if facts.grid), None)


def _maps(key: str, collection: str, assets: Sequence[AssetFacts]) -> list[dict[str, Any]]:
    """Return links to the collection and for whoever draws the product."""
    names = {facts.name: facts.type for facts in assets}
    addresses = {facts.name: address_of(key, facts) for facts in assets}
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
