"""A product as a whole: where it is described, and deleting it; its files are `tiles.api`'s."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from catalog.store import get_item
from server.pages import outside
from server.query import known
from tiles.products import KEY, RESULTS, product_folder
from workers.withdraw import withdraw


def router(products: Path, pool: ConnectionPool) -> APIRouter:
    """Return the routes of *products* as a whole."""
    routes = APIRouter(tags=["Products"])

    @routes.get(
        "/products/{key}", operation_id="getProduct", status_code=303, response_class=Response
    )
    def get(request: Request, key: str) -> Response:
        """Where a product is described: its STAC Item, or the report of one that lies nowhere."""
        known(request)
        folder = product_folder(products, key)
        if folder is None:
            raise HTTPException(404, f"there is no product {key[:64]}")
        with pool.connection() as conn:
            item = get_item(conn, key)
        url = outside(request)
        if item:
            return RedirectResponse(f"{url}/stac/collections/{item['collection']}/items/{key}", 303)
        return RedirectResponse(f"{url}/products/{key}/{RESULTS}", 303)

    @routes.delete(
        "/products/{key}", operation_id="deleteProduct", status_code=204, response_class=Response
    )
    def delete(key: str) -> Response:
        """Delete a product: its item, footprints and files, and the results that name them."""
        return deleted(key)

    @routes.delete(
        "/stac/collections/{collection_id}/items/{item_id}",
        operation_id="deleteItem",
        tags=["stac"],
        status_code=204,
        response_class=Response,
    )
    def delete_item(collection_id: str, item_id: str) -> Response:
        """Delete a product by its item: as `DELETE /products/{key}`."""
        with pool.connection() as conn:
            item = get_item(conn, item_id, collection_id) if KEY.fullmatch(item_id) else None
        if item is None:
            raise HTTPException(404, f"there is no item {item_id[:64]} in {collection_id[:64]}")
        return deleted(item_id)

    def deleted(key: str) -> Response:
        gone = False
        if KEY.fullmatch(key):
            with pool.connection() as conn:
                gone = withdraw(conn, products, key)
        if not gone:
            raise HTTPException(404, f"there is no product {key[:64]}")
        return Response(status_code=204)

    return routes
