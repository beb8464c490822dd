"""Who wants to hear of a job: one row beside the job's, until its end was told or given up.

What is to be told follows from the job's own row, so nothing that changes a job knows of callbacks
and no callback can change a job. A row is taken for LEASE_S: should the caller die in between, the
call is made again, so that a subscriber hears of every end at least once.

    running                → inProgressUri    at its start, then at most every PROGRESS_S; once each
    successful             → successUri       until it is heard, or RETRY_S is over
    failed or dismissed    → failedUri        as well
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

from workers import jobs
from workers.jobs import Job

LEASE_S = 60
PROGRESS_S = 10
RETRY_S = (5, 30, 180, 900)
"""How long to wait after the first, second, … call that failed; after the last comes the last."""

MEMBERS = {
    "running": "inProgressUri",
    "successful": "successUri",
    "failed": "failedUri",
    "dismissed": "failedUri",
}
"""Which member of an OGC `subscriber` is told of a status."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS orograph.callback (
    job_id    uuid PRIMARY KEY REFERENCES orograph.job ON DELETE CASCADE,
    progress  integer,  -- the last that was told
    attempts  integer NOT NULL DEFAULT 0,
    due       timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True)
class Call:
    """One call to make, of a job as it is now."""

    job: Job
    attempt: int

    @property
    def uri(self) -> str | None:
        """Whom to call; None where nobody asked."""
        return (self.job.subscriber or {}).get(MEMBERS.get(self.job.status, ""))

    @property
    def is_last_word(self) -> bool:
        return self.job.status in ("successful", "failed", "dismissed")


def expect(conn: Connection[Any], job_id: str) -> None:
    """Note that somebody wants to hear of a job; in the transaction that creates it."""
    conn.execute("INSERT INTO orograph.callback (job_id) VALUES (%s)", [job_id])


def due(conn: Connection[Any], most: int) -> list[Call]:
    """Take the calls to make now, *most* at most, so that nobody else makes them meanwhile."""
    # an end is told at once: it does not wait for the next progress
    with conn.cursor(row_factory=tuple_row) as cursor:
        taken = cursor.execute(
            """UPDATE orograph.callback SET
                   attempts = attempts + 1, due = now() + make_interval(secs => %s)
               WHERE job_id IN (
                   SELECT job_id FROM orograph.callback JOIN orograph.job ON id = job_id
                   WHERE CASE status
                       WHEN 'accepted' THEN false
                       WHEN 'running' THEN due <= now() AND subscriber ? 'inProgressUri'
                           AND job.progress IS DISTINCT FROM callback.progress
                       ELSE due <= now() OR callback.attempts = 0 END
                   ORDER BY due LIMIT %s FOR UPDATE OF callback SKIP LOCKED)
               RETURNING job_id::text, attempts""",
            [LEASE_S, most],
        ).fetchall()
    calls = [(jobs.get(conn, job_id), attempt) for job_id, attempt in taken]
    return [Call(job, attempt) for job, attempt in calls if job is not None]


def heard(conn: Connection[Any], call: Call) -> None:
    """Note that a call was made, or that nobody asked for it."""
    if call.is_last_word:
        conn.execute("DELETE FROM orograph.callback WHERE job_id = %s", [call.job.id])
    else:
        conn.execute(
            """UPDATE orograph.callback SET
                   attempts = 0, progress = %s, due = now() + make_interval(secs => %s)
               WHERE job_id = %s""",
            [call.job.progress, PROGRESS_S, call.job.id],
        )


def unheard(conn: Connection[Any], call: Call, *, hopeless: bool = False) -> bool:
    """Note that a call failed; True where it is made again.

    Progress is not told twice: there will be more of it.
    """
    again = call.is_last_word and not hopeless and call.attempt <= len(RETRY_S)
    if not again:
        heard(conn, call)
        return False
    conn.execute(
        "UPDATE orograph.callback SET due = now() + make_interval(secs => %s) WHERE job_id = %s",
        [RETRY_S[call.attempt - 1], call.job.id],
    )
    return True
