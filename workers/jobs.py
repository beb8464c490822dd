"""The job: one row in PostgreSQL, which is the only truth about it.

The row is written first and its message, which carries nothing but the id, afterwards; a message
that is lost is sent again, one that comes twice finds the row claimed. So a broker may be down,
restarted or empty without losing a job or running one twice.

    accepted ──claim──► running ──finish──► successful
        ▲                  │ ├────fail────► failed
        └──lease ran out───┘ └──dismiss───► dismissed       (dismiss holds from every state)

A claim raises the row's *fence*. Everything a worker writes names the fence it was given, so one
that was thought dead writes nothing when it wakes. Its lease (`workers/leases.py`) is renewed by
the process that watches over it, never by the one that computes: native code may hold the
interpreter for minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Json, Jsonb

from workers.leases import CPU, GPU, LEASE_S, served, tuples

Status = Literal["accepted", "running", "successful", "failed", "dismissed"]

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS orograph;
CREATE TABLE IF NOT EXISTS orograph.job (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    process_id  text NOT NULL,
    status      text NOT NULL DEFAULT 'accepted'
                CHECK (status IN ('accepted', 'running', 'successful', 'failed', 'dismissed')),
    request     jsonb NOT NULL,
    progress    integer NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    message     text NOT NULL DEFAULT '',
    created     timestamptz NOT NULL DEFAULT now(),
    started     timestamptz,
    updated     timestamptz NOT NULL DEFAULT now(),
    finished    timestamptz,
    queue       text NOT NULL DEFAULT 'cpu',
    sent        timestamptz,
    attempts    integer NOT NULL DEFAULT 0,
    fence       bigint NOT NULL DEFAULT 0,
    lease       timestamptz,
    worker      text,
    pid         integer,
    key         text,
    results     json,  -- not jsonb: outputs keep their order
    fault       jsonb,
    collection  text,
    subscriber  jsonb
);
CREATE INDEX IF NOT EXISTS job_created ON orograph.job (created DESC, id);
CREATE INDEX IF NOT EXISTS job_open ON orograph.job (status, queue)
    WHERE status IN ('accepted', 'running');
CREATE INDEX IF NOT EXISTS job_worker ON orograph.job (worker) WHERE worker IS NOT NULL;
CREATE TABLE IF NOT EXISTS orograph.worker (
    name    text PRIMARY KEY,
    queues  text[] NOT NULL,
    lease   timestamptz NOT NULL
);
"""


class FenceLost(Exception):
    """Another worker has this job, or nobody wants it any more: stop and write nothing."""


@dataclass(frozen=True)
class Job:
    """A job as its row says."""

    id: str
    process_id: str
    status: Status
    request: dict[str, Any]
    """The execute request, checked: {"inputs", "outputs", "response"}; workers read `inputs`."""
    progress: int
    message: str
    created: datetime
    started: datetime | None
    updated: datetime
    finished: datetime | None
    queue: str
    attempts: int
    fence: int
    key: str | None
    results: dict[str, Any] | None
    fault: dict[str, Any] | None
    collection: str | None
    subscriber: dict[str, Any] | None


COLUMNS = ", ".join(Job.__dataclass_fields__)


# -- what the server does


def create(
    conn: Connection[Any],
    process_id: str,
    request: Mapping[str, Any],
    *,
    gpu: bool = False,
    collection: str | None = None,
    subscriber: Mapping[str, Any] | None = None,
) -> Job:
    """Accept a job. Its message is sent after this is committed (`workers.app.enqueue`).

    One that a *gpu* makes faster goes to a worker that has one, where such a worker is present;
    any other only where nobody else is.
    """
    present = served(conn)
    queue = GPU if GPU in present and (gpu or CPU not in present) else CPU
    rows = _rows(
        conn,
        f"""INSERT INTO orograph.job
                (process_id, request, queue, collection, subscriber, message)
            VALUES (%s, %s, %s, %s, %s, 'waiting for a worker') RETURNING {COLUMNS}""",
        [process_id, Jsonb(request), queue, collection, _json(subscriber)],
    )
    return rows[0]


def waiting(conn: Connection[Any]) -> int:
    """Return how many jobs wait for a worker."""
    rows = tuples(conn, "SELECT count(*) FROM orograph.job WHERE status = 'accepted'", [])
    return int(rows[0][0])


def get(conn: Connection[Any], job_id: str) -> Job | None:
    """Return a job, or None where there is none, whatever *job_id* looks like."""
    rows = _rows(conn, f"SELECT {COLUMNS} FROM orograph.job WHERE id = %s", [_uuid(job_id)])
    return rows[0] if rows else None


def listed(
    conn: Connection[Any],
    *,
    limit: int = 10,
    offset: int = 0,
    process_ids: Sequence[str] = (),
    statuses: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    min_duration_s: float | None = None,
    max_duration_s: float | None = None,
) -> tuple[list[Job], int]:
    """Return a page of jobs, newest first, and how many match in all.

    *since* and *until* bound the time of creation, both inclusive; durations are those of the run
    so far.
    """
    duration = "extract(epoch FROM coalesce(finished, now()) - started)"
    conditions: list[tuple[str, Any]] = [
        ("process_id = ANY(%s)", list(process_ids) or None),
        ("status = ANY(%s)", list(statuses) or None),
        ("created >= %s", since),
        ("created <= %s", until),
        (f"{duration} >= %s", min_duration_s),
        (f"{duration} <= %s", max_duration_s),
    ]
    chosen = [(text, value) for text, value in conditions if value is not None]
    where = " AND ".join(text for text, _ in chosen) or "true"
    values = [value for _, value in chosen]
    jobs = _rows(
        conn,
        f"""SELECT {COLUMNS} FROM orograph.job WHERE {where}
            ORDER BY created DESC, id LIMIT %s OFFSET %s""",
        [*values, limit, offset],
    )
    counted = tuples(conn, f"SELECT count(*) FROM orograph.job WHERE {where}", values)
    return jobs, counted[0][0]


def dismiss(conn: Connection[Any], job_id: str) -> Job | None:
    """Dismiss a job in whatever state; None where there is none.

    A running one notices at its next word of progress, or is ended by its worker's guardian.
    """
    rows = _rows(
        conn,
        f"""UPDATE orograph.job SET status = 'dismissed', message = 'dismissed', results = NULL,
                updated = now(), finished = coalesce(finished, now())
            WHERE id = %s RETURNING {COLUMNS}""",
        [_uuid(job_id)],
    )
    return rows[0] if rows else None


def hold_product(conn: Connection[Any], key: str) -> None:
    """Wait until nobody else publishes or withdraws a product, and keep others waiting.

    Until the transaction ends.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


def known_products(conn: Connection[Any], keys: Sequence[str]) -> set[str]:
    """Return those of *keys* that are in the catalogue, or the results of a job."""
    rows = tuples(
        conn,
        "SELECT key FROM orograph.job WHERE key = ANY(%(keys)s)"
        " UNION SELECT id FROM pgstac.items WHERE id = ANY(%(keys)s)",
        {"keys": list(keys)},
    )
    return {key for (key,) in rows}


def forget_product(conn: Connection[Any], key: str) -> int:
    """Dismiss the jobs whose results are a product that is withdrawn; returns how many."""
    return conn.execute(
        """UPDATE orograph.job SET status = 'dismissed', message = 'its product was deleted',
               results = NULL, key = NULL, updated = now() WHERE key = %s""",
        [key],
    ).rowcount


# -- what the computing process does


def claim(conn: Connection[Any], job_id: str, worker: str, pid: int) -> Job | None:
    """Take a job that waits; None where it does not: done, dismissed, or somebody else's."""
    rows = _rows(
        conn,
        f"""UPDATE orograph.job SET status = 'running', attempts = attempts + 1, fence = fence + 1,
                worker = %s, pid = %s, lease = now() + make_interval(secs => %s),
                started = coalesce(started, now()), updated = now(), progress = 0,
                message = 'started'
            WHERE id = %s AND status = 'accepted' RETURNING {COLUMNS}""",
        [worker, pid, LEASE_S, job_id],
    )
    return rows[0] if rows else None


def report(conn: Connection[Any], job_id: str, fence: int, progress: int, message: str) -> None:
    """Say how far a job is, in percent. Raises FenceLost."""
    _held(
        conn,
        "progress = %s, message = %s, updated = now()",
        [min(max(progress, 0), 100), message[:500]],
        job_id,
        fence,
    )


def finish(
    conn: Connection[Any],
    job_id: str,
    fence: int,
    key: str | None,
    results: Mapping[str, Any],
    *,
    collection: str | None = None,
) -> None:
    """Mark a job successful; in the transaction that publishes its product. Raises FenceLost.

    *collection* is where its item is; None where it has none.
    """
    _held(
        conn,
        """status = 'successful', progress = 100, message = 'done', key = %s, results = %s,
           collection = %s, lease = NULL, worker = NULL, pid = NULL, updated = now(),
           finished = now()""",
        [key, Json(results), collection],
        job_id,
        fence,
    )


def fail(conn: Connection[Any], job_id: str, fence: int, fault: Mapping[str, Any]) -> None:
    """Mark a job failed; *fault* is {"type", "detail"}. Raises FenceLost."""
    _held(
        conn,
        """status = 'failed', message = %s, fault = %s, lease = NULL, worker = NULL, pid = NULL,
           updated = now(), finished = now()""",
        [str(fault.get("detail", "failed"))[:500], Jsonb(fault)],
        job_id,
        fence,
    )


def let_go(conn: Connection[Any], job_id: str, fence: int) -> None:
    """Say that nothing computes a dismissed job any more."""
    conn.execute(
        "UPDATE orograph.job SET worker = NULL, pid = NULL, lease = NULL"
        " WHERE id = %s AND fence = %s AND status <> 'running'",
        [job_id, fence],
    )


def _held(
    conn: Connection[Any], assignment: str, values: Sequence[Any], job_id: str, fence: int
) -> None:
    changed = conn.execute(
        f"UPDATE orograph.job SET {assignment} WHERE id = %s AND fence = %s AND status = 'running'",
        [*values, job_id, fence],
    ).rowcount
    if changed != 1:
        raise FenceLost(f"job {job_id} is not ours any more")


def _rows(conn: Connection[Any], query: str, values: Sequence[Any]) -> list[Job]:
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, values).fetchall()
    return [Job(**row | {"id": str(row["id"])}) for row in rows]


def _json(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
