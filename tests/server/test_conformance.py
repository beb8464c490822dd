"""OGC API – Processes as the official executable tests ask for it, each demand a test.

Requests are built from the description as those tests build them: a text for every input whose
schema may be a string, `{"value": …}` for the first that may be an object.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft7Validator
from starlette.testclient import TestClient

EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
AS_JSON = {"Accept": "application/json"}
ASYNC = AS_JSON | {"Prefer": "respond-async"}
TEXT = {"type": "string"}
EXCEPTION = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "instance": TEXT,
    },
}
STATUS_INFO = {
    "type": "object",
    "required": ["jobID", "status", "type"],
    "properties": {
        "processID": TEXT,
        "type": {"enum": ["process"]},
        "jobID": TEXT,
        "status": {"enum": ["accepted", "running", "successful", "failed", "dismissed"]},
        "message": TEXT,
        "created": {"type": "string", "format": "date-time"},
        "started": {"type": "string", "format": "date-time"},
        "finished": {"type": "string", "format": "date-time"},
        "updated": {"type": "string", "format": "date-time"},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "links": {"type": "array", "items": {"type": "object", "required": ["href"]}},
    },
}
# OGC's schema of schemas: the dialect of OpenAPI 3.0, and nothing else
NUMBER, SIZE, FLAG = {"type": "number"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
SCHEMAS = {"type": "array", "items": {"$ref": "#"}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("title", "description", "format", "pattern"), TEXT),
        **dict.fromkeys(("contentMediaType", "contentEncoding", "contentSchema"), TEXT),
        **dict.fromkeys(("multipleOf", "maximum", "minimum"), NUMBER),
        **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems"), SIZE),
        **dict.fromkeys(("maxProperties", "minProperties"), SIZE),
        **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "uniqueItems"), FLAG),
        **dict.fromkeys(("nullable", "readOnly", "writeOnly", "deprecated"), FLAG),
        **dict.fromkeys(("allOf", "oneOf", "anyOf"), SCHEMAS),
        "required": {"type": "array", "items": TEXT, "minItems": 1},
        "enum": {"type": "array", "minItems": 1},
        "type": {"enum": ["array", "boolean", "integer", "number", "object", "string"]},
        "not": {"$ref": "#"},
        "items": {"$ref": "#"},
        "properties": {"type": "object", "additionalProperties": {"$ref": "#"}},
        "additionalProperties": {"oneOf": [{"$ref": "#"}, FLAG]},
        "default": {},
        "example": {},
    },
}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    return [error.message for error in Draft7Validator(schema).iter_errors(value)] == []


def types(schema: dict[str, Any]) -> list[str]:
    return [option["type"] for option in schema.get("oneOf", [schema]) if "type" in option]


def whole_request(client: TestClient, *, object_first: bool = False) -> dict[str, Any]:
    """Return the request the tests make of the description of `echo`."""
    echo = client.get("/processes/echo", headers=AS_JSON).json()
    inputs: dict[str, Any] = {}
    for name, described in echo["inputs"].items():
        schema = described["schema"]
        if object_first and "object" in types(schema):
            inputs[name], object_first = {"value": "teststring"}, False
        elif "string" in types(schema):
            inputs[name] = "teststring"
        elif "bbox" in schema.get("properties", {}):
            crs = "urn:ogc:def:crs:EPSG:6.6:4326"
            inputs[name] = {"crs": crs, "bbox": [345345345, 345345345, 345345345, 345345345]}
    return {
        "inputs": inputs,
        "outputs": {name: {"transmissionMode": "value"} for name in echo["outputs"]},
    }


def run(client: TestClient, request: dict[str, Any], **headers: str) -> Any:
    return client.post("/processes/echo/execution", json=request, headers=AS_JSON | headers)


def ended(client: TestClient, location: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        status: dict[str, Any] = client.get(location, headers=AS_JSON).json()
        if status["status"] not in ("accepted", "running"):
            return status
        time.sleep(0.02)
    raise AssertionError(f"{location} did not end: {status}")


def until_running(client: TestClient, location: str) -> None:
    """Wait for a job that is long enough to be seen at it."""
    end = time.monotonic() + 60
    while (status := client.get(location, headers=AS_JSON).json()["status"]) != "running":
        assert status == "accepted"
        assert time.monotonic() < end
        time.sleep(0.02)


# -- capabilities


def test_the_landing_page_links_to_the_processes(client: TestClient) -> None:
    answer = client.get("/", headers=AS_JSON)
    rels = {link["rel"] for link in answer.json()["links"]}
    assert {"processes", "http://www.opengis.net/def/rel/ogc/1.0/processes"} <= rels
    assert {"service-desc", "service-doc", "conformance", "data"} <= rels


def test_conformance_names_the_core_and_the_process_description(client: TestClient) -> None:
    classes = client.get("/conformance", headers=AS_JSON).json()["conformsTo"]
    names = {"core", "ogc-process-description", "json", "html", "oas30", "job-list", "dismiss",
             "callback"}  # fmt: skip
    base = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
    assert {base + name for name in names} <= set(classes)


def test_one_process_is_listed_where_one_is_asked_for(client: TestClient) -> None:
    listed = client.get("/processes?limit=1", headers=AS_JSON).json()
    assert len(listed["processes"]) == 1
    assert {"id", "version", "links", "jobControlOptions"} <= set(listed["processes"][0])
    assert "alternate" in {link["rel"] for link in listed["links"]}


def test_every_process_is_described_in_the_schemas_of_version_1(client: TestClient) -> None:
    for summary in client.get("/processes", headers=AS_JSON).json()["processes"]:
        described = client.get(f"/processes/{summary['id']}", headers=AS_JSON).json()
        for entry in (*described["inputs"].values(), *described["outputs"].values()):
            errors = [e.message for e in Draft7Validator(SCHEMA).iter_errors(entry["schema"])]
            assert errors == [], f"{summary['id']}: {entry['title']}"


def test_the_first_input_of_echo_is_exactly_a_string(client: TestClient) -> None:
    echo = client.get("/processes/echo", headers=AS_JSON).json()
    first = next(iter(echo["inputs"]))
    assert echo["inputs"][first]["schema"] == {"type": "string"}
    assert first in echo["outputs"]


def test_echo_has_an_input_of_every_kind(client: TestClient) -> None:
    inputs = client.get("/processes/echo").json()["inputs"]
    schemas = [entry["schema"] for entry in inputs.values()]
    assert all(entry["minOccurs"] == 0 for entry in inputs.values())
    assert any(s.get("type") == "array" and s["items"]["type"] == "integer" for s in schemas)
    assert any("bbox" in s.get("properties", {}) for s in schemas)
    assert any("oneOf" in s for s in schemas)
    image = {"type": "string", "contentEncoding": "binary", "contentMediaType": "image/tiff"}
    assert image in schemas
    assert inputs["pause"]["schema"]["type"] == "integer"


def test_no_such_process(client: TestClient) -> None:
    answer = client.get(f"/processes/invalid-process-{uuid4()}", headers=AS_JSON)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["type"] == EXCEPTIONS + "no-such-process"
    assert fits(answer.json(), EXCEPTION)
    nobody = client.post(f"/processes/{uuid4()}/execution", json={"inputs": {}})
    assert nobody.json()["type"] == EXCEPTIONS + "no-such-process"


# -- execution


def test_without_prefer_the_answer_comes_at_once(client: TestClient, worker: Any) -> None:
    request = whole_request(client)
    answer = run(client, request)
    assert answer.status_code == 200
    assert "link" not in answer.headers
    sent = request["inputs"]
    assert answer.json() == {name: sent[name] for name in sent if name != "pause"}


def test_async_is_always_created_with_its_place(client: TestClient, worker: Any) -> None:
    for prefer in ("respond-async", "respond-async ", "respond-async, wait=10"):
        answer = run(client, whole_request(client), Prefer=prefer)
        assert answer.status_code == 201
        assert answer.headers["preference-applied"] == "respond-async"
        assert fits(answer.json(), STATUS_INFO)
        assert answer.json()["jobID"] == answer.headers["location"].rsplit("/", 1)[1]
        status = ended(client, answer.headers["location"])
        assert status["status"] == "successful"


def test_outputs_may_be_left_out_and_all_come(client: TestClient, worker: Any) -> None:
    request = whole_request(client)
    del request["outputs"]
    assert set(run(client, request).json()) == set(request["inputs"])


@pytest.mark.parametrize(
    "inputs",
    [
        {"numbers": [1, 2, 3]},
        {
            "box": {
                "bbox": [51.9, 7, 52, 7.1],
                "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
            }
        },
        {"message": {"value": "qualified"}},
        {"choice": {"value": {"text": "hello", "times": 2}}},
    ],
)
def test_one_input_alone_is_enough(client: TestClient, worker: Any, inputs: Any) -> None:
    name = next(iter(inputs))
    answer = run(client, {"inputs": inputs, "outputs": {name: {"transmissionMode": "value"}}})
    assert answer.status_code == 200
    assert set(answer.json()) == {name}


def test_an_object_where_a_string_does_as_well(client: TestClient, worker: Any) -> None:
    assert run(client, whole_request(client, object_first=True)).status_code == 200


def test_a_wrong_media_type_is_refused_as_an_exception(client: TestClient) -> None:
    request = whole_request(client)
    request["inputs"]["image"] = {"type": f"wrong/type_{uuid4()}"}
    answer = run(client, request)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert fits(answer.json(), EXCEPTION)
    assert "image" in answer.json()["detail"]


def test_a_request_that_is_none_is_refused(client: TestClient) -> None:
    answer = run(client, {"invalid-execute-request": "true)"})
    assert answer.status_code == 400
    assert fits(answer.json(), EXCEPTION)


def test_a_document_and_raw_are_both_answered(client: TestClient, worker: Any) -> None:
    for response in ("document", "raw"):
        answer = run(client, whole_request(client) | {"response": response})
        assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("multipart/related")
    assert answer.text.count("teststring") == 3


def test_one_raw_value_is_the_value_itself(client: TestClient, worker: Any) -> None:
    one = {"message": {"transmissionMode": "value"}}
    request = {"inputs": {"message": "teststring"}, "outputs": one, "response": "raw"}
    answer = run(client, request)
    assert answer.text == "teststring"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_raw_references_are_links_and_nothing_else(client: TestClient, worker: Any) -> None:
    one = {"message": {"transmissionMode": "reference"}}
    answer = run(client, {"inputs": {"message": "hello"}, "outputs": one, "response": "raw"})
    assert answer.status_code == 204
    href = answer.headers["link"].split(";")[0].strip("<>")
    assert client.get(href).text == "hello"


# -- jobs


def test_a_job_has_no_null_and_no_results_before_it_is_done(
    client: TestClient, idle_worker: Any
) -> None:
    location = run(client, whole_request(client), Prefer="respond-async").headers["location"]
    waiting = client.get(location).json()
    assert fits(waiting, STATUS_INFO)
    assert None not in waiting.values()
    rels = {link["rel"] for link in waiting["links"]}
    assert "monitor" in rels
    assert RESULTS not in rels
    idle_worker.work()
    done = client.get(location).json()
    assert done["status"] == "successful"
    assert done["progress"] == 100
    results = next(link["href"] for link in done["links"] if link["rel"] == RESULTS)
    assert client.get(results).json()["message"] == "teststring"
    assert {"id", "processingEntityType", "started", "finished"} <= set(done)
    assert client.get(f"{location}/results/message").text == "teststring"


def test_results_of_a_job_that_runs_are_not_ready(client: TestClient, worker: Any) -> None:
    request = {"inputs": {"message": "teststring", "pause": 60}, "response": "raw"}
    first = run(client, request, Prefer="respond-async").headers["location"]
    until_running(client, first)
    second = run(client, request, Prefer="respond-async").headers["location"]
    for location in (first, second):  # one runs and one waits behind it
        answer = client.get(f"{location}/results", headers=AS_JSON)
        assert answer.status_code == 404
        assert answer.json()["type"] == EXCEPTIONS + "result-not-ready"
        assert fits(answer.json(), EXCEPTION)
        client.delete(location)


@pytest.mark.parametrize(
    "job", ["invalid-job", "7c1f0f3a-93a5-4a0c-8f29-3a1e6b1f9c57", "..%2f..", "%00", "é"]
)
@pytest.mark.parametrize("part", ["", "/results", "/results/message"])
def test_no_such_job(client: TestClient, job: str, part: str) -> None:
    answer = client.get(f"/jobs/{job}{part}", headers=AS_JSON)
    assert answer.status_code == 404
    assert fits(answer.json(), EXCEPTION)
    if "%2f" not in job:
        assert answer.json()["type"] == EXCEPTIONS + "no-such-job"


def test_the_job_list_holds_jobs_in_pages(client: TestClient, worker: Any) -> None:
    for _ in range(3):
        run(client, {"inputs": {"message": "a job"}})
    listed = client.get("/jobs", headers=AS_JSON).json()
    assert listed["jobs"]
    assert all(fits(job, STATUS_INFO) for job in listed["jobs"])
    page = client.get("/jobs?limit=1&status=successful&processID=echo", headers=AS_JSON).json()
    assert len(page["jobs"]) == 1
    link = next(link["href"] for link in page["links"] if link["rel"] == "next")
    following = client.get(link).json()
    assert following["jobs"][0]["jobID"] != page["jobs"][0]["jobID"]
    assert "prev" in {link["rel"] for link in following["links"]}


def test_a_dismissed_job_is_gone_the_second_time(client: TestClient, idle_worker: Any) -> None:
    request = {"inputs": {"message": "never", "pause": 60}}
    location = run(client, request, Prefer="respond-async").headers["location"]
    answer = client.delete(location)
    assert answer.status_code == 200
    assert answer.json()["status"] == "dismissed"
    assert fits(answer.json(), STATUS_INFO)
    assert client.delete(location).status_code == 410
    assert client.get(f"{location}/results").status_code == 410
    assert client.get(location).json()["status"] == "dismissed"
    assert idle_worker.waiting() == []


def test_a_running_job_ends_soon_after_it_is_dismissed(client: TestClient, worker: Any) -> None:
    request = {"inputs": {"message": "long", "pause": 60}}
    location = run(client, request, Prefer="respond-async").headers["location"]
    until_running(client, location)
    assert client.delete(location).status_code == 200
    # the worker is free again: another job is done in no time
    assert run(client, {"inputs": {"message": "next"}}).json() == {"message": "next"}
    assert client.get(location).json()["status"] == "dismissed"
