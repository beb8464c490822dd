"""OGC API – Processes: what can be asked for, jobs, and their results.

Synchronous and asynchronous execution are one path: a row, a message, a worker. To answer at once
the server waits for the row to change without holding a thread, so waiting blocks nobody; when
the wait is over before the job is, the answer is that of an asynchronous one.

A synchronous answer carries no Link header to its job, as the official tests cannot read a
well-formed one; `Orograph-Job` says where it is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from server.desk import Desk
from server.errors import Dismissed, NoSuchJob, answer
from server.execute import Preference, parse, read_json
from server.pages import outside, page, wants_html
from server.query import bounds, interval, known, page_links, several
from server.status import OPEN, fault, status_info
from workers import jobs
from workers.jobs import Job

FILTERS = ("processID", "status", "type", "datetime", "minDuration", "maxDuration")
STATUSES = ("accepted", "running", "successful", "failed", "dismissed")
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
        "callback",
    )
]


def router(desk: Desk) -> APIRouter:
    """Return the routes of OGC API – Processes."""
    routes = APIRouter()

    @routes.get("/processes", operation_id="getProcesses", tags=["Processes"])
    def processes(request: Request, limit: int = 100, offset: int = 0) -> Response:
        """The list of processes."""
        known(request, "limit", "offset")
        limit, offset = bounds(limit, offset)
        every = list(desk.processes)
        url = outside(request)
        shown = every[offset : offset + limit]
        body = {
            "processes": [desk.summary(process_id, url) for process_id in shown],
            "links": page_links(request, limit, offset, len(every)),
        }
        return _said(request, body, "processes.html")

    @routes.get("/processes/{process_id}", operation_id="getProcessDescription", tags=["Processes"])
    def process(request: Request, process_id: str) -> Response:
        """What a process takes and gives."""
        known(request)
        return _said(request, desk.description(process_id, outside(request)), "process.html")

    @routes.post("/processes/{process_id}/execution", operation_id="execute", tags=["Jobs"])
    async def execution(request: Request, process_id: str) -> Response:
        """Run a process: at once, or as a job with `Prefer: respond-async`."""
        chosen = desk.process(process_id)
        body = await read_json(request, desk.max_body_bytes)
        preference = Preference.of(request)

        def accepted() -> Job:
            wanted = parse(chosen, body, allowed_hosts=desk.allowed_hosts)
            return desk.accept(chosen, wanted, outside(request))

        job = await run_in_threadpool(accepted)
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
        known(request, "limit", "offset", *FILTERS)
        limit, offset = bounds(limit, offset)
        since, until = interval(created)
        wanted_types = several(request, "type")
        found: list[Job] = []
        matched = 0
        if not wanted_types or "process" in wanted_types:
            with desk.pool.connection() as conn:
                found, matched = jobs.listed(
                    conn,
                    limit=limit,
                    offset=offset,
                    process_ids=several(request, "processID"),
                    statuses=several(request, "status", STATUSES),
                    since=since,
                    until=until,
                    min_duration_s=shortest_s,
                    max_duration_s=longest_s,
                )
        url = outside(request)
        body = {
            "jobs": [status_info(job, url) for job in found],
            "links": page_links(request, limit, offset, matched),
            "numberMatched": matched,
            "numberReturned": len(found),
        }
        return _said(request, body, "jobs.html")

    @routes.get("/jobs/{job_id}", operation_id="getStatus", tags=["Jobs"])
    def job_status(request: Request, job_id: str) -> Response:
        """How far a job is."""
        known(request)
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
        known(request)
        job = desk.job(job_id)
        if wants_html(request) and job.status == "successful":
            document = desk.results(job, outside(request)).document()
            return page(request, "results.html", document)
        return _result(request, desk, job)

    @routes.get("/jobs/{job_id}/results/{output_id}", operation_id="getOutput", tags=["Jobs"])
    def job_output(request: Request, job_id: str, output_id: str) -> Response:
        """One output of a job, itself."""
        known(request)
        job = desk.job(job_id)
        if job.status == "failed":
            return answer(request, fault(job))
        return desk.results(job, outside(request)).output(output_id)

    return routes


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
