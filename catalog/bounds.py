"""How much may be asked of the catalogue: what the libraries below it survive.

CQL2's parser recurses on a stack that is not Python's: a text of 4000 brackets ends the whole
process, and 30 around a mistake take it years. Its check of a filter takes time by the
cube of the depth. What is posted is read whole. So all are bounded before any of them begins.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2**20
"""Of a body: an area of 20,000 corners."""
MOST_TEXT = 2000
"""Letters of a filter as text; half the least that is known to end the process."""
MOST_NESTED = 10
"""Brackets of such a text, one in the other: each doubles the time to find what is wrong in it."""
MOST_DEPTH = 24
"""Levels of a filter, or of a body, as JSON: eleven operators, one in the other."""
PLAIN_TEXT = re.compile(r"'[^'\"\\()]*'")


class TooMuch(Exception):
    """More is asked than is answered; says what to do."""


class Bounded:
    """ASGI middleware that refuses searches that are too long or too deep."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            for name, text in parse_qsl(scope["query_string"].decode("latin-1")):
                if name == "filter":
                    check_filter(text)
            receive = await _read(receive) if scope["method"] == "POST" else receive
        except TooMuch as fault:
            refusal = JSONResponse({"code": "BadRequest", "description": str(fault)}, 400)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def check_filter(text: str) -> None:
    """Raise TooMuch for a filter in CQL2, as text or as JSON, that is too long or too deep."""
    if text.lstrip().startswith("{"):
        _check_json(text.encode())
        return
    if len(text) > MOST_TEXT:
        raise TooMuch(f"the filter is longer than {MOST_TEXT} letters: POST it as cql2-json")
    if _nested(text) > MOST_NESTED:
        raise TooMuch(f"the filter nests more than {MOST_NESTED} brackets: POST it as cql2-json")
    from cql2 import Expr

    try:
        parsed = Expr(text).to_json()
    except Exception:  # bare, as cql2 raises it; the search itself says what is wrong
        return
    _check_depth(parsed)


def _nested(text: str) -> int:
    """Return how deep the brackets of a text nest, or more: quoted ones may count as open."""
    text = PLAIN_TEXT.sub("", text)
    if "'" in text or '"' in text:
        return text.count("(")
    depth = deepest = 0
    for letter in text:
        depth = max(0, depth + {"(": 1, ")": -1}.get(letter, 0))
        deepest = max(deepest, depth)
    return deepest


def _check_json(content: bytes) -> None:
    try:
        value = json.loads(content)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # which the search itself says
        return
    _check_depth(value)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            part
            for holder in level
            if isinstance(holder, dict | list)
            for part in (holder.values() if isinstance(holder, dict) else holder)
        ]
    if any(isinstance(part, dict | list) for part in level):
        raise _too_deep()


def _too_deep() -> TooMuch:
    return TooMuch(f"the search is nested deeper than {MOST_DEPTH} levels: ask more simply")


async def _read(receive: Receive) -> Receive:
    """Return what gives the body again that was read and checked. Raises TooMuch."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the sender has gone
            break
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise TooMuch(f"the body is larger than {MOST_BYTES >> 20} MiB: ask for less")
        if not message.get("more_body"):
            _check_json(bytes(body))
            message = {"type": "http.request", "body": bytes(body)}
            break
    waiting: list[Message] = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
