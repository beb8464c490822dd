"""OGC API – Processes: what can be asked for, jobs, and their results.

Synchronous and asynchronous execution are one path: a row, a message, a worker. To answer at once
the server waits for the row to change without holding a thread, so waiting blocks nobody; when
the wait is over before the job is, the answer is that of an asynchronous one.

A synchronous answer carries no Link header to its job, as the official tests cannot read a
well-formed one; `Orograph-Job` says where it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from processes.core.process import Process
from server.dialect import oas30
from server.errors import (
    BadParameter,
    Dismissed,
    NoSuchJob,
    NoSuchProcess,
    ResultNotReady,
    answer,
)
from server.execute import Execute, Preference, parse, read_json
from server.pages import outside, page, wants_html
from server.results import Results
from server.status import OPEN, fault, status_info
from workers import jobs
from workers.jobs import Job

LOG = logging.getLogger("orograph.server")

CONTROL = ["sync-execute", "async-execute", "dismiss"]
TRANSMISSION = ["value", "reference"]
STATUSES = ("accepted", "running", "successful", "failed", "dismissed")
MAX_LIMIT = 1000
EXECUTE = "http://www.opengis.net/def/rel/ogc/1.0/execute"
WAIT_STEPS_S = (0.02, 0.5)
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/" + name
    for name in (
        "core",
        "ogc-process-description",
        "json",
        "html",
        "oas30",
        "job-list",
        "dismiss",
    )
]


class Desk:
    """Where requests are taken: the processes, the job table, and how a job is sent."""

    def __init__(
        self,
        processes: Mapping[str, Process[Any, Any]],
        pool: ConnectionPool,
        send: Callable[[Job], None],
        products: Path,
        *,
        own_url: str,
        sync_wait_s: float,
        max_body_bytes: int,
    ) -> None:
        self.processes, self.pool, self.send, self.products = processes, pool, send, products
        self.own_url = own_url
        self._described = {name: described(process) for name, process in processes.items()}
        # threads of their own: a broker that does not answer holds up no request
        self._senders = ThreadPoolExecutor(2, thread_name_prefix="send")
        self.sync_wait_s, self.max_body_bytes = sync_wait_s, max_body_bytes

    def process(self, process_id: str) -> Process[Any, Any]:
        if process_id not in self.processes:
            known = ", ".join(self.processes)
            raise NoSuchProcess(f"there is no process {process_id}: there are {known}")
        return self.processes[process_id]

    def description(self, process_id: str, url: str) -> dict[str, Any]:
        """Return a process's OGC description. Raises NoSuchProcess."""
        return self._described[self.process(process_id).id] | _offered(process_id, url)

    def summary(self, process_id: str, url: str) -> dict[str, Any]:
        """Return a process's entry in the list."""
        whole = self.description(process_id, url)
        return {name: value for name, value in whole.items() if name not in ("inputs", "outputs")}

    def accept(self, process: Process[Any, Any], wanted: Execute, called: str) -> Job:
        """Write the job down, then send its message; a lost message is sent again by workers.

        *called* is the URL the server was called by: references to it are kept under its own.
        """
        with self.pool.connection() as conn:
            job = jobs.create(
                conn,
                process.id,
                wanted.as_json(self.own_url, called),
                collection=getattr(wanted.inputs, "collection", None),
            )
        self._senders.submit(self._send, job)
        return job

    def close(self) -> None:
        """Stop sending; what was not sent is sent by a worker's guardian."""
        self._senders.shutdown(wait=False, cancel_futures=True)

    def _send(self, job: Job) -> None:
        try:
            self.send(job)
        except Exception:
            LOG.exception("job %s waits: its message could not be sent", job.id)

    def job(self, job_id: str) -> Job:
        with self.pool.connection() as conn:
            job = jobs.get(conn, job_id)
        if job is None:
            raise NoSuchJob(f"there is no job {job_id}")
        return job

    def results(self, job: Job, url: str) -> Results:
        """Return the results of a job that has some. Raises ResultNotReady or Dismissed."""
        if job.status in OPEN:
            raise ResultNotReady(f"job {job.id} is {job.status}: ask again when it is successful")
        if job.status == "dismissed":
            raise Dismissed(f"job {job.id} was dismissed")
        return Results(job, url, self.products)

    async def finished(self, job: Job, wait_s: float) -> Job:
        """Return the job as it is when it ends, or when the wait is over."""
        end = time.monotonic() + wait_s
        pause_s, longest_s = WAIT_STEPS_S
        while job.status in OPEN and time.monotonic() < end:
            await asyncio.sleep(min(pause_s, max(end - time.monotonic(), 0.0)))
            pause_s = min(pause_s * 1.5, longest_s)
            job = await run_in_threadpool(self.job, job.id)
        return job


def router(desk: Desk) -> APIRouter:
    """Return the routes of OGC API – Processes."""
    routes = APIRouter()

    @routes.get("/processes", operation_id="getProcesses", tags=["Processes"])
    def processes(request: Request, limit: int = 100, offset: int = 0) -> Response:
        """The list of processes."""
        _known(request, "limit", "offset")
        limit, offset = _page(limit, offset)
        every = list(desk.processes)
        url = outside(request)
        shown = every[offset : offset + limit]
        body = {
            "processes": [desk.summary(process_id, url) for process_id in shown],
            "links": _page_links(request, limit, offset, len(every)),
        }
        return _said(request, body, "processes.html")

    @routes.get("/processes/{process_id}", operation_id="getProcessDescription", tags=["Processes"])
    def process(request: Request, process_id: str) -> Response:
        """What a process takes and gives."""
        _known(request)
        return _said(request, desk.description(process_id, outside(request)), "process.html")

    @routes.post("/processes/{process_id}/execution", operation_id="execute", tags=["Jobs"])
    async def execution(request: Request, process_id: str) -> Response:
        """Run a process: at once, or as a job with `Prefer: respond-async`."""
        chosen = desk.process(process_id)
        body = await read_json(request, desk.max_body_bytes)
        wanted = await run_in_threadpool(parse, chosen, body)
        preference = Preference.of(request)
        job = await run_in_threadpool(desk.accept, chosen, wanted, outside(request))
        if preference.respond_async:
            return _created(job, outside(request), "respond-async")
        wait_s = min(preference.wait_s or desk.sync_wait_s, desk.sync_wait_s)
        job = await desk.finished(job, wait_s)
        if job.status in OPEN:
            return _created(job, outside(request), None)
        response = _result(request, desk, job)
        response.headers["Orograph-Job"] = f"{outside(request)}/jobs/{job.id}"
        return response

    @routes.get("/jobs", operation_id="getJobs", tags=["Jobs"])
    def job_list(
        request: Request,
        limit: int = 100,
        offset: int = 0,
        created: Annotated[str | None, Query(alias="datetime")] = None,
        shortest_s: Annotated[float | None, Query(alias="minDuration", ge=0)] = None,
        longest_s: Annotated[float | None, Query(alias="maxDuration", ge=0)] = None,
    ) -> Response:
        """Jobs, newest first. `processID`, `status` and `type` may be given several times."""
        known = ("processID", "status", "type", "datetime", "minDuration", "maxDuration")
        _known(request, "limit", "offset", *known)
        limit, offset = _page(limit, offset)
        since, until = interval(created)
        wanted_types = _several(request, "type")
        found: list[Job] = []
        matched = 0
        if not wanted_types or "process" in wanted_types:
            with desk.pool.connection() as conn:
                found, matched = jobs.listed(
                    conn,
                    limit=limit,
                    offset=offset,
                    process_ids=_several(request, "processID"),
                    statuses=_several(request, "status", STATUSES),
                    since=since,
                    until=until,
                    min_duration_s=shortest_s,
                    max_duration_s=longest_s,
                )
        url = outside(request)
        body = {
            "jobs": [status_info(job, url) for job in found],
            "links": _page_links(request, limit, offset, matched),
            "numberMatched": matched,
            "numberReturned": len(found),
        }
        return _said(request, body, "jobs.html")

    @routes.get("/jobs/{job_id}", operation_id="getStatus", tags=["Jobs"])
    def job_status(request: Request, job_id: str) -> Response:
        """How far a job is."""
        _known(request)
        return _said(request, status_info(desk.job(job_id), outside(request)), "job.html")

    @routes.delete("/jobs/{job_id}", operation_id="dismiss", tags=["Jobs"])
    def dismiss(request: Request, job_id: str) -> Response:
        """End a job, or forget its results; a product in the catalogue stays."""
        if desk.job(job_id).status == "dismissed":
            raise Dismissed(f"job {job_id} was dismissed before")
        with desk.pool.connection() as conn:
            job = jobs.dismiss(conn, job_id)
        if job is None:
            raise NoSuchJob(f"there is no job {job_id}")
        return JSONResponse(status_info(job, outside(request)))

    @routes.get("/jobs/{job_id}/results", operation_id="getResult", tags=["Jobs"])
    def job_results(request: Request, job_id: str) -> Response:
        """What a job gave, in the form its request asked for."""
        _known(request)
        job = desk.job(job_id)
        if wants_html(request) and job.status == "successful":
            document = desk.results(job, outside(request)).document()
            return page(request, "results.html", document)
        return _result(request, desk, job)

    @routes.get("/jobs/{job_id}/results/{output_id}", operation_id="getOutput", tags=["Jobs"])
    def job_output(request: Request, job_id: str, output_id: str) -> Response:
        """One output of a job, itself."""
        _known(request)
        job = desk.job(job_id)
        if job.status == "failed":
            return answer(request, fault(job))
        return desk.results(job, outside(request)).output(output_id)

    return routes


def described(process: Process[Any, Any]) -> dict[str, Any]:
    """Return the OGC process description without links, its schemas in OGC's dialect."""
    whole = process.describe()
    for kind in ("inputs", "outputs"):
        for entry in whole[kind].values():
            entry["schema"] = oas30(entry["schema"])
    return whole


def _offered(process_id: str, url: str) -> dict[str, Any]:
    here = f"{url}/processes/{process_id}"
    return {
        "jobControlOptions": CONTROL,
        "outputTransmission": TRANSMISSION,
        "links": [
            _link(here, "self", "This process"),
            _link(f"{here}?f=html", "alternate", "This process as a page", "text/html"),
            _link(f"{here}/execution", EXECUTE, "Run it"),
            _link(f"{url}/jobs?processID={process_id}", "monitor", "Its jobs"),
        ],
    }


def _created(job: Job, url: str, applied: Literal["respond-async"] | None) -> Response:
    headers = {"Location": f"{url}/jobs/{job.id}"}
    if applied:
        headers["Preference-Applied"] = applied
    return JSONResponse(status_info(job, url), 201, headers)


def _result(request: Request, desk: Desk, job: Job) -> Response:
    if job.status == "failed":
        return answer(request, fault(job))
    return desk.results(job, outside(request)).response()


def _said(request: Request, body: dict[str, Any], template: str) -> Response:
    return page(request, template, body) if wants_html(request) else JSONResponse(body)


def _known(request: Request, *names: str) -> None:
    """Raises BadParameter for a query parameter that is not one of *names* or `f`."""
    for name in request.query_params:
        if name not in ("f", *names):
            known = ", ".join(("f", *names))
            raise BadParameter(f"{name} is no query parameter here: use {known}")
    form = request.query_params.get("f", "json")
    if form not in ("json", "html"):
        raise BadParameter(f"f is {form}: use json or html")


def _page(limit: int, offset: int) -> tuple[int, int]:
    if limit < 1:
        raise BadParameter("limit must be at least 1")
    if not 0 <= offset < 2**31:
        raise BadParameter("offset must not be negative")
    return min(limit, MAX_LIMIT), offset


def _several(request: Request, name: str, allowed: tuple[str, ...] = ()) -> list[str]:
    values = [part for text in request.query_params.getlist(name) for part in text.split(",")]
    for value in values:
        if allowed and value not in allowed:
            raise BadParameter(f"{name} is {value}: use {', '.join(allowed)}")
        if "\x00" in value:
            raise BadParameter(f"{name} holds a zero byte")
    return values


def interval(text: str | None) -> tuple[datetime | None, datetime | None]:
    """Return both ends of OGC's `datetime`; None is open. Raises BadParameter."""
    if text is None:
        return None, None
    begin, slash, end = text.partition("/")
    since = _moment(begin)
    return since, _moment(end) if slash else since


def _moment(text: str) -> datetime | None:
    if text in ("", ".."):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadParameter(f"datetime: {text} is not RFC 3339, like 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _page_links(request: Request, limit: int, offset: int, matched: int) -> list[dict[str, str]]:
    here = f"{outside(request)}{request.url.path.removeprefix(request.scope.get('root_path', ''))}"

    def at(start: int | None, form: str | None = None) -> str:
        url = request.url.remove_query_params(["f", "offset"])
        if start is not None:
            url = url.include_query_params(limit=limit, offset=start)
        if form:
            url = url.include_query_params(f=form)
        return f"{here}?{url.query}" if url.query else here

    first = offset or None
    links = [
        _link(at(first), "self", "This document"),
        _link(at(first, "html"), "alternate", "This document as a page", "text/html"),
    ]
    if offset + limit < matched:
        links.append(_link(at(offset + limit), "next", "Next page"))
    if offset > 0:
        links.append(_link(at(max(offset - limit, 0)), "prev", "Previous page"))
    return links


def _link(href: str, rel: str, title: str, kind: str = "application/json") -> dict[str, str]:
    return {"href": href, "rel": rel, "type": kind, "title": title}
