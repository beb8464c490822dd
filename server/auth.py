"""Who may change something: whoever sends the API key, when one is set.

One gate for everything mounted: every method but GET, HEAD and OPTIONS needs the key, save the
few POSTs that only ask. So what is added later is guarded before anybody thinks of it.
"""

from __future__ import annotations

import hmac
import re

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import KeyNeeded, answer, problem

HEADER = "X-API-Key"
READING = {"GET", "HEAD", "OPTIONS"}
ASKING = re.compile(r"/stac/(search|aggregate)/?")
SCHEME = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": HEADER,
        "description": "Needed for every change when the operator has set OROGRAPH_API_KEY; "
        "`Authorization: Bearer` does as well.",
    }
}


class KeyGuard:
    """ASGI middleware that lets changes pass with the key only."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._key is None or not changes(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if hmac.compare_digest(_sent(request).encode(), self._key.encode()):
            await self._app(scope, receive, send)
            return
        fault = KeyNeeded(f"changes need the API key: send it as {HEADER}")
        await answer(request, problem(fault))(scope, receive, send)


def changes(scope: Scope) -> bool:
    """Say whether a request may change something."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    asks = scope["method"] == "POST" and ASKING.fullmatch(path)
    return scope["method"] not in READING and not asks


def _sent(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get(HEADER, bearer)
