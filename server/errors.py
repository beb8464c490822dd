"""What a fault is in HTTP: one table from error class to status and OGC exception type.

Every fault leaves as an OGC exception (RFC 7807): `application/problem+json`, or plain
`application/json` to whoever asks for exactly that, as the official tests do, or a page.
"""

from __future__ import annotations

import errno
import logging
import uuid
from http import HTTPStatus
from typing import Any

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from processes.core import errors as core
from processes.core.errors import OrographError
from server.pages import page, wants_html

LOG = logging.getLogger("orograph.server")

OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"


class NoSuchProcess(OrographError):
    """A process id that is not in the list."""


class NoSuchJob(OrographError):
    """A job id that is not in the table."""


class NoSuchOutput(OrographError):
    """A job without that output."""


class ResultNotReady(OrographError):
    """Results of a job that still runs."""


class Dismissed(OrographError):
    """Results of a job that was dismissed."""


class BadParameter(OrographError):
    """A query parameter that is not known or does not fit."""


class WrongMediaType(OrographError):
    """A body that is not JSON."""


class TooLarge(OrographError):
    """A body beyond the limit."""


class NoRoom(OrographError):
    """An upload that all uploads together leave no room for."""


class TooManyJobs(OrographError):
    """A job where too many wait already."""


class KeyNeeded(OrographError):
    """A change without the API key."""


class JobFailed(OrographError):
    """A job that failed of itself, not by its request."""


STATUS: dict[type[OrographError], tuple[int, str]] = {
    core.InvalidInput: (400, "InvalidParameterValue"),
    core.AssetMissing: (404, "AssetMissing"),
    core.AssetForbidden: (403, "AssetForbidden"),
    core.AssetUnreadable: (422, "AssetUnreadable"),
    core.EmptyItem: (422, "EmptyItem"),
    core.TooFewImages: (422, "TooFewImages"),
    core.NoRpc: (422, "NoRpc"),
    core.BrokenRpc: (422, "BrokenRpc"),
    core.NoOverlap: (422, "NoOverlap"),
    core.NoTexture: (422, "NoTexture"),
    core.OutsideArea: (422, "OutsideArea"),
    core.UnknownCrs: (422, "UnknownCrs"),
    core.GridMismatch: (422, "GridMismatch"),
    core.NoGround: (422, "NoGround"),
    core.NothingToCompare: (422, "NothingToCompare"),
    core.Cancelled: (410, "Cancelled"),
    NoSuchProcess: (404, OGC + "no-such-process"),
    NoSuchJob: (404, OGC + "no-such-job"),
    NoSuchOutput: (404, OGC + "no-such-output"),
    ResultNotReady: (404, OGC + "result-not-ready"),
    Dismissed: (410, "Dismissed"),
    BadParameter: (400, "InvalidParameterValue"),
    WrongMediaType: (400, "UnsupportedMediaType"),
    TooLarge: (413, "ContentTooLarge"),
    NoRoom: (507, "InsufficientStorage"),
    TooManyJobs: (503, "TooManyJobs"),
    KeyNeeded: (401, "Unauthorized"),
    JobFailed: (500, "JobFailed"),
}
NAMED = {error.__name__: error for error in STATUS}
MAX_DETAIL = 1000
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
HTTP_TYPES = {404: "NotFound", 405: "MethodNotAllowed", 406: "NotAcceptable"}


def problem(error: OrographError) -> dict[str, Any]:
    """Return a fault as OGC's exception.yaml wants it."""
    status, kind = next(
        (STATUS[known] for known in type(error).__mro__ if known in STATUS), (422, "Fault")
    )
    detail = str(error)
    if len(detail) > MAX_DETAIL:  # what was sent is quoted in it
        detail = detail[:MAX_DETAIL] + "…"
    return {"type": kind, "title": _title(type(error)), "status": status, "detail": detail}


def remembered(name: str, message: str) -> dict[str, Any]:
    """Return the fault of a failed job from what its worker wrote down."""
    return problem(NAMED.get(name, JobFailed)(message))


def answer(request: Request, body: dict[str, Any]) -> Response:
    """Return a fault in the form its asker reads."""
    status = int(body["status"])
    headers = {"WWW-Authenticate": "ApiKey"} if status == 401 else {}
    if status == 503:
        headers["Retry-After"] = "5"
    if wants_html(request):
        return page(request, "fault.html", body, status=status, headers=headers)
    accepted = request.headers.get("accept", "").replace(" ", "").lower()
    plain = "application/json" in accepted and "problem+json" not in accepted
    media_type = "application/json" if plain else "application/problem+json"
    return JSONResponse(body, status, headers, media_type)


def install(app: FastAPI) -> None:
    """Make *app* answer every fault with an OGC exception."""

    @app.exception_handler(OrographError)
    async def fault(request: Request, error: OrographError) -> Response:
        return answer(request, problem(error))

    @app.exception_handler(RequestValidationError)
    async def parameter(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        return answer(request, problem(BadParameter(f"{name}: {first['msg']}")))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        status = error.status_code
        kind = HTTP_TYPES.get(status, "about:blank")
        phrase = HTTPStatus(status).phrase
        where = f"{request.method} {request.url.path}"
        detail = where if error.detail == phrase else str(error.detail)
        body = {"type": kind, "title": phrase, "status": status, "detail": detail}
        response = answer(request, body)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        detail = "the request did not come to its end"
        body = {"type": "RequestTimeout", "title": "Request timeout", "status": 408}
        response = answer(request, body | {"detail": detail})
        response.headers["Connection"] = "close"
        return response

    async def no_database(request: Request, error: Exception) -> Response:
        LOG.error("database: %s", error)
        return answer(
            request,
            {
                "type": "DatabaseUnavailable",
                "title": "Database unavailable",
                "status": 503,
                "detail": "the server cannot reach its database: try again soon",
            },
        )

    app.add_exception_handler(psycopg.OperationalError, no_database)
    app.add_exception_handler(psycopg_pool.PoolTimeout, no_database)

    @app.exception_handler(OSError)
    async def system(request: Request, error: OSError) -> Response:
        if error.errno not in NO_ROOM:
            return await unexpected(request, error)
        LOG.error("cannot store at %s: %s", request.url.path, error)
        return answer(
            request,
            {
                "type": "InsufficientStorage",
                "title": "Insufficient storage",
                "status": 507,
                "detail": "the server cannot store it: its operator must make room",
            },
        )

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        mark = uuid.uuid4().hex[:12]
        LOG.error("fault %s at %s", mark, request.url.path, exc_info=error)
        return answer(
            request,
            {
                "type": "InternalError",
                "title": "Internal error",
                "status": 500,
                "detail": f"an error of the server, not of the request: logged as {mark}",
            },
        )


def _title(kind: type[OrographError]) -> str:
    doc = (kind.__doc__ or kind.__name__).split("\n")[0]
    return doc.rstrip(".")
