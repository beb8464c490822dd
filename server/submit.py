"""`orograph submit`: a request with local files, run by a server far away.

Files travel first, each under the hash of its content, so that what the server has is not sent
again. A local STAC Item is written into the request itself, with its sensor models named, since
files that lie side by side here do not do so there.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from processes.core.errors import InvalidInput
from processes.core.process import Asset, StacObject
from server.auth import HEADER
from server.terminal import BAD_INPUT, DONE, FAILED, ProgressBar, read_request
from workers.acquisitions import Acquisition, acquisitions, is_stac
from workers.reader import Reader

DEFAULT_SERVER = "http://127.0.0.1:8000"
CHUNK_BYTES = 1 << 20
POLL_S = (0.1, 2.0)
PATIENCE_S = 60.0
OPEN = ("accepted", "running")
TIFF = "image/tiff; application=geotiff"


def submit(
    process_id: str, request_path: Path, server_url: str | None, *, api_key: str | None = None
) -> int:
    """Run a process on a server, show its progress, print its results; returns the exit code.

    0 when it is done, 1 when it failed or the server is away, 2 when the request is at fault.
    """
    server = (server_url or DEFAULT_SERVER).rstrip("/")
    headers = {"Accept": "application/json"} | ({HEADER: api_key} if api_key else {})
    # a proxy for the wide world knows nothing of this machine
    here = urlsplit(server).hostname in ("127.0.0.1", "localhost", "::1")
    try:
        with (
            httpx.Client(headers=headers, timeout=60.0, trust_env=not here) as client,
            tempfile.TemporaryDirectory(prefix="orograph-submit-") as cache,
        ):
            request = read_request(request_path)
            reader = Reader(cache=Path(cache), files=True)
            sender = Sender(client, server, reader, str(request_path.resolve()))
            body = request | {"inputs": sender.sent(request["inputs"])}
            return _run(client, f"{server}/processes/{process_id}/execution", body)
    except httpx.HTTPError as error:
        said = str(error) or type(error).__name__
        print(f"orograph: {server} does not answer: {said}", file=sys.stderr)
        return FAILED


class Sender:
    """Puts local files of a request on the server and writes the request accordingly."""

    def __init__(self, client: httpx.Client, server: str, reader: Reader, base: str) -> None:
        self._client, self._server, self._reader, self._base = client, server, reader, base

    def sent(self, value: Any, base: str | None = None) -> Any:
        """Return *value* with every local reference replaced by what the server can read."""
        base = base or self._base
        if isinstance(value, list):
            return [self.sent(entry, base) for entry in value]
        if not isinstance(value, Mapping):
            return value
        if value.get("type") == "Feature" and isinstance(value.get("assets"), Mapping):
            return self._item(value, base)
        if _is_local(value.get("href")):
            return self._reference(value, base)
        return {name: self.sent(entry, base) for name, entry in value.items()}

    def _reference(self, value: Mapping[str, Any], base: str) -> Any:
        path, address = self._reader.local(str(value["href"]), base)
        if is_stac(path):
            return self.sent(json.loads(path.read_bytes()), address)
        if path.suffix.lower() in (".tif", ".tiff", ".jp2"):
            (found,) = acquisitions(Asset(href=address), self._reader, None)
            if found.rpc_files:
                image = {"href": self._upload(path), "type": TIFF, "roles": ["data"]}
                return _as_item(found.id, {"image": image} | self._models(found))
        return dict(value) | {"href": self._upload(path)}

    def _item(self, item: Mapping[str, Any], base: str) -> dict[str, Any]:
        """Return a STAC Item whose image and sensor models are on the server, and no others."""
        (found,) = acquisitions(StacObject(**item), self._reader, base)
        assets: dict[str, Any] = {}
        for name, asset in item["assets"].items():
            if not _is_local(asset.get("href")):
                assets[name] = asset
            elif self._reader.local(asset["href"], base)[0] == found.image:
                assets[name] = asset | {"href": self._upload(found.image)}
        links = [link for link in item.get("links", []) if not _is_local(link.get("href"))]
        return dict(item) | {"assets": assets | self._models(found), "links": links}

    def _models(self, found: Acquisition) -> dict[str, Any]:
        return {
            f"rpc-{number}": {"href": self._upload(path), "roles": ["metadata", "rpc"]}
            for number, path in enumerate(found.rpc_files)
        }

    def _upload(self, path: Path) -> str:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        href = f"{self._server}/uploads/{digest}/{quote(path.name)}"
        if self._client.head(href).status_code == 200:
            return href
        size = path.stat().st_size
        print(f"sending {path.name}, {size / 1e6:.1f} MB", file=sys.stderr)
        length = {"Content-Length": str(size)}
        answer = self._client.put(href, content=_chunks(path), headers=length)
        if answer.status_code not in (200, 201, 204):
            raise InvalidInput(f"{path.name} was refused: {_detail(answer)}")
        return href


def _run(client: httpx.Client, url: str, body: Mapping[str, Any]) -> int:
    answer = client.post(url, json=body, headers={"Prefer": "respond-async"})
    if answer.status_code != 201:
        return _refused(answer)
    place = answer.headers["location"]
    print(f"job {place}", file=sys.stderr)
    job = followed(client, place)
    if job["status"] != "successful":
        why = job.get("exception", {})
        print(f"orograph: {job['status']}: {job.get('message', '')}", file=sys.stderr)
        return BAD_INPUT if 400 <= int(why.get("status", 500)) < 500 else FAILED
    results = client.get(f"{place}/results")
    if results.status_code != 200:
        return _refused(results)
    print(json.dumps(results.json(), indent=2))
    return DONE


def followed(client: httpx.Client, place: str) -> dict[str, Any]:
    """Return the job when it has ended; a server that is away for a moment is waited for."""
    pause_s, longest_s = POLL_S
    heard = time.monotonic()
    with ProgressBar() as bar:
        while True:
            try:
                answer = client.get(place)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                heard, job = time.monotonic(), answer.json()
                bar.show(job.get("progress", 0) / 100, job.get("message", job["status"]))
                if job["status"] not in OPEN:
                    return dict(job)
            elif (answer is not None and answer.status_code < 500) or (
                time.monotonic() - heard > PATIENCE_S
            ):
                raise httpx.TransportError(_detail(answer) if answer else "no answer any more")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, longest_s)


def _refused(answer: httpx.Response) -> int:
    print(f"orograph: {_detail(answer)}", file=sys.stderr)
    return BAD_INPUT if 400 <= answer.status_code < 500 else FAILED


def _detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body.get("detail") or body["title"])
    except (ValueError, KeyError, AttributeError):
        return f"{answer.status_code} {answer.reason_phrase}"


def _as_item(name: str, assets: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "id": name, "properties": {}, "assets": assets}


def _is_local(href: Any) -> bool:
    return isinstance(href, str) and not href.lower().startswith(("http://", "https://"))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
