"""Assets of a STAC Item: what is said of each by its name, and by what its file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from catalog.addresses import address_of
from catalog.assets import AssetFacts, Band, PointFacts, as_nodata
from processes.core.raster import Grid

PHOTOGRAMMETRY = "eopc"
COMMON_NAMES = ("pan", "coastal", "blue", "green", "yellow", "red", "rededge", "nir", "swir16")


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


def described(key: str, facts: AssetFacts, known: Known | None = None) -> dict[str, Any]:
    """Return the STAC Asset of a file of product *key*."""
    known = known or ASSETS.get(facts.name) or Known(facts.name.replace("_", " ").capitalize())
    asset: dict[str, Any] = {
        "href": address_of(key, facts),
        "type": facts.type,
        "title": known.title,
        "roles": list(known.roles),
        "file:size": facts.size,
        "file:checksum": facts.checksum,
    }
    if facts.grid:
        asset |= {"gsd": rounded(facts.grid.cell_m), **projection(facts.grid)}
        asset["bands"] = [_band(band, facts, known.unit) for band in facts.bands]
        types = {band.data_type for band in facts.bands}
        if len(types) == 1:
            asset["data_type"] = types.pop()
    if facts.points:
        asset |= _cloud(facts.points)
    return asset


def counted(assets: Sequence[AssetFacts]) -> dict[str, Any]:
    """Return how many points a product has, measured in optical images, if it has any."""
    counts = [facts.points.count for facts in assets if facts.points]
    return {"pc:count": sum(counts), "pc:type": PHOTOGRAMMETRY} if counts else {}


def projection(grid: Grid) -> dict[str, Any]:
    """Return where a raster lies, as the projection extension says it."""
    return {
        **_system(grid.crs),
        "proj:bbox": [rounded(side) for side in grid.bounds],
        "proj:shape": [grid.height, grid.width],
        "proj:transform": [rounded(number) for number in tuple(grid.transform)[:6]],
    }


def _system(crs: str) -> dict[str, Any]:
    known = crs.startswith("EPSG:")
    return {"proj:code": crs} if known else {"proj:code": None, "proj:wkt2": crs}


def _cloud(points: PointFacts) -> dict[str, Any]:
    """Version 2 of the extension has no encoding: the media type says it."""
    fields = ("name", "size", "type")
    return {
        **_system(points.crs),
        "proj:bbox": [rounded(side) for side in points.bounds],
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
        said["raster:spatial_resolution"] = rounded(facts.grid.cell_m)
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


def rounded(number: float) -> float:
    """Return a number without the last digits of binary arithmetic: 0.5, not 0.4999999999."""
    return round(float(number), 9)
