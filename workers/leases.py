"""Who is present and whose job lives: what a guardian does with the rows of jobs and workers.

A worker is present, and a job in hands, while its lease lasts. One whose lease ran out goes back
in the queue, one that waits in a queue nobody serves to another, one whose message the broker
lost is sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

CPU, GPU = "cpu", "gpu"
"""Queues: of jobs that any worker may run, and of those that only workers with a GPU take."""

LEASE_S = 10
MAX_ATTEMPTS = 3
RESEND_S = 10

WORKER_ENDED = {
    "type": "WorkerEnded",
    "detail": f"the worker ended {MAX_ATTEMPTS} times while it ran this job, most likely for lack "
    "of memory: ask for a smaller area or a coarser resolution",
}


def appear(conn: Connection[Any], worker: str, queues: Sequence[str]) -> None:
    """Say that a worker is present and which queues it serves; good for LEASE_S."""
    conn.execute(
        """INSERT INTO orograph.worker (name, queues, lease)
           VALUES (%(name)s, %(queues)s, now() + make_interval(secs => %(lease)s))
           ON CONFLICT (name) DO UPDATE SET queues = excluded.queues, lease = excluded.lease""",
        {"name": worker, "queues": list(queues), "lease": LEASE_S},
    )
    conn.execute("DELETE FROM orograph.worker WHERE lease < now() - interval '1 day'")


def disappear(conn: Connection[Any], worker: str) -> None:
    """Say that a worker stops."""
    conn.execute("DELETE FROM orograph.worker WHERE name = %s", [worker])


def served(conn: Connection[Any]) -> set[str]:
    """Return the queues that a present worker serves."""
    rows = tuples(
        conn, "SELECT DISTINCT unnest(queues) FROM orograph.worker WHERE lease > now()", []
    )
    return {queue for (queue,) in rows}


def stranded(conn: Connection[Any]) -> list[tuple[str, str]]:
    """Move jobs whose queue nobody serves to one that is served; returns their (id, new queue).

    Each has waited RESEND_S: a worker that is started anew still finds its jobs.
    """
    present = served(conn)
    if not present:
        return []
    rows = tuples(
        conn,
        """UPDATE orograph.job SET queue = %(queue)s, sent = now()
           WHERE id IN (SELECT id FROM orograph.job
                        WHERE status = 'accepted' AND queue <> ALL(%(present)s)
                        AND coalesce(sent, created) < now() - make_interval(secs => %(age)s)
                        FOR UPDATE SKIP LOCKED)
           RETURNING id, queue""",
        {"queue": CPU if CPU in present else GPU, "present": list(present), "age": RESEND_S},
    )
    return [(str(job), queue) for job, queue in rows]


def held(conn: Connection[Any], worker: str) -> set[int]:
    """Return the processes of this worker that its rows name."""
    rows = tuples(
        conn, "SELECT pid FROM orograph.job WHERE worker = %s AND pid IS NOT NULL", [worker]
    )
    return {pid for (pid,) in rows}


def renew(conn: Connection[Any], worker: str, pids: Sequence[int]) -> int:
    """Prolong the leases of this worker's jobs whose process lives; returns how many."""
    return conn.execute(
        "UPDATE orograph.job SET lease = now() + make_interval(secs => %s)"
        " WHERE worker = %s AND pid = ANY(%s) AND status = 'running'",
        [LEASE_S, worker, list(pids)],
    ).rowcount


def expire(conn: Connection[Any], worker: str, pids: Sequence[int]) -> None:
    """End the leases of this worker's jobs whose process is gone, so that nobody waits for them.

    *pids* were `held` before they were found gone: the other way round a process born in between
    would lose its job.
    """
    conn.execute(
        "UPDATE orograph.job SET lease = now() - interval '1 second'"
        " WHERE worker = %s AND pid = ANY(%s) AND status = 'running'",
        [worker, list(pids)],
    )
    conn.execute(
        "UPDATE orograph.job SET worker = NULL, pid = NULL"
        " WHERE worker = %s AND pid = ANY(%s) AND status <> 'running'",
        [worker, list(pids)],
    )


def release(conn: Connection[Any], worker: str) -> None:
    """Hand this worker's jobs back when it stops of its own accord: that is no failed attempt."""
    conn.execute(
        """UPDATE orograph.job SET
               status = 'accepted', message = 'its worker stopped: waiting again',
               attempts = attempts - 1, sent = NULL, updated = now(),
               worker = NULL, pid = NULL, lease = NULL
           WHERE worker = %s AND status = 'running'""",
        [worker],
    )


def unwanted(conn: Connection[Any], worker: str, after_s: float) -> list[int]:
    """Return this worker's processes that still compute a job dismissed *after_s* ago."""
    rows = tuples(
        conn,
        """SELECT pid FROM orograph.job AS old WHERE worker = %s AND pid IS NOT NULL
           AND status = 'dismissed' AND updated < now() - make_interval(secs => %s)
           AND NOT EXISTS (SELECT FROM orograph.job AS new WHERE new.worker = old.worker
                           AND new.pid = old.pid AND new.status = 'running')""",
        [worker, after_s],
    )
    return [pid for (pid,) in rows]


def reap(conn: Connection[Any]) -> list[tuple[str, str]]:
    """Put jobs whose lease ran out back in the queue; returns their (id, queue), to be sent.

    One that has ended MAX_ATTEMPTS workers fails instead.
    """
    rows = tuples(
        conn,
        """UPDATE orograph.job SET
               status = CASE WHEN attempts < %(most)s THEN 'accepted' ELSE 'failed' END,
               message = CASE WHEN attempts < %(most)s THEN 'its worker ended: waiting again'
                              ELSE %(detail)s END,
               fault = CASE WHEN attempts < %(most)s THEN NULL ELSE %(fault)s END,
               finished = CASE WHEN attempts < %(most)s THEN NULL ELSE now() END,
               sent = now(), updated = now(), worker = NULL, pid = NULL, lease = NULL
           WHERE id IN (SELECT id FROM orograph.job WHERE status = 'running' AND lease < now()
                        FOR UPDATE SKIP LOCKED)
           RETURNING id, queue, status""",
        {"most": MAX_ATTEMPTS, "detail": WORKER_ENDED["detail"], "fault": Jsonb(WORKER_ENDED)},
    )
    return [(str(job), queue) for job, queue, status in rows if status == "accepted"]


def forgotten(conn: Connection[Any], queue: str) -> list[str]:
    """Return jobs that wait in *queue* and were not sent lately; marks them as sent.

    Asked when the broker's queue is empty: then their messages are lost, or were never sent.
    """
    rows = tuples(
        conn,
        """UPDATE orograph.job SET sent = now()
           WHERE id IN (SELECT id FROM orograph.job WHERE status = 'accepted' AND queue = %(queue)s
                        AND coalesce(sent, created) < now() - make_interval(secs => %(age)s)
                        ORDER BY created LIMIT 1000 FOR UPDATE SKIP LOCKED)
           RETURNING id""",
        {"queue": queue, "age": RESEND_S},
    )
    return [str(job) for (job,) in rows]


def tuples(conn: Connection[Any], query: str, values: Any) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, values).fetchall()
