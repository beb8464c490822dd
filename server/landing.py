"""The front door: landing page, conformance, and the API's own description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from server.pages import outside, page, wants_html
from server.services import SERVICES, Service

OPENAPI_TYPE = "application/vnd.oai.openapi+json;version=3.0"
TITLE = "Orograph"
DESCRIPTION = (
    "Satellite imagery in, 3D maps out: surface and terrain models, true orthophotos, building "
    "footprints and models, as OGC API – Processes jobs."
)
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
COMMON = "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/"


def router(conformance: list[str], openapi: Callable[[], dict[str, Any]]) -> APIRouter:
    """Return the routes of OGC API – Common, part 1."""
    routes = APIRouter()
    classes = sorted({COMMON + name for name in ("core", "landing-page", "json", "html", "oas30")}
                     | set(conformance))  # fmt: skip

    @routes.get("/", operation_id="getLandingPage", tags=["Capabilities"])
    def landing(request: Request) -> Response:
        """Where everything is."""
        body = {"title": TITLE, "description": DESCRIPTION, "links": links(outside(request))}
        if wants_html(request):
            return page(request, "landing.html", body)
        return JSONResponse(body)

    @routes.get("/conformance", operation_id="getConformanceClasses", tags=["Capabilities"])
    def conforms(request: Request) -> Response:
        """The requirement classes this server fulfils."""
        body = {"conformsTo": classes}
        return (
            page(request, "conformance.html", body) if wants_html(request) else JSONResponse(body)
        )

    @routes.get("/api", operation_id="getApi", tags=["Capabilities"])
    def api(request: Request) -> Response:
        """This description, as OpenAPI 3.0 or as a page."""
        document = openapi() | {"servers": [{"url": outside(request)}]}
        if wants_html(request):
            return page(request, "api.html", document)
        return JSONResponse(document, media_type=OPENAPI_TYPE)

    def add(service: Service) -> None:
        @routes.get(service.path, operation_id=f"get{service.name}", tags=["Capabilities"])
        def served(request: Request) -> Response:
            """What can be asked for here, as templates of addresses."""
            body = service.document(outside(request))
            return (
                page(request, "service.html", body) if wants_html(request) else JSONResponse(body)
            )

    for service in SERVICES:
        add(service)

    return routes


def links(url: str) -> list[dict[str, str]]:
    """Return the landing page's links."""
    table = (
        ("/", "self", "application/json", "This document"),
        ("/?f=html", "alternate", "text/html", "This document as a page"),
        ("/viewer/", "related", "text/html", "The 3D map"),
        ("/api", "service-desc", OPENAPI_TYPE, "The API as OpenAPI"),
        ("/api?f=html", "service-doc", "text/html", "The API as a page"),
        ("/conformance", "conformance", "application/json", "Conformance classes"),
        ("/conformance", REL + "conformance", "application/json", "Conformance classes"),
        ("/conformance?f=html", "alternate", "text/html", "Conformance classes as a page"),
        ("/processes", "processes", "application/json", "Processes"),
        ("/processes", REL + "processes", "application/json", "Processes"),
        ("/processes?f=html", REL + "processes", "text/html", "Processes"),
        ("/jobs", "job-list", "application/json", "Jobs"),
        ("/jobs", REL + "job-list", "application/json", "Jobs"),
        ("/jobs?f=html", REL + "job-list", "text/html", "Jobs"),
        ("/collections", "data", "application/json", "Collections"),
        ("/collections", REL + "data", "application/json", "Collections"),
        ("/collections?f=html", "data", "text/html", "Collections"),
        ("/stac/", "child", "application/json", "STAC catalogue"),
        *((s.path, "related", "application/json", s.title) for s in SERVICES),
        *((f"{s.path}?f=html", "related", "text/html", s.title) for s in SERVICES),
    )
    return [
        {"href": url + path, "rel": rel, "type": kind, "title": title}
        for path, rel, kind, title in table
    ]
