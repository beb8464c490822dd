"""Everything that is shown, as routes: raster and vector tiles, 3D Tiles, files and the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from psycopg_pool import ConnectionPool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tiles import raster, vector
from tiles.answers import outside
from tiles.files import PAGE_POLICY, Files
from tiles.products import asset_names, inside, product_asset, product_folder

VIEWER = Path(__file__).parent / "viewer"
CESIUM = "node_modules/cesium/Build/Cesium"
VIEWER_SUFFIXES = (".css", ".html", ".ico", ".js", ".png", ".svg", ".webp")
READ = ["GET", "HEAD"]


def router(
    products: Path, pool: ConnectionPool[Any], *, viewer: Path = VIEWER, cesium: Path | None = None
) -> APIRouter:
    """Return all routes, for products in folder *products* and footprints behind *pool*.

    *viewer* is the folder of the web page, *cesium* that of a built Cesium, else the one npm put
    there. Each product's files are below `/products/{key}`, its tileset's below `/3dtiles/{key}`.
    """
    files = Files()
    routes = APIRouter()
    routes.include_router(raster.router(products))
    routes.include_router(vector.router(pool))
    routes.include_router(product_files(products, files))
    routes.include_router(viewer_files(viewer, cesium or viewer / CESIUM, files))
    return routes


def product_files(products: Path, files: Files) -> APIRouter:
    """Return the routes of products' files and of 3D Tiles."""
    routes = APIRouter()

    @routes.head("/products/{key}/{part:path}", include_in_schema=False)
    @routes.get(
        "/products/{key}/{part:path}",
        operation_id="getProductFile",
        tags=["Products"],
        response_class=Response,
    )
    def product_file(request: Request, key: str, part: str) -> Response:
        """A file of a product; parts of it by Range."""
        folder = product_folder(products, key)
        path = inside(folder, part) if folder else None
        if folder is None or path is None:
            raise HTTPException(404, f"there is no file {part} of product {key}")
        media_type = asset_names(folder).get(part)
        response = files.answer(request, path, media_type=media_type)
        if (media_type or response.media_type or "").startswith("text/html"):
            response.headers["Content-Security-Policy"] = PAGE_POLICY
        return response

    @routes.head("/3dtiles/{key}/{part:path}", include_in_schema=False)
    @routes.get(
        "/3dtiles/{key}/{part:path}",
        operation_id="get3DTiles",
        tags=["3D Tiles"],
        response_class=Response,
    )
    def tile(request: Request, key: str, part: str) -> Response:
        """The tileset of a product's buildings, and its tiles."""
        tileset = product_asset(products, key, "tileset")
        path = inside(tileset[0].parent, part) if tileset else None
        if path is None:
            raise HTTPException(404, f"there is no tile {part} of product {key}")
        return files.answer(request, path)

    return routes


def viewer_files(viewer: Path, cesium: Path, files: Files) -> APIRouter:
    """Return the routes of the web page and of Cesium."""
    routes = APIRouter(prefix="/viewer", include_in_schema=False)

    @routes.api_route("", methods=READ)
    def with_slash(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{outside(request)}/viewer/{query}")

    @routes.api_route("/cesium/{part:path}", methods=READ)
    def of_cesium(request: Request, part: str) -> Response:
        if not cesium.is_dir():
            raise HTTPException(404, "Cesium is not installed: `make env` does it")
        path = inside(cesium, part)
        if path is None:
            raise HTTPException(404, f"Cesium has no file {part}")
        return files.answer(request, path, max_age_s=86_400)

    @routes.api_route("/{part:path}", methods=READ)
    def page(request: Request, part: str) -> Response:
        path = inside(viewer, part or "index.html")
        if path is None or path.suffix not in VIEWER_SUFFIXES or "node_modules" in path.parts:
            raise HTTPException(404, f"the viewer has no file {part}")
        return files.answer(request, path, max_age_s=0)

    return routes
