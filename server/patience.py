"""How long a sender may be silent within its request: it holds a connection and an open file."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_S = 60.0


class Patience:
    """ASGI middleware that takes a sender for gone who has sent nothing for *longest_s*."""

    def __init__(self, app: ASGIApp, longest_s: float = LONGEST_S) -> None:
        self._app, self._longest_s = app, longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole = scope["type"] != "http"

        async def heard() -> Message:
            nonlocal whole
            if whole:  # what is waited for now is the end of the connection
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._longest_s)
            except TimeoutError:
                message = {"type": "http.disconnect"}
            whole = not message.get("more_body")
            return message

        await self._app(scope, heard, send)
