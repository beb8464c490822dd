"""Results of a job: as one document, raw, or one output alone.

A document names files by reference unless their value was asked for and is small. Raw gives the
bytes themselves: one output as it is, several as multipart/related, references as Link headers.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from server.errors import NoSuchOutput
from workers.jobs import Job

MAX_INLINE_BYTES = 16 * 2**20
TILESET = "tileset"
TEXT = "text/plain; charset=utf-8"


class Results:
    """The chosen outputs of a successful job, as seen from *url*, with files in *products*."""

    def __init__(self, job: Job, url: str, products: Path, order: Sequence[str]) -> None:
        self._job, self._url, self._products = job, url, products
        self._modes: dict[str, str | None] = job.request.get("outputs") or {}
        known = {name: value for name, value in (job.results or {}).items() if value is not None}
        # PostgreSQL sorts the members of an object by their length
        self._values = {
            name: known[name] for name in dict.fromkeys([*order, *known]) if name in known
        }

    def document(self) -> dict[str, Any]:
        """Return every chosen output, by value or by reference."""
        return {name: self._shown(name) for name in self._chosen()}

    def response(self) -> Response:
        """Return the results in the form the request asked for."""
        if self._job.request.get("response") != "raw":
            return JSONResponse(self.document())
        chosen = self._chosen()
        if chosen and all(self._modes.get(name) == "reference" for name in chosen):
            links = [f'<{self._link(name)["href"]}>; rel="{name}"' for name in chosen]
            return Response(status_code=204, headers={"Link": ", ".join(links)})
        if len(chosen) == 1:
            return self.output(chosen[0])
        return self._multipart(chosen)

    def output(self, name: str) -> Response:
        """Return one output's value itself. Raises NoSuchOutput."""
        if name not in self._values:
            known = ", ".join(self._values) or "none"
            raise NoSuchOutput(f"job {self._job.id} has no output {name}: there are {known}")
        value = self._values[name]
        if not _is_asset(value):
            content, kind = _encoded(value)
            return Response(content, media_type=kind)
        path = self._path(value)
        if path is None or path.name == "tileset.json":  # its tiles lie beside it
            return RedirectResponse(self._link(name)["href"], 303)
        kind = value.get("type") or "application/octet-stream"
        location = {"Content-Location": self._link(name)["href"]}
        return FileResponse(path, media_type=kind, filename=path.name, headers=location)

    def _chosen(self) -> list[str]:
        return [name for name in self._values if not self._modes or name in self._modes]

    def _shown(self, name: str) -> Any:
        value, mode = self._values[name], self._modes.get(name)
        if _is_asset(value):
            return (mode == "value" and self._inline(value)) or self._link(name)
        if mode == "reference":
            return self._link(name)
        # OGC takes an object for a qualified value or a link, save a bounding box
        return {"value": value} if isinstance(value, Mapping) and "bbox" not in value else value

    def _link(self, name: str) -> dict[str, str]:
        value = self._values[name]
        if not _is_asset(value):
            href = f"{self._url}/jobs/{self._job.id}/results/{quote(name)}"
            return {"href": href, "type": _encoded(value)[1]}
        href = value["href"]
        if name == TILESET and PurePosixPath(href).name == f"{TILESET}.json":
            href = f"{self._url}/3dtiles/{self._job.key}/{TILESET}.json"
        elif "://" not in href:
            href = f"{self._url}/products/{self._job.key}/{quote(href)}"
        return {"href": href} | ({"type": value["type"]} if value.get("type") else {})

    def _inline(self, asset: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a small file's content as a qualified value."""
        path = self._path(asset)
        if path is None or path.stat().st_size > MAX_INLINE_BYTES:
            return None
        kind = asset.get("type") or "application/octet-stream"
        content = path.read_bytes()
        if "json" in kind:
            return {"value": json.loads(content), "mediaType": kind}
        if kind.startswith("text/"):
            return {"value": content.decode("utf-8"), "mediaType": kind}
        encoded = base64.b64encode(content).decode("ascii")
        return {"value": encoded, "encoding": "base64", "mediaType": kind}

    def _multipart(self, chosen: list[str]) -> Response:
        boundary = secrets.token_hex(16)
        body = bytearray()
        for name in chosen:
            value = self._values[name]
            path = self._path(value) if _is_asset(value) else None
            head = {"Content-ID": f"<{name}>"}
            content = b""
            if not _is_asset(value) and self._modes.get(name) != "reference":
                content, head["Content-Type"] = _encoded(value)
            elif path and self._modes.get(name) == "value" and _is_small(path):
                content = path.read_bytes()
                head["Content-Type"] = value.get("type") or "application/octet-stream"
            else:
                head["Content-Location"] = self._link(name)["href"]
            lines = "".join(f"{key}: {text}\r\n" for key, text in head.items())
            body += f"--{boundary}\r\n{lines}\r\n".encode() + content + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        return Response(bytes(body), media_type=f"multipart/related; boundary={boundary}")

    def _path(self, asset: Mapping[str, Any]) -> Path | None:
        if "://" in asset["href"] or self._job.key is None:
            return None
        folder = (self._products / self._job.key).resolve()
        path = (folder / asset["href"]).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= MAX_INLINE_BYTES


def _is_asset(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("href"), str)


def _encoded(value: Any) -> tuple[bytes, str]:
    if isinstance(value, str):
        return value.encode(), TEXT
    return json.dumps(value, ensure_ascii=False).encode(), "application/json"
