"""The API's description: committed, current, and true of the server that gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pygeoapi
from jsonschema import Draft4Validator
from starlette.testclient import TestClient

from processes import PROCESSES
from server.auth import changes as changing
from server.document import text, write_openapi

COMMITTED = Path(__file__).parents[2] / "openapi/openapi.json"


def test_the_committed_document_is_current() -> None:
    assert COMMITTED.read_text("utf-8") == text(), "run `orograph openapi` and review its diff"


def test_it_is_written_as_it_is_said(tmp_path: Path) -> None:
    path = write_openapi(tmp_path / "new" / "openapi.json")
    assert path.read_text("utf-8") == text()


def test_it_is_served_as_openapi_3_0(client: TestClient) -> None:
    answer = client.get("/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    document = answer.json()
    assert document["openapi"].startswith("3.0")
    assert document["servers"] == [{"url": "http://maps.example"}]


def test_it_is_valid_openapi_3_0() -> None:
    schemas = Path(pygeoapi.__file__).parent / "schemas/openapi/openapi-3.0.x.json"
    validator = Draft4Validator(json.loads(schemas.read_text()))
    assert [error.message for error in validator.iter_errors(json.loads(text()))] == []


def test_each_process_has_its_own_request_schema() -> None:
    document = json.loads(text())
    for process in PROCESSES.values():
        operation = document["paths"][f"/processes/{process.id}/execution"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        inputs = schema["allOf"][1]["properties"]["inputs"]
        assert set(inputs["properties"]) == set(process.inputs.model_fields)


def test_every_reference_leads_somewhere_and_every_operation_has_a_name() -> None:
    document = json.loads(text())
    components = document["components"]

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [ref for entry in value.values() for ref in references(entry)]
        if isinstance(value, list):
            return [ref for entry in value for ref in references(entry)]
        return []

    for reference in references(document):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in components[kind]
    names = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(names) == len(set(names))
    assert '"type": "null"' not in text()


def test_changes_are_said_to_need_the_key() -> None:
    document = json.loads(text())
    assert document["components"]["securitySchemes"]["apiKey"]["name"] == "X-API-Key"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            changes = changing({"method": method.upper(), "path": path})
            assert ("security" in operation) == changes, (method, path)
