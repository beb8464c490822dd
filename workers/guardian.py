"""The worker: a guardian that watches, and below it a Celery pool that computes.

    guardian  ``python -m workers.guardian``   leases; in a thread the reaper and the outbox
      └ Celery  (prefork)                      takes messages, one ahead of nothing
          └ child … child                      one job each

The guardian is a process of its own because native code in a child may hold the interpreter for
minutes, and because a fork of a process with threads is not safe. It gives up the leases of a
child that died at once, ends one that computes a dismissed job, and starts Celery again should it
end or take no message though some wait: a broker that goes away in the middle of an acknowledgment
now and then leaves Celery deaf. Each process dies with its parent, however that ended.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import psutil
import psycopg
from celery import Celery
from kombu.exceptions import OperationalError as BrokerDown
from pydantic import ValidationError

from workers import leases
from workers.app import celery_app, enqueue
from workers.family import end, living
from workers.pool import compute
from workers.settings import WorkerSettings
from workers.sweep import EVERY_S, sweep

TURN_S = 1.0
DISMISSED_GRACE_S = 5.0
CELERY_RESTART_S = 2.0
DEAF_S = 20.0
"""A message waits no longer for a pool that does nothing; starting one takes a few seconds. Where a
machine is so busy that it takes more, each further pool is given twice as long."""

log = logging.getLogger("orograph.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker until it is told to stop; `--check` says whether one on this machine is well.

    `--pool NAME` is what the guardian starts.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("orograph").setLevel(logging.INFO)  # Celery sets the root's to its own
    try:
        settings = WorkerSettings()  # type: ignore[call-arg]  # from the environment
    except ValidationError as error:
        wrong = ", ".join(f"OROGRAPH_{str(fault['loc'][0]).upper()}" for fault in error.errors())
        print(f"orograph worker: set {wrong}", file=sys.stderr)
        return 2
    if arguments and arguments[0] == "--pool":
        return compute(settings, arguments[1])
    if arguments and arguments[0] == "--check":
        return _checked(settings)
    return _guard(settings)


def _guard(settings: WorkerSettings) -> int:
    name = f"{socket.gethostname()}-{os.getpid()}-{int(time.time())}"
    stopped = Stopped()
    turns = Turns(settings.database_url)
    silence = Silence()
    # A broker that is away is waited for: in a thread, for leases do not wait.
    postman = threading.Thread(
        target=_deliver, args=(settings, name, silence, stopped), daemon=True
    )
    postman.start()
    celery: subprocess.Popen[bytes] | None = None
    try:
        while not stopped:
            if celery is not None and silence.too_long():
                log.error("messages wait, but Celery takes none: ending it")
                silence.may_last_longer()
                end(celery)
            if celery is None or celery.poll() is not None:
                if celery is not None:
                    log.error("Celery ended with code %s: starting it again", celery.returncode)
                    stopped.wait(CELERY_RESTART_S)
                celery = subprocess.Popen(
                    [sys.executable, "-m", "workers.guardian", "--pool", name]
                )
                silence.begins_anew()
            turns.take(partial(leases.appear, worker=name, queues=settings.queues))
            turns.take(partial(watch, worker=name, celery_pid=celery.pid))
            stopped.wait(TURN_S)
    finally:
        if celery is not None:
            end(celery)  # at once: steps already done are kept, so little is lost
        turns.take(lambda connection: leases.release(connection, name))
        turns.take(lambda connection: leases.disappear(connection, name))
    return 0


def _deliver(settings: WorkerSettings, name: str, silence: Silence, stopped: Stopped) -> None:
    """Send again what was lost, hear whether messages wait for nothing, sweep, until *stopped*."""
    app = celery_app(settings.broker_url)
    turns = Turns(settings.database_url)
    swept_at = -EVERY_S

    def turn(connection: psycopg.Connection[Any]) -> None:
        waiting = deliver(connection, app, settings.queues)
        if leases.held(connection, name):
            silence.ends()
        elif waiting:
            silence.goes_on()
        else:
            silence.begins_anew()

    while not stopped:
        turns.take(turn)
        if time.monotonic() - swept_at > EVERY_S:
            swept_at = time.monotonic()
            keep_s = settings.keep_uploads_days * 24 * 3600.0
            turns.take(partial(sweep, data=settings.data, keep_uploads_s=keep_s))
        stopped.wait(TURN_S)


class Turns:
    """A connection for one small thing after another; a database that is away is waited for."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._connection: psycopg.Connection[Any] | None = None

    def take(self, turn: Callable[[psycopg.Connection[Any]], object]) -> None:
        """Do *turn*, or leave it for the next time when the database is away."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=3)
            turn(self._connection)
        except psycopg.OperationalError as error:
            log.warning("the database is away: %s", error)
            self._connection = None
        except Exception:
            log.exception("a turn failed; the next one will tell whether it matters")


class Silence:
    """How long messages have waited while the pool did nothing."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._longest_s = DEAF_S

    def goes_on(self) -> None:
        """Count from now, unless counting already."""
        self._since = self._since or time.monotonic()

    def begins_anew(self) -> None:
        """Count from the next time: nothing waits, or a pool was just started."""
        self._since = None

    def ends(self) -> None:
        """The pool computes: it heard."""
        self._since, self._longest_s = None, DEAF_S

    def may_last_longer(self) -> None:
        """Bear with the next pool for twice as long: one that starts slowly looks deaf."""
        self._longest_s *= 2

    def too_long(self) -> bool:
        """Say whether it has lasted longer than it may."""
        since = self._since
        return since is not None and time.monotonic() - since > self._longest_s


class Stopped:
    """True once SIGTERM or SIGINT has come."""

    def __init__(self) -> None:
        self._stopped = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True

    def __bool__(self) -> bool:
        return self._stopped

    def wait(self, seconds: float) -> None:
        """Sleep, but not on after the signal."""
        until = time.monotonic() + seconds
        while not self._stopped and time.monotonic() < until:
            time.sleep(0.05)


def watch(connection: psycopg.Connection[Any], worker: str, celery_pid: int) -> None:
    """Renew the leases of jobs whose process lives, end the others, end what nobody wants."""
    held = leases.held(connection, worker)
    alive = held & set(living(celery_pid))
    leases.renew(connection, worker, sorted(alive))
    leases.expire(connection, worker, sorted(held - alive))
    for pid in leases.unwanted(connection, worker, DISMISSED_GRACE_S):
        if pid in alive:
            log.info("process %s still computes a dismissed job: ending it", pid)
            os.kill(pid, signal.SIGKILL)


def deliver(connection: psycopg.Connection[Any], app: Celery, queues: Sequence[str]) -> bool:
    """Send again the jobs whose worker or whose message is lost, or whose queue is not served.

    Says whether messages wait in *queues*.
    """
    for job_id, queue in leases.reap(connection):
        log.warning("job %s lost its worker: sent again", job_id)
        enqueue(app, job_id, queue)
    for job_id, queue in leases.stranded(connection):
        log.warning("job %s waited for a worker that is gone: now for one with %s", job_id, queue)
        enqueue(app, job_id, queue)
    try:
        waiting = {queue: _messages(app, queue) for queue in queues}
    except (BrokerDown, OSError) as error:
        log.warning("the broker is away: %s", error)
        return False
    for queue in (queue for queue, messages in waiting.items() if messages == 0):
        for job_id in leases.forgotten(connection, queue):
            log.warning("job %s lost its message: sent again", job_id)
            enqueue(app, job_id, queue)
    return any(waiting.values())


def _messages(app: Celery, queue: str) -> int:
    """Return how many messages the broker holds. Raises BrokerDown or OSError."""
    with app.connection_for_write() as connection:
        # as Celery declares it, so that asking first does not make a queue of another kind
        declared = connection.default_channel.queue_declare(
            queue=queue, durable=True, auto_delete=False
        )
        return int(declared.message_count)


def _checked(settings: WorkerSettings) -> int:
    """Return 0 where a pool runs here and reaches what it needs, else say what is wrong."""
    try:
        psycopg.connect(settings.database_url, connect_timeout=3).close()
        with celery_app(settings.broker_url).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except (psycopg.OperationalError, BrokerDown, OSError) as error:
        print(f"orograph worker: {error}", file=sys.stderr)
        return 1
    commands = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    if any({"workers.guardian", "--pool"} <= set(command) for command in commands):
        return 0
    print("orograph worker: no pool runs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
