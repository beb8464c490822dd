"""What the job row promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from workers import jobs

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def run_out(conn: Conn) -> None:
    conn.execute("UPDATE orograph.job SET lease = now() - interval '1 second'")


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


def test_a_worker_thought_dead_writes_nothing_when_it_wakes(conn: Conn) -> None:
    job = jobs.create(conn, "echo", {})
    slow = jobs.claim(conn, job.id, "slow", 1)
    run_out(conn)
    assert jobs.reap(conn) == [(job.id, "cpu")]
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
        jobs.reap(conn)
    failed = jobs.get(conn, job.id)
    assert failed is not None
    assert failed.status == "failed"
    assert failed.fault is not None
    assert failed.fault["type"] == "WorkerEnded"
    assert jobs.claim(conn, job.id, "worker", 1) is None


def test_a_job_handed_back_has_lost_no_attempt(conn: Conn) -> None:
    job = jobs.create(conn, "echo", {})
    jobs.claim(conn, job.id, "worker", 1)
    jobs.release(conn, "worker")
    again = jobs.claim(conn, job.id, "other", 2)
    assert again is not None
    assert again.attempts == 1


def test_a_lease_is_renewed_only_for_processes_that_live(conn: Conn) -> None:
    living, dead = (jobs.create(conn, "echo", {}) for _ in range(2))
    jobs.claim(conn, living.id, "worker", 1)
    jobs.claim(conn, dead.id, "worker", 2)
    run_out(conn)
    assert jobs.held(conn, "worker") == {1, 2}
    assert jobs.renew(conn, "worker", [1]) == 1
    jobs.expire(conn, "worker", [2])
    assert jobs.reap(conn) == [(dead.id, "cpu")]


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
    assert jobs.unwanted(conn, "worker", 0.0) == [1]
    jobs.let_go(conn, job.id, running.fence)
    assert jobs.unwanted(conn, "worker", 0.0) == []


@pytest.mark.parametrize("name", ["", "nonsense", "{}", "00000000-0000-0000-0000-000000000000"])
def test_a_job_that_never_was_is_none(conn: Conn, name: str) -> None:
    assert jobs.get(conn, name) is None
    assert jobs.dismiss(conn, name) is None


def test_only_messages_that_are_overdue_are_sent_again(conn: Conn) -> None:
    old, _ = (jobs.create(conn, "echo", {}) for _ in range(2))
    conn.execute(
        "UPDATE orograph.job SET created = now() - interval '1 hour' WHERE id = %s", [old.id]
    )
    assert jobs.forgotten(conn, "gpu") == []
    assert jobs.forgotten(conn, "cpu") == [old.id]
    assert jobs.forgotten(conn, "cpu") == []  # sent a moment ago


def test_pages_of_jobs_are_newest_first_and_counted(conn: Conn) -> None:
    made = [jobs.create(conn, "dsm" if n % 2 else "echo", {}) for n in range(5)]
    page, count = jobs.listed(conn, limit=2, offset=1)
    assert ([job.id for job in page], count) == ([made[3].id, made[2].id], 5)
    page, count = jobs.listed(conn, process_ids=["dsm"], statuses=["accepted"])
    assert ({job.process_id for job in page}, count) == ({"dsm"}, 2)
    page, count = jobs.listed(conn, since=made[3].created, until=made[3].created)
    assert ([job.id for job in page], count) == ([made[3].id], 1)
    assert jobs.listed(conn, min_duration_s=0.0)[1] == 0  # none has started


def test_a_job_that_a_gpu_makes_faster_goes_where_one_is_present(conn: Conn) -> None:
    assert jobs.create(conn, "dsm", {}, gpu=True).queue == "cpu"
    jobs.appear(conn, "big", ["gpu"])
    jobs.appear(conn, "small", ["cpu"])
    assert jobs.served(conn) == {"cpu", "gpu"}
    assert jobs.create(conn, "dsm", {}, gpu=True).queue == "gpu"
    assert jobs.create(conn, "echo", {}).queue == "cpu"
    jobs.disappear(conn, "small")
    assert jobs.create(conn, "echo", {}).queue == "gpu"  # the only one that is there
    jobs.disappear(conn, "big")
    assert jobs.create(conn, "dsm", {}, gpu=True).queue == "cpu"


@pytest.mark.parametrize(("gone", "left"), [("gpu", "cpu"), ("cpu", "gpu")])
def test_a_job_does_not_wait_for_a_worker_that_is_gone(conn: Conn, gone: str, left: str) -> None:
    jobs.appear(conn, "big", ["gpu"])
    jobs.appear(conn, "small", ["cpu"])
    job, other = (jobs.create(conn, "dsm", {}, gpu=name == "gpu") for name in (gone, left))
    waited(conn)
    assert jobs.stranded(conn) == []
    conn.execute(
        "UPDATE orograph.worker SET lease = now() - interval '1 second' WHERE queues[1] = %s",
        [gone],
    )
    assert jobs.stranded(conn) == [(job.id, left)]
    assert [jobs.get(conn, each.id).queue for each in (job, other)] == [left, left]  # type: ignore[union-attr]


def test_a_worker_that_is_started_anew_finds_its_jobs(conn: Conn) -> None:
    jobs.appear(conn, "big", ["gpu"])
    jobs.appear(conn, "small", ["cpu"])
    job = jobs.create(conn, "dsm", {}, gpu=True)
    jobs.disappear(conn, "big")
    assert jobs.stranded(conn) == []
    waited(conn)
    assert jobs.stranded(conn) == [(job.id, "cpu")]


def test_where_nobody_is_every_job_waits_where_it_is(conn: Conn) -> None:
    jobs.create(conn, "dsm", {}, gpu=True)
    waited(conn)
    assert jobs.stranded(conn) == []


def waited(conn: Conn) -> None:
    """Make all jobs look as if they had waited for long."""
    conn.execute("UPDATE orograph.job SET created = now() - interval '1 hour', sent = NULL")
