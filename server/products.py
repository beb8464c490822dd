"""Deleting a product; reading one is `tiles.api`'s."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tiles.products import KEY
from workers.withdraw import withdraw


def router(products: Path, pool: ConnectionPool) -> APIRouter:
    """Return the route that deletes one of *products*."""
    routes = APIRouter(tags=["Products"])

    @routes.delete(
        "/products/{key}", operation_id="deleteProduct", status_code=204, response_class=Response
    )
    def delete(key: str) -> Response:
        """Delete a product: its item, footprints and files, and the results that name them."""
        gone = False
        if KEY.fullmatch(key):
            with pool.connection() as conn:
                gone = withdraw(conn, products, key)
        if not gone:
            raise HTTPException(404, f"there is no product {key[:64]}")
        return Response(status_code=204)

    return routes
