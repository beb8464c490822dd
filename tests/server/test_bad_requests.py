"""Requests that mean harm, or are merely wrong: each gets an exception that names the fault."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as hsettings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from server.app import create_app
from server.errors import STATUS, problem, remembered
from server.settings import Settings

EXECUTION = "/processes/echo/execution"
PROBLEM = "application/problem+json"


def sent(client: TestClient, body: str | bytes, kind: str | None = "application/json") -> Any:
    headers = {"Content-Type": kind} if kind else {}
    return client.post(EXECUTION, content=body, headers=headers | {"Prefer": "respond-async"})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "3",
        '"inputs"',
        "{",
        "not json",
        b"\xff\xfe\x00",
        "{}",
        '{"inputs": []}',
        '{"inputs": null}',
        '{"inputs": {"message": 3}}',
        '{"inputs": {"unknown": "x"}}',
        '{"inputs": {"numbers": "many"}}',
        '{"inputs": {"numbers": [NaN]}}',
        '{"inputs": {"numbers": [1e999]}}',
        '{"inputs": {"choice": {"a": [1' + "0" * 400 + "]}}}",
        '{"inputs": {"message": "a\\u0000b"}}',
        '{"inputs": {"message": "\\ud800"}}',
        '{"inputs": {"\\u0000": "x"}}',
        '{"inputs": {"pause": -1}}',
        '{"inputs": {"pause": 99999999}}',
        '{"inputs": {}, "outputs": ["message"]}',
        '{"inputs": {}, "outputs": {"nothing": {}}}',
        '{"inputs": {}, "outputs": {"message": {"transmissionMode": "pigeon"}}}',
        '{"inputs": {}, "outputs": {"message": null}}',
        '{"inputs": {}, "response": "loud"}',
        '{"inputs": {}, "subscriber": {"successUri": "http://169.254.169.254/"}}',
        '{"inputs": {}, "surprise": 1}',
        '{"inputs": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"inputs": {"choice": ' + '{"a":' * 200 + "1" + "}" * 200 + "}}",
        '{"inputs": {"numbers": [' + "9" * 5000 + "]}}",
    ],
)
def test_a_bad_body_is_the_senders_fault(client: TestClient, body: str | bytes) -> None:
    answer = sent(client, body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert {"type", "title", "status", "detail"} <= set(answer.json())
    assert "Traceback" not in answer.text


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["href", "type", "value", "bbox", "text"]), inner)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["message", "numbers", "choice", "box", "image", "pause", "other"])


@hsettings(max_examples=150, deadline=None)
@given(inputs=st.dictionaries(NAMES, ANYTHING, max_size=3), outputs=ANYTHING)
def test_whatever_is_sent_is_taken_or_refused(
    client: TestClient, inputs: Any, outputs: Any
) -> None:
    answer = sent(client, json.dumps({"inputs": inputs, "outputs": outputs}))
    assert answer.status_code in (201, 400), answer.text
    assert client.get("/jobs?limit=1").status_code == 200


def test_the_detail_names_the_input(client: TestClient) -> None:
    assert "numbers" in sent(client, '{"inputs": {"numbers": "many"}}').json()["detail"]
    unknown = sent(client, '{"inputs": {"dsm": "x"}}').json()["detail"]
    assert "no input dsm" in unknown
    assert "message" in unknown


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "json"])
def test_only_json_is_read(client: TestClient, kind: str | None) -> None:
    answer = sent(client, '{"inputs": {}}', kind)
    assert answer.status_code == 400
    assert "application/json" in answer.json()["detail"]


def test_a_body_beyond_the_limit_is_not_read(client: TestClient, place: Settings) -> None:
    huge = json.dumps({"inputs": {"message": "x" * place.max_body_bytes}})
    answer = sent(client, huge)
    assert answer.status_code == 413
    assert "by reference" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/processes?limit=0",
        "/processes?limit=-1",
        "/processes?limit=many",
        "/processes?surprise=1",
        "/processes?f=xml",
        "/processes/echo?surprise=1",
        "/jobs?limit=0",
        "/jobs?offset=-1",
        "/jobs?offset=99999999999999999999",
        "/jobs?status=lost",
        "/jobs?datetime=yesterday",
        "/jobs?minDuration=long",
        "/jobs?processID=%00",
        "/jobs?surprise=1",
    ],
)
def test_a_bad_parameter_is_named(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == "InvalidParameterValue"
    assert path.split("?")[1].split("=")[0] in answer.json()["detail"]


def test_an_enormous_limit_is_lowered(client: TestClient) -> None:
    assert client.get("/jobs?limit=10000").status_code == 200


@pytest.mark.parametrize("interval", ["2020-01-01/..", "../2999-01-01T00:00:00Z", "2020-01-01"])
def test_jobs_are_filtered_by_time(client: TestClient, interval: str) -> None:
    assert client.get("/jobs", params={"datetime": interval}).status_code == 200


def test_an_unknown_path_and_method_are_exceptions_too(client: TestClient) -> None:
    assert client.get("/nowhere").json()["status"] == 404
    wrong = client.put("/processes")
    assert wrong.status_code == 405
    assert wrong.headers["content-type"] == PROBLEM


def test_a_detail_does_not_repeat_all_that_was_sent(client: TestClient) -> None:
    answer = sent(client, json.dumps({"inputs": {}, "x" * 100_000: 1}))
    assert answer.status_code == 400
    assert len(answer.text) < 2000


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "a%0d%0aX-Evil: 1", "a/b", "\u00fc", "a\n"])
def test_the_name_of_a_collection_writes_no_header(client: TestClient, name: str) -> None:
    inputs = {"images": [{"href": "https://example.com/a.json"}], "collection": name}
    ordered = client.post("/processes/city/execution", json={"inputs": inputs})
    assert ordered.status_code == 400
    assert "collection" in ordered.json()["detail"]
    for path in ("/stac/collections/{}", "/stac/collections/{}/items/b", "/collections/{}"):
        for ask in (client.get, client.delete):
            answer = ask(path.format(quote(name, safe="")))
            assert 400 <= answer.status_code < 500
            assert "x-evil" not in answer.headers


def test_paths_do_not_climb(client: TestClient) -> None:
    for path in ("/jobs/../../etc/passwd", "/products/..%2f..%2fetc%2fpasswd", "/%2e%2e/etc"):
        assert client.get(path).status_code == 404


def test_a_dead_database_is_said_and_not_shown() -> None:
    settings = Settings(database_url="postgresql://nobody:secret@127.0.0.1:1/none")
    with TestClient(create_app(settings)) as client:
        answer = client.get("/jobs")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "secret" not in answer.text
        assert client.get("/processes").status_code == 200


def test_a_dead_broker_only_delays(place: Settings) -> None:
    settings = place.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    with TestClient(create_app(settings)) as client:
        answer = sent(client, '{"inputs": {"message": "later"}}')
        assert answer.status_code == 201
        assert client.get(f"/jobs/{answer.json()['jobID']}").json()["status"] == "accepted"


def test_every_fault_is_an_exception_with_a_title() -> None:
    for error, (status, kind) in STATUS.items():
        body = problem(error("what is wrong"))
        assert body["status"] == status
        assert body["type"] == kind
        assert body["detail"] == "what is wrong"
        assert body["title"]


def test_a_failed_job_tells_why_by_name() -> None:
    assert remembered("NoOverlap", "left and right share no ground")["status"] == 422
    assert remembered("OutOfMemory", "not enough memory")["status"] == 500
    assert remembered("AnythingElse", "hm")["status"] == 500
