"""`orograph submit`: a request with local files, run by a server far away."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from server.auth import HEADER
from server.sender import Sender, detail
from server.terminal import BAD_INPUT, DONE, FAILED, ProgressBar, read_request
from workers.reader import Reader

POLL_S = (0.1, 2.0)
PATIENCE_S = 60.0
OPEN = ("accepted", "running")


def submit(
    process_id: str, request_path: Path, server_url: str, *, api_key: str | None = None
) -> int:
    """Run a process on a server, show its progress, print its results; returns the exit code.

    0 when it is done, 1 when it failed or the server is away, 2 when the request is at fault.
    """
    server = server_url.rstrip("/")
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
    except httpx.HTTPStatusError as error:
        print(f"orograph: {error}", file=sys.stderr)
        return FAILED
    except httpx.HTTPError as error:
        said = str(error) or type(error).__name__
        print(f"orograph: {server} does not answer: {said}", file=sys.stderr)
        return FAILED


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
                raise httpx.TransportError(detail(answer) if answer else "no answer any more")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, longest_s)


def _refused(answer: httpx.Response) -> int:
    print(f"orograph: {detail(answer)}", file=sys.stderr)
    return BAD_INPUT if 400 <= answer.status_code < 500 else FAILED
