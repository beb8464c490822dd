"""What every answer here shares: tags, who has it already, and where the server is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response


def outside(request: Request) -> str:
    """Return the server's URL as its user sees it, prefix included, no slash at the end."""
    return str(request.base_url).rstrip("/")


def unless_known(request: Request, response: Response) -> Response:
    """Return *response*, or 304 to whoever has it already."""
    tag = response.headers.get("etag")
    if tag is None or not is_known(request, tag):
        return response
    kept = ("etag", "cache-control", "vary")
    headers = {name: response.headers[name] for name in kept if name in response.headers}
    return Response(status_code=304, headers=headers)


def is_known(request: Request, tag: str) -> bool:
    """Say whether If-None-Match names *tag*; a weak one is as good."""
    header = request.headers.get("if-none-match", "")
    known = [part.strip().removeprefix("W/") for part in header.split(",")]
    return tag in known or known == ["*"]


def accepts(request: Request, coding: str) -> bool:
    """Say whether a content coding may be used."""
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == coding:
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
