"""pygeoapi's provider of footprints: it asks, `catalog/features.py` answers."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg_pool import ConnectionPool
from pygeoapi.provider.base import BaseProvider, ProviderItemNotFoundError
from pygeoapi.util import get_crs_from_uri

from catalog import features
from catalog.footprint_table import WGS84
from server.errors import BadParameter


class Footprints(BaseProvider):  # type: ignore[misc]  # pygeoapi has no types
    """pygeoapi's view of the footprint table; *data* is the pool it reads through."""

    def __init__(self, definition: dict[str, Any]) -> None:
        super().__init__(definition)
        self._pool: ConnectionPool = definition["data"]
        self._summary: features.Summary = definition["summary"]
        # as it was asked: pygeoapi would turn a projected box by its corners only
        self._box: tuple[list[float] | None, int] = definition["box"]
        self.get_fields()

    def get_fields(self) -> dict[str, Any]:
        types = {"product": "string"} | dict(self._summary.types)
        self._fields = {name: {"type": kind, "title": name} for name, kind in types.items()}
        return self._fields

    def query(
        self,
        offset: int = 0,
        limit: int = 10,
        resulttype: str = "results",
        properties: list[tuple[str, str]] | None = None,
        select_properties: list[str] | None = None,
        skip_geometry: bool = False,
        crs_transform_spec: Any = None,
        **_: Any,
    ) -> dict[str, Any]:
        filters = dict(properties or ())
        sides, bbox_srid = self._box
        wanted: dict[str, Any] = {
            "bbox": sides,
            "bbox_srid": bbox_srid,
            "product": filters.pop("product", None),
            "filters": filters,
        }
        found: list[dict[str, Any]] = []
        try:
            with self._pool.connection() as conn:
                matched = features.count(conn, **wanted)
                if resulttype != "hits":
                    srid, flipped = _srid(crs_transform_spec)
                    page = features.features(conn, **wanted, limit=limit, offset=offset, srid=srid)
                    found = [_turned(feature, flipped) for feature in page.features]
        except psycopg.errors.InternalError as error:  # PROJ's complaints come as these
            raise BadParameter(f"bbox cannot be placed in its bbox-crs: {error}") from None
        for feature in found:
            if skip_geometry:
                feature["geometry"] = None
            if select_properties:
                kept = {n: v for n, v in feature["properties"].items() if n in select_properties}
                feature["properties"] = kept
        return {
            "type": "FeatureCollection",
            "features": found,
            "numberMatched": matched,
            "numberReturned": len(found),
        }

    def get(self, identifier: str, crs_transform_spec: Any = None, **_: Any) -> dict[str, Any]:
        srid, flipped = _srid(crs_transform_spec)
        with self._pool.connection() as conn:
            feature = features.feature(conn, identifier, srid=srid)
        if feature is None:
            raise ProviderItemNotFoundError(user_msg=f"there is no footprint {identifier}")
        return _turned(feature, flipped)


def _srid(spec: Any) -> tuple[int, bool]:
    """Return the EPSG code of the answer, and whether its first axis points north."""
    if spec is None:
        return WGS84, False
    system = get_crs_from_uri(spec.target_crs_uri)
    return int(system.to_epsg()), system.axis_info[0].direction == "north"


def _turned(feature: dict[str, Any], flipped: bool) -> dict[str, Any]:
    if flipped:
        shape = feature["geometry"]
        feature["geometry"] = shape | {"coordinates": _swapped(shape["coordinates"])}
    return feature


def _swapped(coordinates: list[Any]) -> list[Any]:
    if coordinates and isinstance(coordinates[0], list):
        return [_swapped(part) for part in coordinates]
    return [coordinates[1], coordinates[0], *coordinates[2:]]
