"""The one task: claim a job's row, compute, publish, and write down what went wrong if it did."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import psycopg

from processes import PROCESSES
from processes.core.errors import Cancelled, InvalidInput, OrographError
from processes.core.process import Device, Process
from workers import jobs
from workers.publish import has_files, is_kept, keep, publish
from workers.reader import Reader
from workers.results import finished
from workers.workspace import LocalWorkspace

REPORT_EVERY_S = 0.5
MAX_DETAIL = 2000
FULL_BYTES = 32 * 2**20
"""A disk with less than this is full: what could not be written is not there to be counted."""

log = logging.getLogger("orograph.job")

Conn = psycopg.Connection[Any]


class Place(Protocol):
    """What a job must know of its server; see `workers.settings.WorkerSettings`."""

    @property
    def data(self) -> Path: ...
    @property
    def database_url(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def allowed_hosts(self) -> tuple[str, ...]: ...
    @property
    def max_asset_bytes(self) -> int: ...
    @property
    def device(self) -> Device: ...
    @property
    def dask(self) -> str | None: ...


def run_job(
    job_id: str,
    place: Place,
    worker: str,
    *,
    processes: Mapping[str, Process[Any, Any]] = PROCESSES,
) -> None:
    """Run a job unless it is done, dismissed or somebody else's.

    Faults go into its row; what is raised here is the database's.

    *worker* names the guardian that renews the job's lease while this process lives.
    """
    with psycopg.connect(place.database_url, autocommit=True) as conn:
        job = jobs.claim(conn, job_id, worker, os.getpid())
        if job is None:
            log.info("job %s is not waiting: message ignored", job_id)
            return
        log.info("job %s: %s, attempt %s", job.id, job.process_id, job.attempts)
        folder = place.data / "jobs" / job.id
        try:
            _compute(conn, job, _known(job.process_id, processes), place, folder)
            log.info("job %s: successful", job.id)
        except (jobs.FenceLost, Cancelled) as ended:
            log.info("job %s: stopped (%s)", job.id, ended)
        except OrographError as fault:
            log.info("job %s: %s: %s", job.id, type(fault).__name__, fault)
            _fail(conn, job, type(fault).__name__, str(fault))
        except MemoryError:
            log.exception("job %s: out of memory", job.id)
            _fail(conn, job, "OutOfMemory", "not enough memory: ask for a smaller area")
        except Exception as fault:
            log.exception("job %s: internal error", job.id)
            if _is_full(place.data, fault):
                _fail(
                    conn, job, "DiskFull", "the server's disk is full: its operator must make room"
                )
            else:
                _fail(conn, job, "InternalError", f"internal error, logged under job {job.id}")
        finally:
            jobs.let_go(conn, job.id, job.fence)
            shutil.rmtree(folder / str(job.fence), ignore_errors=True)
        if jobs.get(conn, job.id).status not in ("accepted", "running"):  # type: ignore[union-attr]
            shutil.rmtree(folder, ignore_errors=True)


def _compute(
    conn: Conn, job: jobs.Job, process: Process[Any, Any], place: Place, folder: Path
) -> None:
    inputs = process.parse(job.request.get("inputs", {}))
    report = Reporter(conn, job)
    reader = _reader(place, folder / "fetched")
    work = LocalWorkspace(
        folder / str(job.fence),
        reader,
        steps=place.data / "steps",
        on_progress=report,
        device=place.device,
        dask=place.dask,
    )
    report(0.0, "reading inputs")
    key = work.key(process, inputs)
    made = place.data / "products" / key
    if not is_kept(made):
        values = finished(process.run(inputs, work), work.folder)
        if not has_files(values):
            jobs.finish(conn, job.id, job.fence, None, values)
            return
        keep(work.folder, values, made)
    report(1.0, "publishing")
    publish(conn, job, process, inputs, made, reader)


class Reporter:
    """Tells the row how far its job is, not more often than anybody looks."""

    def __init__(self, conn: Conn, job: jobs.Job) -> None:
        self._conn, self._job = conn, job
        self._said, self._at = "", 0.0

    def __call__(self, fraction: float, message: str) -> None:
        """Raises Cancelled when the job was dismissed, FenceLost when it is another's."""
        now = time.monotonic()
        if message == self._said and now - self._at < REPORT_EVERY_S:
            return
        self._said, self._at = message, now
        percent = min(int(100 * fraction), 99)  # 100 is for what is published
        try:
            jobs.report(self._conn, self._job.id, self._job.fence, percent, message)
        except jobs.FenceLost:
            row = jobs.get(self._conn, self._job.id)
            if row is not None and row.status == "dismissed":
                raise Cancelled("the job was dismissed") from None
            raise


def _known(process_id: str, processes: Mapping[str, Process[Any, Any]]) -> Process[Any, Any]:
    process = processes.get(process_id)
    if process is None:
        raise InvalidInput(f"this worker has no process {process_id}: update it with its server")
    return process


def _fail(conn: Conn, job: jobs.Job, kind: str, detail: str) -> None:
    try:
        # what others wrote is quoted in it: it may be long, or hold what a row cannot
        text = detail[:MAX_DETAIL].replace("\x00", "").encode("utf-8", "replace").decode()
        jobs.fail(conn, job.id, job.fence, {"type": kind, "detail": text})
    except jobs.FenceLost:
        log.info("job %s is not ours any more", job.id)


def _is_full(data: Path, fault: Exception) -> bool:
    """Say whether a disk without room is at fault. GDAL has no errno: what is left tells."""
    said = isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT)
    return said or shutil.disk_usage(data).free < FULL_BYTES


def _reader(place: Place, cache: Path) -> Reader:
    """Return a reader that knows this server's own addresses, whichever name it was called by."""
    urls = {place.url} | {
        place.url.replace("//127.0.0.1:", f"//{name}:") for name in ("localhost", "[::1]")
    }
    own = {
        f"{url}/{name}": place.data / name
        for url in sorted(urls)
        for name in ("uploads", "products")
    }
    return Reader(
        cache=cache,
        own=own,
        allowed_hosts=place.allowed_hosts,
        max_bytes=place.max_asset_bytes,
    )
