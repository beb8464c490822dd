"""Which calls are due: each end is told until it is heard, by one caller at a time."""

from __future__ import annotations

from typing import Any

import psycopg

from workers import callbacks, jobs

Conn = psycopg.Connection[Any]
ALL = {name: f"https://maps.example/{name}" for name in set(callbacks.MEMBERS.values())}


def job(conn: Conn, wants: dict[str, str] = ALL) -> jobs.Job:
    made = jobs.create(conn, "echo", {}, subscriber=wants)
    callbacks.expect(conn, made.id)
    return made


def claimed(conn: Conn, made: jobs.Job) -> jobs.Job:
    running = jobs.claim(conn, made.id, "worker", 1)
    assert running is not None
    return running


def later(conn: Conn) -> None:
    conn.execute("UPDATE orograph.callback SET due = now() - interval '1 second'")


def due(conn: Conn) -> list[tuple[str | None, int]]:
    return [(call.uri, call.attempt) for call in callbacks.due(conn, 8)]


def test_a_job_that_waits_is_no_news(conn: Conn) -> None:
    job(conn)
    assert due(conn) == []


def test_an_end_is_taken_by_one_caller_and_by_another_when_that_one_died(conn: Conn) -> None:
    running = claimed(conn, job(conn))
    jobs.finish(conn, running.id, running.fence, None, {})
    assert due(conn) == [(ALL["successUri"], 1)]
    assert due(conn) == []
    later(conn)
    assert due(conn) == [(ALL["successUri"], 2)]


def test_an_end_does_not_wait_for_the_next_progress_but_for_the_call_in_flight(conn: Conn) -> None:
    running = claimed(conn, job(conn))
    (progress,) = callbacks.due(conn, 8)
    jobs.finish(conn, running.id, running.fence, None, {})
    assert due(conn) == []
    callbacks.heard(conn, progress)
    assert due(conn) == [(ALL["successUri"], 1)]


def test_progress_is_told_when_there_is_some_and_it_is_time(conn: Conn) -> None:
    running = claimed(conn, job(conn))
    callbacks.heard(conn, *callbacks.due(conn, 8))
    later(conn)
    assert due(conn) == []
    jobs.report(conn, running.id, running.fence, 10, "on")
    (call,) = callbacks.due(conn, 8)
    assert callbacks.unheard(conn, call) is False  # there will be more
    jobs.report(conn, running.id, running.fence, 20, "on")
    assert due(conn) == []
    later(conn)
    assert due(conn) == [(ALL["inProgressUri"], 1)]


def test_nobody_is_called_for_ever(conn: Conn) -> None:
    running = claimed(conn, job(conn))
    jobs.fail(conn, running.id, running.fence, {"type": "NoRpc", "detail": "no model"})
    again = []
    while calls := callbacks.due(conn, 8):
        again.append(callbacks.unheard(conn, calls[0]))
        later(conn)
    assert again == [True] * len(callbacks.RETRY_S) + [False]
    assert conn.execute("SELECT count(*) FROM orograph.callback").fetchone() == (0,)


def test_results_deleted_after_they_were_told_are_no_news(conn: Conn) -> None:
    running = claimed(conn, job(conn, {"successUri": ALL["successUri"]}))
    jobs.finish(conn, running.id, running.fence, None, {})
    callbacks.heard(conn, *callbacks.due(conn, 8))
    jobs.dismiss(conn, running.id)
    assert due(conn) == []
