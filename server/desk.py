"""The desk: what is offered, jobs taken in, watched and handed out; it speaks no HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout
from starlette.concurrency import run_in_threadpool

from processes.core.process import Process
from server.dialect import oas30
from server.errors import Dismissed, NoSuchJob, NoSuchProcess, ResultNotReady, TooManyJobs
from server.execute import Execute
from server.query import link
from server.results import Results
from server.status import OPEN, status_info
from workers import callbacks, jobs, leases
from workers.jobs import Job

LOG = logging.getLogger("orograph.server")

CONTROL = ["sync-execute", "async-execute", "dismiss"]
TRANSMISSION = ["value", "reference"]
EXECUTE = "http://www.opengis.net/def/rel/ogc/1.0/execute"
WAIT_STEPS_S = (0.02, 0.5)
WATCH_S = 5.0


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
        max_waiting_jobs: int,
        allowed_hosts: Collection[str] = (),
    ) -> None:
        self.processes, self.pool, self.send, self.products = processes, pool, send, products
        self.own_url, self.allowed_hosts = own_url, allowed_hosts
        self._described = {name: described(process) for name, process in processes.items()}
        # threads of their own: a broker that does not answer holds up no request
        self._senders = ThreadPoolExecutor(2, thread_name_prefix="send")
        self.sync_wait_s, self.max_body_bytes = sync_wait_s, max_body_bytes
        self._max_waiting_jobs = max_waiting_jobs

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
        Raises TooManyJobs; of those who ask at the same moment, some more may get in.
        """
        with self.pool.connection() as conn, conn.transaction():
            if jobs.waiting(conn) >= self._max_waiting_jobs:
                raise TooManyJobs(
                    f"{self._max_waiting_jobs} jobs wait already: ask again when some have run"
                )
            job = jobs.create(
                conn,
                process.id,
                wanted.as_json(self.own_url, called),
                gpu=process.gpu,
                collection=getattr(wanted.inputs, "collection", None),
                subscriber=wanted.subscriber,
            )
            if wanted.subscriber:
                callbacks.expect(conn, job.id)
        self._senders.submit(self._send, job)
        return job

    async def watch(self) -> None:
        """Put jobs whose worker is gone back in the queue, for ever.

        Workers do so for each other; where the last one ended, its jobs would seem to run on.
        """
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await run_in_threadpool(self._reap)
            except (psycopg.OperationalError, PoolTimeout) as error:
                LOG.warning("jobs without a worker wait for the database: %s", error)

    def _reap(self) -> None:
        with self.pool.connection() as conn:
            lost = [jobs.get(conn, job_id) for job_id, _ in leases.reap(conn)]
        for job in filter(None, lost):
            LOG.warning("job %s lost its worker: sent again", job.id)
            self._senders.submit(self._send, job)

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
        known = self.processes.get(job.process_id)
        return Results(job, url, self.products, list(known.outputs.model_fields) if known else [])

    def told(self, job: Job) -> dict[str, Any]:
        """Return what a subscriber is told of a job: its results, else its status."""
        if job.status == "successful":
            return self.results(job, self.own_url).document()
        return status_info(job, self.own_url)

    async def finished(self, job: Job, wait_s: float) -> Job:
        """Return the job as it is when it ends, or when the wait is over."""
        end = time.monotonic() + wait_s
        pause_s, longest_s = WAIT_STEPS_S
        while job.status in OPEN and time.monotonic() < end:
            await asyncio.sleep(min(pause_s, max(end - time.monotonic(), 0.0)))
            pause_s = min(pause_s * 1.5, longest_s)
            job = await run_in_threadpool(self.job, job.id)
        return job


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
            link(here, "self", "This process"),
            link(f"{here}?f=html", "alternate", "This process as a page", "text/html"),
            link(f"{here}/execution", EXECUTE, "Run it"),
            link(f"{url}/jobs?processID={process_id}", "monitor", "Its jobs"),
        ],
    }
