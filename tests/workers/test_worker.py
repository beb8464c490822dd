"""A worker, its guardian and its broker may end at any moment; no job is lost or run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from server.local import worker_process
from server.private import child, redis
from workers import jobs
from workers.app import enqueue

LeftOver = Callable[[list[psutil.Process], float], list[psutil.Process]]
NewBench = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def shared(
    new_database: Callable[[], AbstractContextManager[str]],
    new_bench: NewBench,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """A bench whose one worker all tests share that leave it running."""
    data = tmp_path_factory.mktemp("data")
    with (
        new_database() as database_url,
        redis(data / "redis.log") as broker_url,
        new_bench(data, database_url, broker_url) as made,
        worker_process(made.settings),
    ):
        yield made


@pytest.fixture
def alone(database: str, new_bench: NewBench, tmp_path: Path) -> Iterator[Any]:
    """A bench without a worker."""
    with (
        redis(tmp_path / "redis.log") as broker_url,
        new_bench(tmp_path, database, broker_url) as made,
    ):
        yield made


def test_a_job_is_run_and_its_results_are_in_its_row(shared: Any) -> None:
    job = shared.until(shared.send(message="hello"), "successful", "failed")
    assert (job.status, job.results, job.key) == ("successful", {"message": "hello"}, None)
    said = [line for line in shared.log().splitlines() if f"orograph.job: job {job.id}" in line]
    assert said[0].endswith(f"INFO orograph.job: job {job.id}: echo, attempt 1")


def test_a_worker_says_whether_it_is_well(shared: Any) -> None:
    shared.until(shared.send(message="up"), "successful")
    own = {
        "OROGRAPH_DATABASE_URL": str(shared.settings.database_url),
        "OROGRAPH_BROKER_URL": str(shared.settings.broker_url),
    }
    command = [sys.executable, "-m", "workers.guardian", "--check"]
    assert subprocess.run(command, env=os.environ | own, timeout=30).returncode == 0
    own["OROGRAPH_BROKER_URL"] = "redis://127.0.0.1:1/0"
    ill = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=30)
    assert ill.returncode == 1
    assert ill.stderr.startswith("orograph worker: ")


def test_a_message_that_comes_twice_runs_its_job_once(shared: Any) -> None:
    job = jobs.create(shared.conn, "echo", {"inputs": {"pause": 1}})
    for _ in range(3):
        enqueue(shared.app, job.id)
    shared.until(job.id, "successful")
    shared.until(shared.send(message="after the copies"), "successful")
    assert shared.job(job.id).attempts == 1


def test_an_address_within_a_file_is_not_followed(
    shared: Any, snare: Callable[[Path], Path]
) -> None:
    sent = snare(shared.settings.data / "uploads" / ("0" * 64))
    own = {"href": f"{shared.settings.url}/uploads/{sent.parent.name}/{sent.name}"}
    inputs = {"product": own, "reference": own, "kind": "footprints"}
    job = jobs.create(shared.conn, "qualify", {"inputs": inputs})
    enqueue(shared.app, job.id)
    ended = shared.until(job.id, "successful", "failed")
    assert ended.status == "successful", ended.fault


def test_a_job_whose_child_was_killed_completes_elsewhere(shared: Any) -> None:
    job_id = shared.send(message="again", pause=600)
    shared.until(job_id, "running")
    shared.hasten(job_id)
    os.kill(shared.pid(job_id), signal.SIGKILL)
    job = shared.until(job_id, "successful")
    assert (job.attempts, job.results["message"]) == (2, "again")


def test_a_dismissed_job_stops_at_once(shared: Any) -> None:
    job_id = shared.send(pause=600)
    shared.until(job_id, "running")
    child = psutil.Process(shared.pid(job_id))
    jobs.dismiss(shared.conn, job_id)
    shared.until(shared.send(message="next"), "successful")
    assert child.is_running()  # it heard of it: nobody had to end it
    assert shared.job(job_id).status == "dismissed"


def test_a_dismissed_job_that_hears_nothing_is_ended(shared: Any) -> None:
    job_id = shared.send(pause=600)
    shared.until(job_id, "running")
    os.kill(shared.pid(job_id), signal.SIGSTOP)  # as native code that never returns
    jobs.dismiss(shared.conn, job_id)
    shared.until(shared.send(message="next"), "successful")
    assert shared.job(job_id).status == "dismissed"


def test_a_job_that_kills_its_worker_fails_after_three_attempts(shared: Any) -> None:
    job_id = shared.send(pause=600)
    for attempt in (1, 2, 3):
        shared.until(job_id, "running", attempts=attempt)
        os.kill(shared.pid(job_id), signal.SIGKILL)
    job = shared.until(job_id, "failed")
    assert (job.attempts, job.fault["type"]) == (3, "WorkerEnded")


def test_a_worker_that_was_killed_leaves_no_process_and_another_takes_over(
    alone: Any, left_over: LeftOver
) -> None:
    with worker_process(alone.settings) as first:
        job_id = alone.send(pause=600)
        alone.until(job_id, "running")
        alone.hasten(job_id)
        family = psutil.Process(first.pid).children(recursive=True)
        first.kill()
        assert len(family) >= 2
        assert not left_over(family, 5)
    alone.conn.execute("UPDATE orograph.job SET lease = now() + interval '1 second'")  # not ten
    with worker_process(alone.settings):
        assert alone.until(job_id, "successful").attempts == 2


def test_jobs_find_the_worker_they_need(
    shared: Any, left_over: LeftOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(*, gpu: bool) -> jobs.Job:
        job = jobs.create(shared.conn, "echo", {"inputs": {"pause": 0}}, gpu=gpu)
        enqueue(shared.app, job.id, job.queue)
        return job

    monkeypatch.setenv("OROGRAPH_QUEUES", "gpu")
    with worker_process(shared.settings) as big:
        shared.present("cpu", "gpu")
        light, heavy = sent(gpu=False), sent(gpu=True)
        assert (light.queue, heavy.queue) == ("cpu", "gpu")
        shared.until(light.id, "successful")
        shared.until(heavy.id, "successful")
        family = psutil.Process(big.pid).children(recursive=True)
        big.kill()
        assert not left_over(family, 5)
        waiting = sent(gpu=True)  # nobody knows yet
        assert waiting.queue == "gpu"
        assert shared.until(waiting.id, "successful").queue == "cpu"


def test_two_workers_take_two_jobs_side_by_side(shared: Any) -> None:
    holder = "SELECT worker FROM orograph.job WHERE id = %s"
    with worker_process(shared.settings):
        both = [shared.send(pause=600), shared.send(pause=600)]
        for job_id in both:
            shared.until(job_id, "running")
        # neither waits for the other: each has a worker of its own, at the same time
        assert {shared.job(job_id).status for job_id in both} == {"running"}
        found = [shared.conn.execute(holder, (job_id,)).fetchone() for job_id in both]
        assert None not in found
        assert found[0] != found[1]
        assert [shared.job(job_id).attempts for job_id in both] == [1, 1]
        for job_id in both:
            jobs.dismiss(shared.conn, job_id)
        shared.until(shared.send(message="both are free"), "successful")


def test_a_worker_that_stops_hands_its_job_back(alone: Any) -> None:
    with worker_process(alone.settings):
        job_id = alone.send(pause=600)
        alone.until(job_id, "running")
    job = alone.job(job_id)
    assert (job.status, job.attempts) == ("accepted", 0)


def test_jobs_wait_while_the_broker_is_down_and_run_when_it_is_back(
    database: str, new_bench: NewBench, tmp_path: Path
) -> None:
    path = Path(f"{tmp_path}.sock") if len(str(tmp_path)) < 90 else Path(f"/tmp/{os.getpid()}.sock")
    log = tmp_path / "redis.log"
    with new_bench(tmp_path, database, f"redis+socket://{path}?virtual_host=0") as made:
        job = jobs.create(made.conn, "echo", {"inputs": {"message": "early"}})
        assert enqueue(made.app, job.id) is False
        made.age(job.id)
        with worker_process(made.settings):
            with redis(log, at=path):
                made.until(job.id, "successful")
            late = jobs.create(made.conn, "echo", {"inputs": {"message": "late"}})
            made.age(late.id)
            with redis(log, at=path):
                made.until(late.id, "successful", patience_s=90)


@contextmanager
def impatient(bench: Any, deaf_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A guardian that bears with a silent pool for so long at first."""
    program = "from workers import guardian, leases\n"
    program += f"guardian.DEAF_S, leases.RESEND_S = {deaf_s}, 1.0\n"
    program += "guardian.TURN_S, guardian.CELERY_RESTART_S = 0.1, 0.1\n"
    program += "guardian.main([])"
    own = {
        "OROGRAPH_DATA": str(bench.settings.data),
        "OROGRAPH_DATABASE_URL": str(bench.settings.database_url),
        "OROGRAPH_BROKER_URL": str(bench.settings.broker_url),
    }
    with (
        (bench.settings.data / "log/worker.log").open("ab") as output,
        child(
            [sys.executable, "-c", program], output, stop=signal.SIGTERM, env=os.environ | own
        ) as guardian,
    ):
        yield guardian


def test_a_pool_that_takes_no_message_is_started_again(alone: Any) -> None:
    with impatient(alone, 6.0) as guardian:
        alone.until(alone.send(message="it hears"), "successful", patience_s=90)
        (pool,) = psutil.Process(guardian.pid).children()
        pool.suspend()
        alone.until(alone.send(message="it hears again"), "successful", patience_s=90)
    assert "messages wait, but Celery takes none" in alone.log()


def test_a_pool_that_takes_long_to_start_is_waited_for_longer_each_time(alone: Any) -> None:
    """On a busy machine none ever came so far as to take a message before it was ended."""
    with impatient(alone, 0.2):
        alone.until(alone.send(message="at last"), "successful", patience_s=90)
    assert "messages wait, but Celery takes none" in alone.log()


def test_a_worker_without_its_settings_says_which_is_missing() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OROGRAPH_")}
    ended = subprocess.run(
        [sys.executable, "-m", "workers.guardian"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2
    assert ended.stderr.strip() == "orograph worker: set OROGRAPH_DATABASE_URL, OROGRAPH_BROKER_URL"
