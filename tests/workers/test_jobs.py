"""What the job row promises."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from workers import jobs, leases

Conn = psycopg.Connection[Any]


def test_a_job_goes_from_accepted_to_successful(conn: Conn) -> None:
    job = jobs.create(conn, "echo", {"inputs": {"text": "ü"}}, collection="mine")
    assert (job.status, job.attempts, job.request["inputs"]["text"]) == ("accepted", 0, "ü")
    running = jobs.claim(conn, job.id, "worker", 1)
    assert running is not None
    assert running.started is not None
    jobs.report(conn, job.id, running.fence, 40, "half way")
    assert jobs.get(conn, job.id).progress == 40  # type: ignore[union-attr]
    jobs.finish(conn, job.id, running.fence, "key", {"text": "ü", "a": 1})
    done = jobs.get(conn, job.id)
    assert done is not None
    assert (done.status, done.progress, done.key) == ("successful", 100, "key")
    assert list(done.results or {}) == ["text", "a"]
    assert done.finished is not None


def test_only_one_of_two_workers_gets_a_job(conn: Conn) -> None:
    job = jobs.create(conn, "echo", {})
    assert jobs.claim(conn, job.id, "one", 1) is not None
    assert jobs.claim(conn, job.id, "two", 2) is None


def test_a_dismissed_job_cannot_be_claimed_reported_or_finished(conn: Conn) -> None:
    waiting = jobs.create(conn, "echo", {})
    assert jobs.dismiss(conn, waiting.id).status == "dismissed"  # type: ignore[union-attr]
    assert jobs.claim(conn, waiting.id, "worker", 1) is None

    job = jobs.create(conn, "echo", {})
    running = jobs.claim(conn, job.id, "worker", 1)
    assert running is not None
    jobs.dismiss(conn, job.id)
    with pytest.raises(jobs.FenceLost):
        jobs.finish(conn, job.id, running.fence, "key", {})
    assert leases.unwanted(conn, "worker", 0.0) == [1]
    jobs.let_go(conn, job.id, running.fence)
    assert leases.unwanted(conn, "worker", 0.0) == []


@pytest.mark.parametrize("name", ["", "nonsense", "{}", "00000000-0000-0000-0000-000000000000"])
def test_a_job_that_never_was_is_none(conn: Conn, name: str) -> None:
    assert jobs.get(conn, name) is None
    assert jobs.dismiss(conn, name) is None


def test_pages_of_jobs_are_newest_first_and_counted(conn: Conn) -> None:
    made = [jobs.create(conn, "dsm" if n % 2 else "echo", {}) for n in range(5)]
    page, count = jobs.listed(conn, limit=2, offset=1)
    assert ([job.id for job in page], count) == ([made[3].id, made[2].id], 5)
    page, count = jobs.listed(conn, process_ids=["dsm"], statuses=["accepted"])
    assert ({job.process_id for job in page}, count) == ({"dsm"}, 2)
    page, count = jobs.listed(conn, since=made[3].created, until=made[3].created)
    assert ([job.id for job in page], count) == ([made[3].id], 1)
    assert jobs.listed(conn, min_duration_s=0.0)[1] == 0  # none has started
