"""What lies below `/raster`, `/vector`, `/3dtiles` and `/products`, as templates of addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Service:
    """A part of the server, where products are found by their key.

    *parts*: template of an address below it, its media type, and what is there.
    """

    path: str
    name: str
    title: str
    description: str
    parts: tuple[tuple[str, str, str], ...]

    def document(self, url: str) -> dict[str, Any]:
        """Return title, description and links, for the server at *url*."""
        at = url + self.path
        stac = {"rel": "data", "type": "application/geo+json", "title": "Products and their keys"}
        templates = [
            {
                "rel": "item",
                "href": at + part,
                "type": kind,
                "title": title,
                "templated": "{" in part,
            }
            for part, kind, title in self.parts
        ]
        links = [
            {"rel": "self", "href": at, "type": "application/json", "title": "This document"},
            {"rel": "up", "href": f"{url}/", "type": "application/json", "title": "Orograph"},
            {**stac, "href": f"{url}/stac/search"},
        ]
        return {"title": self.title, "description": self.description, "links": links + templates}


KEYS = "{key} is the id of the product's STAC Item"
SERVICES = (
    Service(
        "/raster",
        "RasterTiles",
        "Raster tiles",
        "Surface and terrain models and orthoimages as pictures. "
        f"{KEYS}, {{asset}} the name of one of its assets, such as dsm.",
        (
            ("/{key}/{asset}/WebMercatorQuad/tilejson.json", "application/json", "TileJSON"),
            ("/{key}/{asset}/tiles/WebMercatorQuad/{z}/{x}/{y}.webp", "image/webp", "A tile"),
            ("/{key}/{asset}/preview.png", "image/png", "The whole as one picture"),
            ("/{key}/{asset}/point/{lon},{lat}", "application/json", "The values at a place"),
            ("/{key}/{asset}/statistics", "application/json", "Statistics"),
            ("/{key}/{asset}/info", "application/json", "Size, bands and reference system"),
        ),
    ),
    Service(
        "/vector",
        "VectorTiles",
        "Vector tiles",
        f"Building footprints as Mapbox vector tiles. {KEYS}.",
        (
            ("/{key}/tilejson.json", "application/json", "TileJSON of one product"),
            ("/{z}/{x}/{y}.mvt", "application/vnd.mapbox-vector-tile", "A tile of all products"),
            ("/{key}/{z}/{x}/{y}.mvt", "application/vnd.mapbox-vector-tile", "A tile of one"),
        ),
    ),
    Service(
        "/3dtiles",
        "BuildingTiles",
        "3D Tiles",
        f"Buildings as 3D Tiles 1.1. {KEYS}.",
        (("/{key}/tileset.json", "application/json", "The tileset of a product's buildings"),),
    ),
    Service(
        "/products",
        "ProductFiles",
        "Files of products",
        f"Every file of every product, whole or by Range. {KEYS}.",
        (
            ("/{key}", "application/json", "What a product is made of"),
            ("/{key}/{part}", "application/octet-stream", "One of its files"),
        ),
    ),
)
