"""Files sent ahead of a request, each under the SHA-256 of its content: sent once, kept as is."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from processes.core.errors import InvalidInput
from server.errors import TooLarge
from server.pages import outside
from server.room import Room
from tiles.files import Files

DIGEST = re.compile(r"[0-9a-f]{64}")
# no leading dot, no slash, nothing a shell, a header or a URL could trip over
NAME = re.compile(r"[\w(+@][\w .,()+@=-]{0,199}")
FLUSH_BYTES = 4 * 2**20


def router(folder: Path, max_bytes: int, room: Room) -> APIRouter:
    """Return the routes of uploads kept in *folder*, each and all together within bounds."""
    routes = APIRouter(tags=["Uploads"])
    files = Files()
    here = "/uploads/{digest}/{name}"

    @routes.put(here, operation_id="putUpload", status_code=201, response_class=Response)
    async def put(request: Request, digest: str, name: str) -> Response:
        """Send a file; `digest` is the SHA-256 of its content, in hexadecimal."""
        path = _place(folder, digest, name)
        if path.is_file():
            path.parent.touch()  # what is asked for is kept
            return JSONResponse({"href": _address(request, path)}, 200)
        return await kept(request, name, digest)

    @routes.put(
        "/uploads/{name}", operation_id="sendFile", status_code=201, response_class=Response
    )
    async def put_named(request: Request, name: str) -> Response:
        """Send a file whose SHA-256 is not known yet: `href` says where it is kept."""
        return await kept(request, name, None)

    async def kept(request: Request, name: str, digest: str | None) -> Response:
        _place(folder, digest or "0" * 64, name)
        announced = int(request.headers.get("content-length", "0"))
        if announced > max_bytes:
            raise TooLarge(f"{name} exceeds {max_bytes} bytes: crop it")
        await room.ask(announced)
        part = folder / f".{uuid.uuid4().hex}.part"
        try:
            with room.arriving() as take:
                found = await _received(request, part, max_bytes, take)
                if digest not in (None, found):
                    raise InvalidInput(
                        f"{name} is not what its address says: its SHA-256 is {found}"
                    )
                path = _place(folder, found, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        href = _address(request, path)
        return JSONResponse({"href": href}, 201, {"Location": href})

    @routes.head(here, include_in_schema=False)
    @routes.get(here, operation_id="getUpload", response_class=Response)
    def get(request: Request, digest: str, name: str) -> Response:
        """A file that was sent; parts of it by Range."""
        path = _place(folder, digest, name)
        if not path.is_file():
            raise HTTPException(404, f"there is no upload {digest[:12]}…/{name}")
        path.parent.touch()
        response = files.answer(request, path, media_type="application/octet-stream")
        # whatever it is, it is not a page of this server
        response.headers["Content-Disposition"] = "attachment"
        return response

    return routes


async def _received(
    request: Request, part: Path, max_bytes: int, take: Callable[[int], None]
) -> str:
    """Write the body to *part* and return its SHA-256; nothing large is ever held.

    *take* is told of every chunk before it is written.
    """
    hashed, size, waiting = hashlib.sha256(), 0, bytearray()

    def flush() -> None:
        hashed.update(waiting)
        file.write(waiting)
        waiting.clear()

    with part.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise TooLarge(f"the file exceeds {max_bytes} bytes: crop it")
            take(len(chunk))
            waiting += chunk
            if len(waiting) >= FLUSH_BYTES:
                await run_in_threadpool(flush)
        await run_in_threadpool(flush)
    return hashed.hexdigest()


def _address(request: Request, path: Path) -> str:
    return f"{outside(request)}/uploads/{path.parent.name}/{quote(path.name)}"


def _place(folder: Path, digest: str, name: str) -> Path:
    if not DIGEST.fullmatch(digest):
        raise InvalidInput("the address of an upload is /uploads/SHA256/NAME, in lower case")
    if not NAME.fullmatch(name):
        raise InvalidInput("name the file by letters, digits, spaces and . , ( ) + @ = - _")
    return folder / digest / name
