"""An OGC execute request: read with suspicion, checked whole, before anything is queued."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from processes.core.errors import InvalidInput
from processes.core.process import Inputs, Process
from server.callbacks import subscriber
from server.errors import TooLarge, WrongMediaType

MAX_DEPTH = 100
SMALL_BYTES = 16 * 2**10
MEMBERS = {"inputs", "outputs", "response", "subscriber", "mode", "id", "process", "$schema"}
JSON_TYPE = re.compile(r"application/(json|[\w.-]+\+json)\s*(;.*)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Execute:
    """What was asked for: inputs as the process wants them, and how to answer."""

    inputs: Inputs
    outputs: dict[str, Literal["value", "reference"] | None]
    """Wanted outputs with their transmission mode; empty means all."""
    response: Literal["document", "raw"]
    subscriber: dict[str, str] | None = None
    """Whom to tell how it goes: OGC's successUri, inProgressUri, failedUri."""

    def as_json(self, own_url: str, called: str) -> dict[str, Any]:
        """Return the request as the job keeps it.

        A server has several names (a host name, an address, a proxy's), its workers know one:
        references below *called* are written as below *own_url*.
        """
        inputs = self.inputs.model_dump(mode="json", exclude_none=True)
        return {
            "inputs": _renamed(inputs, called + "/", own_url + "/"),
            "outputs": self.outputs,
            "response": self.response,
        }


@dataclass(frozen=True)
class Preference:
    """The Prefer header: whether to wait, and for how long at most."""

    respond_async: bool = False
    wait_s: float | None = None

    @classmethod
    def of(cls, request: Request) -> Preference:
        """Read every Prefer header; what is not understood is ignored, as RFC 7240 says."""
        text = ",".join(request.headers.getlist("prefer")).lower()
        wanted = {part.strip().split(";")[0].strip() for part in text.split(",")}
        wait = next((re.fullmatch(r'wait\s*=\s*"?(\d{1,9})"?', part) for part in wanted
                     if part.startswith("wait")), None)  # fmt: skip
        return cls("respond-async" in wanted, float(wait[1]) if wait else None)


async def read_json(request: Request, limit: int) -> Any:
    """Return the body as JSON that PostgreSQL can keep. Raises WrongMediaType, TooLarge, ….

    A body must say that it is JSON: browsers send other types to any server without asking it.
    """
    kind = request.headers.get("content-type", "")
    if not JSON_TYPE.match(kind):
        said = kind or "none"
        raise WrongMediaType(f"Content-Type is {said}: send the body as application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the body exceeds {limit} bytes: send assets by reference")
    if len(body) <= SMALL_BYTES:
        return _checked(bytes(body))
    # aside: millions of numbers take seconds, in which others are answered
    return await run_in_threadpool(_checked, bytes(body))


def _checked(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from None
    _check(value)
    return value


def parse(process: Process[Any, Any], body: Any, *, allowed_hosts: Collection[str] = ()) -> Execute:
    """Return a checked request. Raises InvalidInput naming the member or input at fault.

    *allowed_hosts* may be called back though their addresses are private.
    """
    if not isinstance(body, Mapping):
        raise InvalidInput('the body must be an object: {"inputs": {…}}')
    unknown = sorted(set(body) - MEMBERS)
    if unknown:
        raise InvalidInput(f"{unknown[0]} is no member of an execute request: use inputs, outputs")
    if not isinstance(body.get("inputs"), Mapping):
        raise InvalidInput('inputs must be an object of input ids: {"inputs": {…}}')
    told = subscriber(body.get("subscriber"), allowed_hosts)
    response = body.get("response", "document")
    if response not in ("document", "raw"):
        raise InvalidInput("response must be document or raw")
    outputs = _outputs(process, body.get("outputs") or {})
    return Execute(process.parse(body["inputs"]), outputs, response, told)


def _outputs(
    process: Process[Any, Any], outputs: Any
) -> dict[str, Literal["value", "reference"] | None]:
    wanted: dict[str, Literal["value", "reference"] | None] = {}
    for name, how in process.parse_outputs(outputs).items():
        mode = how.get("transmissionMode") if isinstance(how, Mapping) else None
        if not isinstance(how, Mapping) or mode not in (None, "value", "reference"):
            raise InvalidInput(f"output {name}: transmissionMode must be value or reference")
        wanted[name] = mode
    return wanted


def _renamed(value: Any, called: str, own: str) -> Any:
    if isinstance(value, list):
        return [_renamed(entry, called, own) for entry in value]
    if not isinstance(value, dict):
        return value
    href = value.get("href")
    if isinstance(href, str) and href.startswith(called):
        value = value | {"href": own + href.removeprefix(called)}
    return {name: _renamed(entry, called, own) for name, entry in value.items()}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check(value: Any, depth: int = 0) -> None:
    """Refuse what JSON may hold and PostgreSQL may not: infinity, zero bytes, half characters."""
    if depth > MAX_DEPTH:
        raise InvalidInput(f"the body is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InvalidInput("the body holds text that is not Unicode")
    elif isinstance(value, float | int):
        if not math.isfinite(value) if isinstance(value, float) else abs(value) >= 2**63:
            raise InvalidInput("the body holds a number beyond every range")
    elif isinstance(value, list):
        for entry in value:
            _check(entry, depth + 1)
    elif isinstance(value, dict):
        for key, entry in value.items():
            _check(key, depth + 1)
            _check(entry, depth + 1)
