"""Subscribers hear how their job ends, and nothing they do or fail to do changes a job."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from processes.core.errors import InvalidInput
from server import callbacks as calling
from server.app import create_app
from workers import callbacks, jobs

ASYNC = {"Prefer": "respond-async"}
PRIVATE = [
    "http://127.0.0.1/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/", "http://0/",
    "http://localhost:8000/", "http://169.254.169.254/latest", "https://10.0.0.8/",
    "http://[::ffff:127.0.0.1]/", "http://user:word@127.0.0.1/",
]  # fmt: skip
WRONG = [
    "", "here", "ftp://maps.example/", "file:///etc/passwd", "http://", "http:///x", "//x.example",
    "http://maps.example:99999/", "http://[::1/", "http://maps.example/\r\nX: y", "http://ü.example/",
    "http://maps.example/" + "x" * 2000, 3, None, ["http://maps.example/"],
]  # fmt: skip


@dataclass
class Subscriber:
    """A web server that hears calls; *answers* are given in turn, 200 after them."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    heard: list[tuple[str, Any]] = field(default_factory=list)
    tries: int = 0

    def wants(self) -> dict[str, str]:
        names = {"successUri": "success", "inProgressUri": "progress", "failedUri": "failed"}
        return {member: f"{self.url}/{name}?token=s3cret" for member, name in names.items()}

    def words(self, path: str) -> list[Any]:
        return [body for where, body in self.heard if where == f"/{path}?token=s3cret"]

    def until(self, path: str, count: int = 1) -> list[Any]:
        end = time.monotonic() + 20
        while len(self.words(path)) < count:
            assert time.monotonic() < end, self
            time.sleep(0.02)
        return self.words(path)


class Ear(BaseHTTPRequestHandler):
    """Keeps what comes, and answers as it is told."""

    def do_POST(self):
        subscriber: Subscriber = self.server.subscriber
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subscriber.tries += 1
        status = subscriber.answers.pop(0) if subscriber.answers else 200
        if status == 200:
            subscriber.heard.append((self.path, body))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/success?token=s3cret")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def subscriber():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    server.subscriber = Subscriber(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    yield server.subscriber
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def open_place(place):
    """The server of this module, whose operator lets it call this machine."""
    return place.model_copy(update={"allowed_hosts": ("127.0.0.1",)})


@pytest.fixture(scope="module")
def caller(open_place):
    """A client of a server that looks for calls often and is not patient."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calling, "TURN_S", 0.02)
        patch.setattr(callbacks, "RETRY_S", (0.05, 0.1))
        patch.setattr(callbacks, "PROGRESS_S", 0.0)
        with TestClient(create_app(open_place)) as client:
            yield client


@pytest.fixture
def conn(place):
    with psycopg.connect(str(place.database_url), autocommit=True) as connection:
        yield connection


def order(client, wants, **inputs):
    body = {"inputs": inputs, "subscriber": wants}
    answer = client.post("/processes/echo/execution", json=body, headers=ASYNC)
    assert answer.status_code == 201, answer.text
    assert "s3cret" not in answer.text
    return answer.json()["jobID"]


def settled(conn):
    """Wait until no call is left to make."""
    end = time.monotonic() + 20
    while conn.execute("SELECT count(*) FROM orograph.callback").fetchone() != (0,):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_subscriber_hears_the_results(caller, subscriber, worker, conn):
    job_id = order(caller, subscriber.wants(), message="hello", box={"bbox": [1, 2, 3, 4]})
    said = subscriber.until("success")
    settled(conn)
    assert said == [caller.get(f"/jobs/{job_id}/results").json()]
    assert said[0]["message"] == "hello"
    assert subscriber.words("failed") == []


def test_a_subscriber_hears_of_progress_and_of_failure(caller, subscriber, conn):
    job_id = order(caller, subscriber.wants())
    running = jobs.claim(conn, job_id, "test", 1)
    assert running
    started = subscriber.until("progress")[0]
    assert (started["jobID"], started["status"], started["progress"]) == (job_id, "running", 0)
    assert started["links"][0]["href"].endswith(f"/jobs/{job_id}")
    jobs.report(conn, job_id, running.fence, 40, "half way")
    assert [word["progress"] for word in subscriber.until("progress", 2)] == [0, 40]
    fault = {"type": "NoOverlap", "detail": "left and right share no ground: choose others"}
    jobs.fail(conn, job_id, running.fence, fault)
    failed = subscriber.until("failed")
    settled(conn)
    assert (failed[0]["jobID"], failed[0]["status"]) == (job_id, "failed")
    assert failed[0]["exception"]["type"] == "NoOverlap"
    assert subscriber.words("success") == []


def test_a_subscriber_hears_that_its_job_was_dismissed(caller, subscriber, conn):
    job_id = order(caller, subscriber.wants())
    caller.delete(f"/jobs/{job_id}")
    assert subscriber.until("failed")[0]["status"] == "dismissed"
    settled(conn)


def test_nobody_is_told_what_nobody_asked(caller, subscriber, conn):
    wants = {"successUri": subscriber.wants()["successUri"]}
    job_id = order(caller, wants)
    running = jobs.claim(conn, job_id, "test", 1)
    assert running
    jobs.fail(conn, job_id, running.fence, {"type": "NoRpc", "detail": "no model"})
    settled(conn)
    assert subscriber.tries == 0


def test_a_call_that_fails_is_made_again(caller, subscriber, worker, conn):
    subscriber.answers = [500, 404]
    wants = {"successUri": subscriber.wants()["successUri"]}
    order(caller, wants, message="again")
    assert subscriber.until("success")[0]["message"] == "again"
    settled(conn)
    assert subscriber.tries == 3


def test_a_subscriber_that_never_hears_changes_no_job(caller, subscriber, worker, conn):
    subscriber.answers = [302, 500, 401] + [500] * 20
    wants = {"successUri": subscriber.wants()["successUri"]}
    job_id = order(caller, wants, message="kept")
    settled(conn)
    assert subscriber.tries == 3  # and a redirect is not followed
    job = caller.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["message"]) == ("successful", "done")
    assert caller.get(f"/jobs/{job_id}/results").json()["message"] == "kept"


def test_a_subscriber_that_is_not_there_keeps_nobody_waiting(caller, subscriber, worker, conn):
    order(caller, {"successUri": "http://127.0.0.1:1/"})
    order(caller, subscriber.wants(), message="behind it")
    assert subscriber.until("success")[0]["message"] == "behind it"
    settled(conn)


def test_a_subscriber_that_dawdles_is_left(caller, worker, conn, monkeypatch):
    import socket

    monkeypatch.setattr(calling, "CALL_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        order(caller, {"successUri": f"http://127.0.0.1:{silent.getsockname()[1]}/"})
        settled(conn)


def test_a_name_that_leads_inside_is_not_called(place, subscriber, idle_worker, conn, monkeypatch):
    monkeypatch.setattr(calling, "TURN_S", 0.02)
    name = subscriber.url.replace("127.0.0.1", "rebound.example")
    port = int(name.rsplit(":", 1)[1])
    address = [(2, 1, 6, "", ("127.0.0.1", port))]
    resolve = calling.socket.getaddrinfo

    def resolved(host, *args, **kwargs):
        numeric = kwargs.get("flags") == calling.socket.AI_NUMERICHOST
        return (
            address if host == "rebound.example" and not numeric else resolve(host, *args, **kwargs)
        )

    monkeypatch.setattr(calling.socket, "getaddrinfo", resolved)
    with TestClient(create_app(place)) as client:
        order(client, {"successUri": f"{name}/success"})
        idle_worker.work()
        settled(conn)
    assert subscriber.tries == 0


@pytest.mark.parametrize("member", ["successUri", "failedUri"])
@pytest.mark.parametrize("uri", PRIVATE)
def test_private_addresses_are_refused_before_anything_is_queued(uri, member):
    with pytest.raises(InvalidInput, match=f"{member}.*not public"):
        calling.subscriber({"successUri": "https://maps.example/", member: uri}, ())


@pytest.mark.parametrize("uri", WRONG)
def test_what_is_no_web_address_is_refused(uri):
    with pytest.raises(InvalidInput, match="successUri"):
        calling.subscriber({"successUri": uri}, ())


@pytest.mark.parametrize(
    "wants", [[], "x", {}, {"failedUri": "https://a.example/"},
              {"successUri": "https://a.example/", "otherUri": "x"}],
)  # fmt: skip
def test_a_subscriber_that_is_none_is_refused(caller, wants):
    body = {"inputs": {}, "subscriber": wants}
    answer = caller.post("/processes/echo/execution", json=body, headers=ASYNC)
    assert answer.status_code == 400
    assert "subscriber" in answer.json()["detail"]


def test_the_class_is_listed_and_described(caller):
    classes = caller.get("/conformance").json()["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/callback" in classes
    api = caller.get("/api").json()
    names = set(api["paths"]["/processes/echo/execution"]["post"]["callbacks"])
    assert names == {"jobSuccess", "jobInProgress", "jobFailed"}
    called = api["components"]["callbacks"]["jobSuccess"]
    assert set(called) == {"{$request.body#/subscriber/successUri}"}
