"""Query parameters and pages: what OGC APIs have in common. A bad parameter is named."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request

from server.errors import BadParameter
from server.pages import outside

MAX_LIMIT = 1000


def known(request: Request, *names: str) -> None:
    """Raises BadParameter for a query parameter that is not one of *names* or `f`."""
    for name in request.query_params:
        if name not in ("f", *names):
            there_are = ", ".join(("f", *names))
            raise BadParameter(f"{name} is no query parameter here: use {there_are}")
    form = request.query_params.get("f", "json")
    if form not in ("json", "html"):
        raise BadParameter(f"f is {form}: use json or html")


def bounds(limit: int, offset: int) -> tuple[int, int]:
    if limit < 1:
        raise BadParameter("limit must be at least 1")
    if not 0 <= offset < 2**31:
        raise BadParameter("offset must not be negative")
    return min(limit, MAX_LIMIT), offset


def several(request: Request, name: str, allowed: tuple[str, ...] = ()) -> list[str]:
    values = [part for text in request.query_params.getlist(name) for part in text.split(",")]
    for value in values:
        if allowed and value not in allowed:
            raise BadParameter(f"{name} is {value}: use {', '.join(allowed)}")
        if "\x00" in value:
            raise BadParameter(f"{name} holds a zero byte")
    return values


def interval(text: str | None) -> tuple[datetime | None, datetime | None]:
    """Return both ends of OGC's `datetime`; None is open. Raises BadParameter."""
    if text is None:
        return None, None
    begin, slash, end = text.partition("/")
    since = _moment(begin)
    return since, _moment(end) if slash else since


def _moment(text: str) -> datetime | None:
    if text in ("", ".."):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadParameter(f"datetime: {text} is not RFC 3339, like 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def page_links(request: Request, limit: int, offset: int, matched: int) -> list[dict[str, str]]:
    here = f"{outside(request)}{request.url.path.removeprefix(request.scope.get('root_path', ''))}"

    def at(start: int | None, form: str | None = None) -> str:
        url = request.url.remove_query_params(["f", "offset"])
        if start is not None:
            url = url.include_query_params(limit=limit, offset=start)
        if form:
            url = url.include_query_params(f=form)
        return f"{here}?{url.query}" if url.query else here

    first = offset or None
    links = [
        link(at(first), "self", "This document"),
        link(at(first, "html"), "alternate", "This document as a page", "text/html"),
    ]
    if offset + limit < matched:
        links.append(link(at(offset + limit), "next", "Next page"))
    if offset > 0:
        links.append(link(at(max(offset - limit, 0)), "prev", "Previous page"))
    return links


def link(href: str, rel: str, title: str, kind: str = "application/json") -> dict[str, str]:
    return {"href": href, "rel": rel, "type": kind, "title": title}
