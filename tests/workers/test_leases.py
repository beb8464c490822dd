"""When a job is taken from one worker and given to another."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from workers import jobs, leases

Conn = psycopg.Connection[Any]


def test_a_worker_thought_dead_writes_nothing_when_it_wakes(conn: Conn) -> None:
    job = jobs.create(conn, "echo", {})
    slow = jobs.claim(conn, job.id, "slow", 1)
    run_out(conn)
    assert leases.reap(conn) == [(job.id, "cpu")]
    second = jobs.claim(conn, job.id, "second", 2)
    assert slow is not None
    assert second is not None
    for write in (
        lambda: jobs.report(conn, job.id, slow.fence, 90, "still here"),
        lambda: jobs.finish(conn, job.id, slow.fence, "key", {}),
        lambda: jobs.fail(conn, job.id, slow.fence, {"type": "X", "detail": "x"}),
    ):
        with pytest.raises(jobs.FenceLost):
            write()
    jobs.finish(conn, job.id, second.fence, "key", {})


def test_a_job_that_ends_three_workers_fails_and_says_so(conn: Conn) -> None:
    job = jobs.create(conn, "echo", {})
    for attempt in (1, 2, 3):
        claimed = jobs.claim(conn, job.id, "worker", 1)
        assert claimed is not None
        assert claimed.attempts == attempt
        run_out(conn)
        leases.reap(conn)
    failed = jobs.get(conn, job.id)
    assert failed is not None
    assert failed.status == "failed"
    assert failed.fault is not None
    assert failed.fault["type"] == "WorkerEnded"
    assert jobs.claim(conn, job.id, "worker", 1) is None


def test_a_job_handed_back_has_lost_no_attempt(conn: Conn) -> None:
    job = jobs.create(conn, "echo", {})
    jobs.claim(conn, job.id, "worker", 1)
    leases.release(conn, "worker")
    again = jobs.claim(conn, job.id, "other", 2)
    assert again is not None
    assert again.attempts == 1


def test_a_lease_is_renewed_only_for_processes_that_live(conn: Conn) -> None:
    living, dead = (jobs.create(conn, "echo", {}) for _ in range(2))
    jobs.claim(conn, living.id, "worker", 1)
    jobs.claim(conn, dead.id, "worker", 2)
    run_out(conn)
    assert leases.held(conn, "worker") == {1, 2}
    assert leases.renew(conn, "worker", [1]) == 1
    leases.expire(conn, "worker", [2])
    assert leases.reap(conn) == [(dead.id, "cpu")]


def test_only_messages_that_are_overdue_are_sent_again(conn: Conn) -> None:
    old, _ = (jobs.create(conn, "echo", {}) for _ in range(2))
    conn.execute(
        "UPDATE orograph.job SET created = now() - interval '1 hour' WHERE id = %s", [old.id]
    )
    assert leases.forgotten(conn, "gpu") == []
    assert leases.forgotten(conn, "cpu") == [old.id]
    assert leases.forgotten(conn, "cpu") == []  # sent a moment ago


def test_a_job_that_a_gpu_makes_faster_goes_where_one_is_present(conn: Conn) -> None:
    assert jobs.create(conn, "dsm", {}, gpu=True).queue == "cpu"
    leases.appear(conn, "big", ["gpu"])
    leases.appear(conn, "small", ["cpu"])
    assert leases.served(conn) == {"cpu", "gpu"}
    assert jobs.create(conn, "dsm", {}, gpu=True).queue == "gpu"
    assert jobs.create(conn, "echo", {}).queue == "cpu"
    leases.disappear(conn, "small")
    assert jobs.create(conn, "echo", {}).queue == "gpu"  # the only one that is there
    leases.disappear(conn, "big")
    assert jobs.create(conn, "dsm", {}, gpu=True).queue == "cpu"


@pytest.mark.parametrize(("gone", "left"), [("gpu", "cpu"), ("cpu", "gpu")])
def test_a_job_does_not_wait_for_a_worker_that_is_gone(conn: Conn, gone: str, left: str) -> None:
    leases.appear(conn, "big", ["gpu"])
    leases.appear(conn, "small", ["cpu"])
    job, other = (jobs.create(conn, "dsm", {}, gpu=name == "gpu") for name in (gone, left))
    waited(conn)
    assert leases.stranded(conn) == []
    conn.execute(
        "UPDATE orograph.worker SET lease = now() - interval '1 second' WHERE queues[1] = %s",
        [gone],
    )
    assert leases.stranded(conn) == [(job.id, left)]
    assert [jobs.get(conn, each.id).queue for each in (job, other)] == [left, left]  # type: ignore[union-attr]


def test_a_worker_that_is_started_anew_finds_its_jobs(conn: Conn) -> None:
    leases.appear(conn, "big", ["gpu"])
    leases.appear(conn, "small", ["cpu"])
    job = jobs.create(conn, "dsm", {}, gpu=True)
    leases.disappear(conn, "big")
    assert leases.stranded(conn) == []
    waited(conn)
    assert leases.stranded(conn) == [(job.id, "cpu")]


def test_where_nobody_is_every_job_waits_where_it_is(conn: Conn) -> None:
    jobs.create(conn, "dsm", {}, gpu=True)
    waited(conn)
    assert leases.stranded(conn) == []


def run_out(conn: Conn) -> None:
    conn.execute("UPDATE orograph.job SET lease = now() - interval '1 second'")


def waited(conn: Conn) -> None:
    """Make all jobs look as if they had waited for long."""
    conn.execute("UPDATE orograph.job SET created = now() - interval '1 hour', sent = NULL")
