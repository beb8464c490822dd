"""Uploads: kept under the hash of their content, refused when it is another, never executed."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

from server.app import create_app
from server.errors import install
from server.patience import Patience
from server.settings import Settings

CONTENT = b"II*\x00" + bytes(range(256)) * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PLACE = f"/uploads/{DIGEST}/left image (1).tif"


def test_a_file_is_kept_once_and_read_in_parts(client: TestClient, place: Settings) -> None:
    assert client.head(PLACE).status_code == 404
    sent = client.put(PLACE, content=CONTENT)
    assert sent.status_code == 201
    assert sent.json()["href"] == f"http://maps.example/uploads/{DIGEST}/left%20image%20%281%29.tif"
    assert client.put(PLACE, content=CONTENT).status_code == 200
    assert client.head(PLACE).headers["content-length"] == str(len(CONTENT))
    got = client.get(sent.json()["href"])
    assert got.content == CONTENT
    assert got.headers["content-disposition"] == "attachment"
    assert client.get(PLACE, headers={"Range": "bytes=4-7"}).content == bytes([0, 1, 2, 3])
    assert [path.name for path in (place.data / "uploads").iterdir()] == [DIGEST]


def test_other_content_than_its_name_says_is_refused(client: TestClient, place: Settings) -> None:
    wrong = f"/uploads/{'0' * 64}/x.tif"
    answer = client.put(wrong, content=CONTENT)
    assert answer.status_code == 400
    assert DIGEST in answer.json()["detail"]
    assert client.get(wrong).status_code == 404
    assert not list((place.data / "uploads").glob(".*.part"))


@pytest.mark.parametrize(
    "path",
    [
        "/uploads/abc/x.tif",
        f"/uploads/{DIGEST.upper()}/x.tif",
        f"/uploads/{DIGEST}/.hidden",
        f"/uploads/{DIGEST}/a%00b",
        f"/uploads/{DIGEST}/a%0ab",
        f"/uploads/{DIGEST}/%2e%2e",
        f"/uploads/{DIGEST}/..%2f..%2fx",
        f"/uploads/{DIGEST}/{'a' * 201}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_bad_name_is_refused(client: TestClient, path: str, method: str) -> None:
    assert client.request(method, path, content=b"x").status_code in (400, 404)


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_beyond_the_limit_is_refused(place: Settings, announced: bool) -> None:
    def chunks() -> Any:
        yield from [CONTENT] * 2

    settings = place.model_copy(update={"max_asset_bytes": len(CONTENT)})
    client = TestClient(create_app(settings))
    body = CONTENT + b"x" if announced else chunks()
    answer = client.put(f"/uploads/{'1' * 64}/x.tif", content=body)
    assert answer.status_code == 413


def test_a_full_disk_is_said_so() -> None:
    app = FastAPI()
    install(app)

    @app.put("/{number}")
    def write(number: int) -> None:
        raise OSError(number, "said by the system", "/srv/keys")

    client = TestClient(app)
    full = client.put(f"/{errno.ENOSPC}")
    assert (full.status_code, full.json()["type"]) == (507, "InsufficientStorage")
    other = client.put(f"/{errno.EIO}")
    assert (other.status_code, other.json()["type"]) == (500, "InternalError")
    assert "/srv" not in full.text + other.text


def test_a_sender_that_falls_silent_is_let_go(place: Settings) -> None:
    """It would hold a connection and an open file for ever, and so might a thousand others."""
    part = {"type": "http.request", "body": CONTENT, "more_body": True}
    answers: list[Message] = []

    async def silent() -> Message:
        if not answers and waiting:
            return waiting.pop()
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Message) -> None:
        answers.append(message)

    waiting: list[Message] = [part]
    scope = {
        "type": "http", "http_version": "1.1", "method": "PUT", "headers": [],
        "path": f"/uploads/{'2' * 64}/x.tif", "query_string": b"",
    }  # fmt: skip
    app = Patience(create_app(place), longest_s=0.2)
    asyncio.run(asyncio.wait_for(app(scope, silent, send), 30))
    assert answers[0]["status"] == 408
    assert (b"connection", b"close") in answers[0]["headers"]
    assert not list((place.data / "uploads").glob(".*.part"))


def test_a_file_is_sent_by_its_name_alone(client: TestClient, place: Settings) -> None:
    """As `curl -T` does, and a page that cannot hash gigabytes."""
    content = CONTENT + b"another"
    digest = hashlib.sha256(content).hexdigest()
    for _ in range(2):
        sent = client.put("/uploads/right image.tif", content=content)
        assert sent.status_code == 201
        assert sent.json()["href"] == sent.headers["location"]
        assert sent.json()["href"] == f"http://maps.example/uploads/{digest}/right%20image.tif"
    assert client.get(sent.json()["href"]).content == content
    assert client.put("/uploads/.hidden", content=content).status_code == 400
    assert not list((place.data / "uploads").glob(".*.part"))
