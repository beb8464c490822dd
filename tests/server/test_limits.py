"""What a server takes in before it says so: jobs that wait, and all uploads together."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from server import room
from server.settings import Settings
from workers import jobs

NewServer = Callable[[Settings], AbstractContextManager[str]]
ASYNC = {"Prefer": "respond-async"}
BODY = {"inputs": {"message": "x"}}


@pytest.fixture(scope="module")
def url(place: Settings, new_server: NewServer) -> Iterator[str]:
    """A server that takes three jobs and a hundred kilobytes."""
    narrow = place.model_copy(update={"max_waiting_jobs": 3, "max_uploads_bytes": 100_000})
    with new_server(narrow) as address:
        yield address


@pytest.fixture
def uploads(place: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads, which the server measures at every upload."""
    monkeypatch.setattr(room, "MEASURED_EVERY_S", 0.0)
    return place.data / "uploads"


def sent(url: str, name: str, content: Any) -> httpx.Response:
    return httpx.put(f"{url}/uploads/{name}", content=content)


def test_a_job_too_many_is_refused_until_one_has_gone(url: str, place: Settings) -> None:
    execution = f"{url}/processes/echo/execution"
    places = [httpx.post(execution, json=BODY, headers=ASYNC) for _ in range(3)]
    assert [answer.status_code for answer in places] == [201] * 3
    refused = httpx.post(execution, json=BODY, headers=ASYNC)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["type"] == "TooManyJobs"
    assert refused.json()["detail"] == "3 jobs wait already: ask again when some have run"
    with psycopg.connect(str(place.database_url), autocommit=True) as conn:
        running = places[0].json()["jobID"]
        assert jobs.claim(conn, running, "worker", 1) is not None  # what runs waits no more
        assert jobs.listed(conn)[1] == 3
    assert httpx.post(execution, json=BODY, headers=ASYNC).status_code == 201
    assert httpx.post(execution, json=BODY).status_code == 503  # a synchronous one waits as well


def test_an_upload_that_all_leave_no_room_for_is_refused(url: str, uploads: Path) -> None:
    assert sent(url, "a.tif", b"a" * 60_000).status_code == 201
    refused = sent(url, "b.tif", b"b" * 60_000)
    assert refused.status_code == 507
    assert refused.json()["type"] == "InsufficientStorage"
    assert "may take 100000 bytes, and 60000 are taken" in refused.json()["detail"]
    assert sent(url, "c.tif", b"c" * 39_000).status_code == 201
    known = hashlib.sha256(b"a" * 60_000).hexdigest()
    assert sent(url, f"{known}/a.tif", b"a" * 60_000).status_code == 200  # it is there already
    (uploads / known / "a.tif").unlink()  # as the sweep does
    assert sent(url, "d.tif", b"d" * 60_000).status_code == 201


def test_what_does_not_say_its_size_is_stopped_on_its_way(url: str, uploads: Path) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(2000):
            yield b"e" * 1000

    for path in uploads.rglob("*.tif"):
        path.unlink()
    assert sent(url, "e.tif", endless()).status_code == 507
    assert list(uploads.glob(".*.part")) == []
    assert sent(url, "f.tif", b"f" * 90_000).status_code == 201  # what was stopped took nothing


def test_uploads_at_the_same_time_share_the_room(
    url: str, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in uploads.rglob("*.tif"):
        path.unlink()
    assert sent(url, "g.tif", b"g").status_code == 201  # measured now, and no more
    monkeypatch.setattr(room, "MEASURED_EVERY_S", 3600.0)
    together = threading.Barrier(4)
    answers: list[int] = []

    def send(number: int) -> None:
        def parts() -> Iterator[bytes]:
            together.wait(20)
            for _ in range(40):
                yield bytes([number]) * 1000

        answers.append(sent(url, f"h{number}.tif", parts()).status_code)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {201, 507}
    assert answers.count(507) >= 2
    assert room.held(uploads) <= 100_000
