"""The server as its user sees it: behind a proxy, below a prefix, or neither.

Either the operator says where that is (`OROGRAPH_PUBLIC_URL`), or a trusted proxy does with
`X-Forwarded-Proto`, `-Host` and `-Prefix`. The request is rewritten once, here, so that every
link, ours and those of mounted applications, is right without knowing of it. A prefix may arrive
in the path or be cut off by the proxy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?")
PREFIX = re.compile(r"(/[\w.~-]+)+")


class Outside:
    """ASGI middleware that gives each request its outside scheme, host and prefix."""

    def __init__(self, app: ASGIApp, public_url: str | None, trusted: Sequence[str]) -> None:
        self._app, self._trusted = app, frozenset(trusted)
        parts = urlsplit(public_url) if public_url else None
        self._fixed = (parts.scheme, parts.netloc, parts.path.rstrip("/")) if parts else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = self._seen(scope)
        await self._app(scope, receive, send)

    def _seen(self, scope: Scope) -> Scope:
        scheme, host, prefix = self._fixed or self._told(scope)
        path, raw = scope["path"], scope.get("raw_path") or scope["path"].encode()
        if prefix and path != prefix and not path.startswith(prefix + "/"):
            path, raw = prefix + path, prefix.encode() + raw
        kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
        return dict(scope) | {
            "scheme": scheme,
            "headers": [(b"host", host.encode()), *kept],
            "root_path": prefix,
            "path": path,
            "raw_path": raw,
            "outside_url": f"{scheme}://{host}{prefix}",
        }

    def _told(self, scope: Scope) -> tuple[str, str, str]:
        """Return what a trusted proxy says, as far as it is well formed, else what came in."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        server = scope.get("server") or ("localhost", None)
        scheme = scope.get("scheme", "http")
        host = headers.get("host", f"{server[0]}:{server[1]}" if server[1] else server[0])
        prefix = scope.get("root_path", "").rstrip("/")
        peer = (scope.get("client") or ("",))[0]
        if "*" in self._trusted or peer in self._trusted:
            scheme = _first(headers.get("x-forwarded-proto")) or scheme
            host = _first(headers.get("x-forwarded-host")) or host
            prefix = _first(headers.get("x-forwarded-prefix")).rstrip("/") or prefix
        return (
            scheme if scheme in ("http", "https") else "http",
            host if HOST.fullmatch(host) else "localhost",
            prefix if PREFIX.fullmatch(prefix) else "",
        )


class Mounted:
    """A mounted application that finds its own links: Starlette hands down those of its parent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        own = {name: scope[name] for name in scope if name not in ("app_root_path", "router")}
        await self.app(own, receive, send)


def _first(value: str | None) -> str:
    """Return the first of a list of proxies' words: that of the outermost."""
    return (value or "").split(",")[0].strip()
