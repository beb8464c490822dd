"""The OpenAPI 3.0 document: FastAPI's, with OGC's schemas and one operation a process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Mount

from processes.core.process import Process
from server.auth import ASKING, SCHEME
from server.dialect import oas30

CHANGES = ("post", "put", "delete", "patch")
TEXT: dict[str, Any] = {"type": "string"}
URI = {"type": "string", "format": "uri"}
TIME = {"type": "string", "format": "date-time"}
OBJECT: dict[str, Any] = {"type": "object"}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


LINKS = _several(_ref("link"))
STATUS = {"type": "string", "enum": ["accepted", "running", "successful", "failed", "dismissed"]}
DESCRIBED = {"title": TEXT, "description": TEXT, "keywords": _several(TEXT)}
OFFERED = {
    "id": TEXT,
    "version": TEXT,
    "jobControlOptions": _several(TEXT),
    "outputTransmission": _several(TEXT),
    "links": LINKS,
}
SCHEMAS: dict[str, Any] = {
    "link": _object("href", href=TEXT, rel=TEXT, type=TEXT, title=TEXT),
    "exception": _object(
        "type", type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT, instance=TEXT
    ),
    "landingPage": _object("links", title=TEXT, description=TEXT, links=LINKS),
    "confClasses": _object("conformsTo", conformsTo=_several(TEXT)),
    "processSummary": _object("id version", **DESCRIBED, **OFFERED),
    "processList": _object(
        "processes links", processes=_several(_ref("processSummary")), links=LINKS
    ),
    "inputDescription": _object(
        "schema",
        **DESCRIBED,
        minOccurs={"type": "integer"},
        maxOccurs={"oneOf": [{"type": "integer"}, {"type": "string", "enum": ["unbounded"]}]},
        schema=OBJECT,
    ),
    "outputDescription": _object("schema", **DESCRIBED, schema=OBJECT),
    "process": _object(
        "id version",
        **DESCRIBED,
        **OFFERED,
        inputs={"type": "object", "additionalProperties": _ref("inputDescription")},
        outputs={"type": "object", "additionalProperties": _ref("outputDescription")},
    ),
    "statusInfo": _object(
        "jobID type status",
        jobID=TEXT,
        id=TEXT,
        processID=TEXT,
        process=_ref("link"),
        type={"type": "string", "enum": ["process"]},
        processingEntityType=TEXT,
        status=STATUS,
        message=TEXT,
        progress={"type": "integer", "minimum": 0, "maximum": 100},
        created=TIME,
        started=TIME,
        updated=TIME,
        finished=TIME,
        exception=_ref("exception"),
        links=LINKS,
    ),
    "jobList": _object(
        "jobs links",
        jobs=_several(_ref("statusInfo")),
        links=LINKS,
        numberMatched={"type": "integer"},
        numberReturned={"type": "integer"},
    ),
    "results": {"type": "object", "additionalProperties": {}},
    "output": {
        "type": "object",
        "properties": {"transmissionMode": {"type": "string", "enum": ["value", "reference"]}},
    },
    "execute": _object(
        "inputs",
        inputs=OBJECT,
        outputs={"type": "object", "additionalProperties": _ref("output")},
        response={"type": "string", "enum": ["document", "raw"], "default": "document"},
        subscriber=_ref("subscriber"),
    ),
    "subscriber": _object("successUri", successUri=URI, inProgressUri=URI, failedUri=URI)
    | {"description": "Who is told of the job's results, of its progress, or why it failed."},
}
CALLBACKS = {
    name: {
        "{$request.body#/subscriber/" + member + "}": {
            "post": {
                "requestBody": {
                    "content": {"application/json": {"schema": _ref(schema)}},
                },
                "responses": {"200": {"description": "Any 2xx says that it was heard."}},
            }
        }
    }
    for name, member, schema in (
        ("jobSuccess", "successUri", "results"),
        ("jobInProgress", "inProgressUri", "statusInfo"),
        ("jobFailed", "failedUri", "statusInfo"),
    )
}
ANSWERS = {
    "getLandingPage": "landingPage",
    "getConformanceClasses": "confClasses",
    "getProcesses": "processList",
    "getProcessDescription": "process",
    "getJobs": "jobList",
    "getStatus": "statusInfo",
    "dismiss": "statusInfo",
    "getResult": "results",
    "execute": "results",
}
FAULT = {
    "description": "What is wrong, and what to do about it.",
    "content": {
        kind: {"schema": _ref("exception")}
        for kind in ("application/problem+json", "application/json")
    },
}
RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
NO_UPLOAD = {
    "413": FAULT | {"description": "The file is larger than any may be."},
    "507": FAULT | {"description": "All uploads together leave no room for it."},
}
REFUSED = {
    "execute": {
        "503": FAULT
        | {"description": "Too many jobs wait, or the database is away.", "headers": RETRY}
    },
    "putUpload": NO_UPLOAD,
    "sendFile": NO_UPLOAD,
}
"""Answers of some operations that their clients had better know of."""
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": TEXT,
    "description": "`respond-async` answers 201 at once; `wait=N` waits N seconds at most.",
}


def describe(app: FastAPI, processes: Mapping[str, Process[Any, Any]]) -> dict[str, Any]:
    """Return the OpenAPI document of *app* without its servers."""
    document: dict[str, Any] = oas30(
        get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            openapi_version="3.0.3",
        )
    )
    document["info"]["license"] = {"name": "Apache-2.0"}
    components = document.setdefault("components", {})
    components["schemas"] = dict(sorted((components.get("schemas", {}) | SCHEMAS).items()))
    components["securitySchemes"] = SCHEME
    components["callbacks"] = CALLBACKS
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    for methods in document["paths"].values():
        for method, operation in methods.items():
            _finish(method, operation)
    _processes(document["paths"], processes)
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            _mounted(document, route.path, route.app)
    return document


def _finish(method: str, operation: dict[str, Any]) -> None:
    """Say what FastAPI cannot know of a route that writes its own answer."""
    operation["summary"] = operation.get("description", "").split(".")[0]
    responses = operation["responses"]
    responses.pop("422", None)
    responses |= REFUSED.get(operation.get("operationId", ""), {})
    responses["default"] = FAULT
    schema = ANSWERS.get(operation.get("operationId", ""))
    if schema:
        content = {"application/json": {"schema": _ref(schema)}, "text/html": {"schema": TEXT}}
        responses["200"] = {"description": "Done.", "content": content}
    if method in CHANGES:
        operation["security"] = [{}, {"apiKey": []}]


def _processes(paths: dict[str, Any], processes: Mapping[str, Process[Any, Any]]) -> None:
    """Describe execution generally, and once for each process with its own inputs."""
    general = paths["/processes/{process_id}/execution"]["post"]
    general["parameters"] = [*general.get("parameters", []), PREFER]
    general["responses"]["201"] = {
        "description": "Accepted; Location says where to follow it.",
        "headers": {"Location": {"schema": TEXT}},
        "content": {"application/json": {"schema": _ref("statusInfo")}},
    }
    general["requestBody"] = _body(_ref("execute"))
    general["callbacks"] = {n: {"$ref": f"#/components/callbacks/{n}"} for n in CALLBACKS}
    for process in processes.values():
        described = process.describe()
        needed = [name for name, entry in described["inputs"].items() if entry["minOccurs"]]
        inputs = {name: _input(entry) for name, entry in described["inputs"].items()}
        own = {
            "inputs": {"type": "object", "properties": inputs, "additionalProperties": False}
            | ({"required": needed} if needed else {}),
            "outputs": {
                "type": "object",
                "properties": {name: _ref("output") for name in described["outputs"]},
            },
        }
        schema = {"allOf": [_ref("execute"), {"type": "object", "properties": own}]}
        paths[f"/processes/{process.id}/execution"] = {
            "post": general
            | {
                "operationId": f"execute-{process.id}",
                "summary": process.title,
                "description": process.description.strip(),
                "parameters": [PREFER],
                "requestBody": _body(schema),
            }
        }


def _mounted(document: dict[str, Any], path: str, app: FastAPI) -> None:
    """Add the description of a mounted application, its names below that of its mount."""
    name = path.strip("/")
    own = _placed(oas30(app.openapi()), name)
    for part, methods in own["paths"].items():
        for method, operation in methods.items():
            operation["operationId"] = f"{name}-{operation.get('operationId', part)}"
            operation["tags"] = [name]
            operation["responses"]["default"] = FAULT
            if method in CHANGES and not ASKING.fullmatch(path + part):
                operation["security"] = [{}, {"apiKey": []}]
        paths = document["paths"]
        paths[path + part] = methods | paths.pop(path + part, {})
    schemas = document["components"]["schemas"]
    for schema, value in own.get("components", {}).get("schemas", {}).items():
        schemas[f"{name}-{schema}"] = value


def _placed(value: Any, name: str) -> Any:
    """Return *value* with its references to schemas below *name*."""
    if isinstance(value, list):
        return [_placed(entry, name) for entry in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        return {"$ref": reference.replace("#/components/schemas/", f"#/components/schemas/{name}-")}
    return {key: _placed(entry, name) for key, entry in value.items()}


def _input(entry: Mapping[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = oas30(entry["schema"])
    if schema.pop("contentEncoding", None):  # OGC's schemas know it, OpenAPI 3.0 does not
        schema["format"] = "binary"
        schema.pop("contentMediaType", None)
    if entry["maxOccurs"] == "unbounded":
        schema = {"oneOf": [schema, _several(schema)]}
    return schema | {"description": entry["description"]}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
