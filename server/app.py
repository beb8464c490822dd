"""The whole server as one ASGI application. Nothing happens at import; all is opened at start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib.metadata import version

from brotli_asgi import BrotliMiddleware
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.api import stac_app
from processes import PROCESSES
from server import errors, features, landing, ogc, products, uploads
from server.auth import KeyGuard
from server.callbacks import Caller
from server.desk import Desk
from server.openapi import describe
from server.patience import Patience
from server.proxy import Outside
from server.room import Room
from server.settings import Settings
from tiles.api import router as tiles_router
from workers.app import celery_app, enqueue
from workers.jobs import Job

POOL_SIZE = 8
POOL_WAIT_S = 5.0
# Tiles, products and the viewer are compressed where they are kept, or not at all: a range of a
# compressed COG would be a range of something else.
FILES = r"/(raster|vector|3dtiles|products|uploads|viewer)(/|$)"
NOT_COMPRESSED = [FILES, "/jobs/[^/]+/results"]
MOUNTED = re.compile(r".*" + FILES)  # they know HEAD themselves
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))
EXPOSED = ["Location", "Link", "Content-Crs", "Preference-Applied", "Orograph-Job"]


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its database and broker are first touched when it starts."""
    pool = ConnectionPool(
        settings.database_url or "",
        min_size=1,
        max_size=POOL_SIZE,
        timeout=POOL_WAIT_S,
        kwargs={"autocommit": True},  # one round trip a question, not three
        open=False,
        name="orograph",
    )
    celery = celery_app(settings.broker_url or "memory://")

    def send(job: Job) -> None:
        enqueue(celery, job.id, job.queue)

    desk = Desk(
        PROCESSES,
        pool,
        send,
        settings.data / "products",
        own_url=settings.url,
        sync_wait_s=settings.sync_wait_s,
        max_body_bytes=settings.max_body_bytes,
        max_waiting_jobs=settings.max_waiting_jobs,
        allowed_hosts=settings.allowed_hosts,
    )
    caller = Caller(pool, desk.told, settings.allowed_hosts)
    mounts: dict[str, FastAPI] = {"/stac": stac_app(settings.database_url or "")}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        pool.open(wait=False)
        going_on = [asyncio.create_task(task) for task in (caller.run(), desk.watch())]
        try:
            async with AsyncExitStack() as parts:
                for sub in mounts.values():
                    await parts.enter_async_context(sub.router.lifespan_context(sub))
                yield
        finally:
            for task in going_on:
                task.cancel()
            await asyncio.gather(*going_on, return_exceptions=True)
            desk.close()
            pool.close()
            celery.close()

    app = FastAPI(
        title=landing.TITLE,
        description=landing.DESCRIPTION,
        version=version("orograph"),
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    openapi = cache(lambda: describe(app, PROCESSES))  # takes a second
    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way
    errors.install(app)
    conformance = [*ogc.CONFORMANCE, *features.CONFORMANCE]
    app.include_router(landing.router(conformance, app.openapi))
    app.include_router(ogc.router(desk))
    app.include_router(features.router(features.Collections(pool, landing.TITLE)))
    sent = settings.data / "uploads"
    room = Room(sent, settings.max_uploads_bytes)
    app.include_router(uploads.router(sent, settings.max_asset_bytes, room))
    app.include_router(products.router(settings.data / "products", pool))
    app.include_router(tiles_router(settings.data / "products", pool))
    for path, mounted in mounts.items():
        app.mount(path, mounted)
    _wrap(app, settings)
    return app


def _wrap(app: FastAPI, settings: Settings) -> None:
    """Put the middleware around *app*; the last one added meets a request first."""
    app.add_middleware(KeyGuard, key=settings.api_key)
    app.add_middleware(BrotliMiddleware, excluded_handlers=NOT_COMPRESSED)
    # Anybody's page may read. It may change something if it has a key or was named: otherwise
    # every page in the operator's own browser could.
    changing = bool(settings.api_key or settings.cors_origins)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins or ("*",),
        allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE") if changing else ("GET", "HEAD"),
        allow_headers=("*",),
        expose_headers=EXPOSED,
    )
    app.add_middleware(Headers)
    app.add_middleware(Patience)
    app.add_middleware(Outside, public_url=settings.public_url, trusted=settings.trusted_proxies)


class Headers:
    """ASGI middleware: the headers every answer carries, and HEAD wherever there is GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope.get("method") == "HEAD" and not MOUNTED.match(scope["path"])

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                added = [(name, value) for name, value in HEADERS if name not in there]
                added.append((b"vary", b"Accept"))  # pages and JSON share their addresses
                message = {**message, "headers": [*message["headers"], *added]}
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if head else scope, receive, sent)
