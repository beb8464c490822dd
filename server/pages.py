"""Pages for people: the same answers as HTML, and who gets them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

TEMPLATES = Path(__file__).parent / "templates"
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "script-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
)


def outside(request: Request) -> str:
    """Return this server's URL as its user sees it, prefix included, no slash at the end."""
    return str(request.scope.get("outside_url") or request.base_url).rstrip("/")


def wants_html(request: Request) -> bool:
    """Say whether a page was asked for: by `f=html`, else by Accept; JSON where in doubt."""
    asked = request.query_params.get("f")
    if asked is not None:
        return asked == "html"
    weights = {"html": 0.0, "json": 0.0}
    for entry in request.headers.get("accept", "").lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((_weight(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        if kind in ("text/html", "application/xhtml+xml"):
            weights["html"] = max(weights["html"], weight)
        elif kind.endswith(("/json", "+json")):
            weights["json"] = max(weights["json"], weight)
    return weights["html"] > weights["json"]


def page(
    request: Request,
    template: str,
    data: dict[str, Any],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a rendered template; *data* is the JSON answer it shows."""
    text = _templates().get_template(template).render(data=data, url=outside(request))
    return HTMLResponse(text, status, {"Content-Security-Policy": POLICY, **(headers or {})})


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    return environment
