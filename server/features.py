"""OGC API – Features of the building footprints, through pygeoapi.

pygeoapi answers; this module gives it what it cannot know: an own provider, which reads
`catalog/features.py`, so that what a job publishes is there at the next request; an extent and a
list of reference systems that follow the data; links below the address the server was called by.
It refuses unknown parameters, which pygeoapi passes over, and pygeoapi's faults become ours.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

from fastapi import APIRouter, Request
from markupsafe import escape
from psycopg_pool import ConnectionPool
from pygeoapi.api import API, APIRequest, describe_collections, get_collection_schema
from pygeoapi.api.itemtypes import (
    CONFORMANCE_CLASSES_FEATURES,
    get_collection_item,
    get_collection_items,
    get_collection_queryables,
)
from starlette.responses import Response

from catalog import features
from catalog.addresses import ROOT
from catalog.footprint_table import WGS84
from server.errors import BadParameter, answer
from server.footprints import Footprints
from server.pages import POLICY, TEMPLATES, outside, wants_html
from server.query import interval

COLLECTION = "footprints"
TITLE = "Building footprints"
DESCRIPTION = "Outlines of the buildings of every published product, with their heights."
EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
NOT_OFFERED = "create-replace-delete"
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    *(name for name in CONFORMANCE_CLASSES_FEATURES if NOT_OFFERED not in name),
]
QUERY = ("bbox", "bbox-crs", "crs", "limit", "offset", "resulttype", "datetime", "properties",
         "skipGeometry")  # fmt: skip
PROBLEM_TYPES = {"NotFound": "NotFound", "NoApplicableCode": "InvalidParameterValue"}

FORMS = ("json", "jsonld", "html")

Answer = tuple[dict[str, Any], int, str | bytes]


class Collections:
    """pygeoapi's API object, seen anew at each request: its data and its address may change."""

    def __init__(self, pool: ConnectionPool, title: str) -> None:
        self._pool = pool
        with _logging_kept():
            self._api = API(_config(title), {})
        # pygeoapi logs every request that is at fault as an error of its own
        logging.getLogger("pygeoapi").setLevel(logging.CRITICAL)

    def answer(
        self, request: Request, function: Callable[..., Answer], *arguments: str, known: Any = ()
    ) -> Response:
        """Call one of pygeoapi's functions and return its answer as ours."""
        with self._pool.connection() as conn:
            summary = features.summary(conn)
        _check(request, known, summary)
        api = self._seen(request, summary)
        asked = APIRequest(request, api.locales)
        asked._format = request.query_params.get("f") or ("html" if wants_html(request) else "json")
        headers, status, content = function(api, asked, *arguments)
        if status >= 400:
            return answer(request, _problem(status, content))
        names = ("Content-Crs", "Content-Language")
        kept: dict[str, str] = {name: headers[name] for name in names if name in headers}
        if asked.format == "html":
            # pygeoapi gives all pages of a process the configuration of the first
            content = str(content).replace(ROOT, escape(outside(request)))
            kept["Content-Security-Policy"] = POLICY
        kind = headers["Content-Type"]
        if function in (get_collection_items, get_collection_item) and asked.format == "json":
            kind = "application/geo+json"
        return Response(content, int(status), kept, kind)

    def _seen(self, request: Request, summary: features.Summary) -> API:
        api = copy(self._api)
        api.base_url = outside(request)
        resources = {COLLECTION: self._resource(summary, request)}
        api.config = self._api.config | {"resources": resources}
        return api

    def _resource(self, summary: features.Summary, request: Request) -> dict[str, Any]:
        viewer = f"{outside(request)}/viewer/"
        return {
            "type": "collection",
            "title": TITLE,
            "description": DESCRIPTION,
            "keywords": ["buildings", "footprints", "heights"],
            "links": [{"rel": "related", "type": "text/html", "title": "The map", "href": viewer}],
            "extents": {"spatial": {"bbox": list(summary.bbox or EVERYWHERE), "crs": CRS84}},
            "providers": [
                {
                    "type": "feature",
                    "name": f"{Footprints.__module__}.{Footprints.__name__}",
                    "data": self._pool,
                    "summary": summary,
                    "box": _box(request),
                    "id_field": "id",
                    "storage_crs": CRS84,
                    "crs": _systems(summary.bbox),
                }
            ],
        }


def router(collections: Collections) -> APIRouter:
    """Return the routes of OGC API – Features."""
    routes = APIRouter(tags=["Features"])
    here = "/collections/{collection_id}"

    @routes.get("/collections", operation_id="getCollections")
    def every(request: Request) -> Response:
        """The collections."""
        return collections.answer(request, describe_collections)

    @routes.get(here, operation_id="describeCollection")
    def one(request: Request, collection_id: str) -> Response:
        """One collection: where it is, and in which reference systems it is given."""
        return collections.answer(request, describe_collections, collection_id)

    @routes.get(here + "/queryables", operation_id="getQueryables")
    def queryables(request: Request, collection_id: str) -> Response:
        """The properties by which features are found."""
        return collections.answer(request, get_collection_queryables, collection_id)

    @routes.get(here + "/schema", operation_id="getSchema")
    def schema(request: Request, collection_id: str) -> Response:
        """The properties of features."""
        return collections.answer(request, get_collection_schema, collection_id)

    @routes.get(
        here + "/items",
        operation_id="getFeatures",
        openapi_extra={"parameters": [_parameter(*entry) for entry in PARAMETERS]},
    )
    def items(request: Request, collection_id: str) -> Response:
        """Features, by box, by property (`product=…`), in pages."""
        return collections.answer(request, get_collection_items, collection_id, known=QUERY)

    @routes.get(here + "/items/{feature_id}", operation_id="getFeature")
    def item(request: Request, collection_id: str, feature_id: str) -> Response:
        """One feature."""
        known = ("crs",)
        return collections.answer(
            request, get_collection_item, collection_id, feature_id, known=known
        )

    return routes


PARAMETERS = (
    ("bbox", "Box that features must touch: xmin,ymin,xmax,ymax."),
    ("bbox-crs", "Reference system of the box; else CRS84."),
    ("crs", "Reference system of the answer; else CRS84."),
    ("limit", "Most features on a page."),
    ("offset", "Features to pass over."),
    ("product", "Product the features belong to."),
    ("properties", "Properties to give, separated by commas."),
    ("skipGeometry", "true leaves shapes out."),
    ("resulttype", "hits only counts."),
)


def _parameter(name: str, description: str) -> dict[str, Any]:
    kind = "integer" if name in ("limit", "offset") else "string"
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def _config(title: str) -> dict[str, Any]:
    return {
        "server": {
            "url": ROOT,
            "encoding": "utf-8",
            "languages": ["en-US"],
            "limits": {"default_items": 10, "max_items": 10_000, "on_exceed": "throttle"},
            "map": {"url": "", "attribution": ""},
            "templates": {"path": str(TEMPLATES)},
        },
        "logging": {"level": "ERROR"},
        "metadata": {
            "identification": {"title": title, "description": DESCRIPTION, "keywords": []},
            "license": {"name": "", "url": ""},
            "provider": {"name": title, "url": ""},
            "contact": {"name": "", "email": ""},
        },
        "resources": {},
    }


def _check(request: Request, known: Any, summary: features.Summary) -> None:
    """Raises BadParameter for parameters pygeoapi would pass over or trip over."""
    queried = request.query_params
    allowed = {"f", "lang", *known}
    if known == QUERY:
        allowed |= {"product", *summary.types}
    for name, value in queried.items():
        if name not in allowed:
            raise BadParameter(
                f"{name} is no query parameter here: use {', '.join(sorted(allowed))}"
            )
        if "\x00" in value:
            raise BadParameter(f"{name} holds a zero byte")
    if queried.get("f", "json") not in FORMS:
        raise BadParameter(f"f is {queried['f']}: use {', '.join(FORMS)}")
    if queried.get("resulttype", "hits") not in ("hits", "results"):
        raise BadParameter(f"resulttype is {queried['resulttype']}: use hits or results")
    if queried.get("skipGeometry", "true") not in ("true", "false"):
        raise BadParameter(f"skipGeometry is {queried['skipGeometry']}: use true or false")
    for name in ("limit", "offset"):
        text = queried.get(name, "1")
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise BadParameter(f"{name} is {text}: use a whole number")
    interval(queried.get("datetime"))


def _box(request: Request) -> tuple[list[float] | None, int]:
    """Return the box asked for, x first, and the EPSG code of its reference system."""
    text = request.query_params.get("bbox")
    if text is None:
        return None, WGS84
    try:
        sides = [float(part) for part in text.split(",")]
    except ValueError:
        sides = []
    if len(sides) not in (4, 6) or not all(math.isfinite(side) for side in sides):
        raise BadParameter("bbox: use four or six numbers separated by commas")
    xmin, ymin, xmax, ymax = sides if len(sides) == 4 else [*sides[:2], *sides[3:5]]
    system = request.query_params.get("bbox-crs", CRS84)
    code = system.removeprefix(EPSG)
    if code == str(WGS84):
        xmin, ymin, xmax, ymax = ymin, xmin, ymax, xmax
    return [xmin, ymin, xmax, ymax], int(code) if code.isdigit() else WGS84


def _systems(bbox: tuple[float, float, float, float] | None) -> list[str]:
    """Return the reference systems on offer: those of the web, and the UTM zones of the data."""
    codes = ["4326", "3857"]
    if bbox is not None:
        first, last = (min(int((x + 180) // 6) + 1, 60) for x in (bbox[0], bbox[2]))
        for base, has in ((32600, bbox[3] >= 0), (32700, bbox[1] < 0)):
            if has:
                codes += [str(base + zone) for zone in range(first, last + 1)]
    return [CRS84, *(EPSG + code for code in codes)]


def _problem(status: int, content: str | bytes) -> dict[str, Any]:
    fault: Mapping[str, Any] = json.loads(content)
    kind = str(fault.get("code", "Fault"))
    return {
        "type": PROBLEM_TYPES.get(kind, kind),
        "title": "Not found" if status == 404 else "Bad request",
        "status": int(status),
        "detail": str(fault.get("description", "")),
    }


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Keep pygeoapi from configuring the logging of the whole process."""
    root, quiet = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(quiet)
    try:
        yield
    finally:
        root.removeHandler(quiet)
        root.setLevel(level)
