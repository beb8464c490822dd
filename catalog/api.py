"""The catalogue over HTTP: stac-fastapi on pgstac, read only, to be mounted below a path.

Stored addresses are below `items.ROOT`; each answer gets the address its reader called instead.
Compression, CORS and what a proxy says are the business of the application around it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import asyncpg
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.addresses import ROOT
from catalog.bounds import Bounded

POOL_SIZE = 4
STATEMENT_MS = 20_000
PATIENCE_S = 10.0

log = logging.getLogger("orograph.catalog")


def stac_app(database_url: str, *, path: str = "/stac", pool_size: int = POOL_SIZE) -> FastAPI:
    """Return the STAC API, which is mounted at *path*; its database is opened by its lifespan.

    The database need not be there at the start: until it is, answers are 503.
    """
    # stac-fastapi warns while it is imported that it has defaults, whatever it is told later
    logging.getLogger("stac_fastapi.types.config").setLevel(logging.ERROR)
    from stac_fastapi.pgstac.app import instantiate_api
    from stac_fastapi.pgstac.config import Settings
    from stac_fastapi.pgstac.db import con_init, translate_pgstac_errors
    from stac_fastapi.pgstac.models.extensions import Extensions

    @asynccontextmanager
    async def connection(request: Request, readwrite: str = "r") -> AsyncIterator[Any]:
        pool = request.app.state.readpool
        with translate_pgstac_errors():
            async with pool.acquire(timeout=PATIENCE_S) as acquired:
                yield acquired

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            database_url,
            min_size=0,
            max_size=pool_size,
            timeout=PATIENCE_S,
            init=con_init,
            server_settings={
                "search_path": "pgstac,public",
                "application_name": "orograph-stac",
                "statement_timeout": str(STATEMENT_MS),
            },
        ) as pool:
            app.state.readpool = pool
            app.state.get_connection = connection
            yield

    # constructed, not read from an environment that may be meant for another program
    settings = Settings.model_construct(
        stac_fastapi_title="Orograph",
        stac_fastapi_description="Surface and terrain models, orthoimages and buildings in 3D.",
        stac_fastapi_version=version("orograph"),
        enable_transactions_extensions=False,
    )
    api = instantiate_api(
        settings=settings, extensions=Extensions(settings=settings), lifespan=lifespan
    )
    api.client.landing_page_id = "orograph"
    api.client.stac_version = "1.1.0"
    # version 1.1 of sorting holds 1.0, which is what clients look for
    sort = "https://api.stacspec.org/v1.0.0/item-search#sort"
    api.client.base_conformance_classes = [*api.client.base_conformance_classes, sort]
    app: FastAPI = api.app
    # stac-fastapi's own would compress below us, and believe anybody's X-Forwarded-Host
    app.user_middleware = [Middleware(Rooted, path=path), Middleware(Bounded)]
    for fault in (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
        app.add_exception_handler(fault, _no_database)
    app.add_exception_handler(asyncpg.QueryCanceledError, _too_long)
    for refusal in (asyncpg.DataError, asyncpg.RaiseError):
        app.add_exception_handler(refusal, _bad_request)
    return app


class Rooted:
    """ASGI middleware: links below our mount, and stored addresses moved to the caller's root."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Starlette hands these down to what it mounts, which would then find its parent's links
        own = {name: scope[name] for name in scope if name not in ("app_root_path", "router")}
        base = str(Request(own).base_url).rstrip("/")
        await self._app(own, receive, _Moved(send, base.removesuffix(self._path)))


class _Moved:
    """Holds a JSON answer until it is whole, and replaces `ROOT` in it."""

    def __init__(self, send: Send, url: str) -> None:
        self._send, self._url = send, url.encode()
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_json(message["headers"]):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        body = self._body.replace(ROOT.encode(), self._url)
        headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_json(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(k.lower() == b"content-type" and b"json" in v for k, v in headers)


async def _no_database(request: Request, error: Exception) -> Response:
    log.error("database: %s", error)
    return _fault(503, "the catalogue's database is away: try again soon", {"Retry-After": "5"})


async def _too_long(request: Request, error: Exception) -> Response:
    return _fault(503, "the search took too long: ask for less")


async def _bad_request(request: Request, error: Exception) -> Response:
    return _fault(400, str(error).splitlines()[0])


def _fault(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    body: dict[str, Any] = {"code": {400: "BadRequest", 503: "Unavailable"}[status]}
    return JSONResponse(body | {"description": detail}, status, headers)
