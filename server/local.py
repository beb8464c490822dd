"""The embedded stack: private PostGIS and Redis, a worker and the API, in one data folder.

`orograph up`, the demo and the tests all use `stack`. With OROGRAPH_DATABASE_URL or
OROGRAPH_BROKER_URL set, that part is one's own and is neither started nor stopped. Everything
started here ends with this process, even when that is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psycopg
import uvicorn

from catalog import footprint_table
from catalog.store import ensure_collection
from server.private import CannotStart, Parts, child, postgis, redis
from server.settings import Settings
from workers import callbacks, jobs

SCHEMAS = (jobs.SCHEMA, callbacks.SCHEMA, footprint_table.SCHEMA)
FOLDERS = ("log", "jobs", "products", "uploads", "steps", "fetched")
MIGRATION_LOCK = 0x0406  # any number, the same for everybody
START_S = 120.0


@dataclass(frozen=True)
class Stack:
    """A running stack: where it is, and what it was completed with."""

    settings: Settings
    parts: Mapping[str, subprocess.Popen[bytes]]

    def ended(self) -> str | None:
        """Return the name of a part that is not running any more, if any."""
        return next((name for name, part in self.parts.items() if part.poll() is not None), None)


def up(settings: Settings) -> int:
    """Serve until Ctrl-C (or SIGTERM); returns the exit code."""
    try:
        with ended_by_signals(), stack(settings) as running:
            print(f"Orograph is at {running.settings.url}/ — viewer {running.settings.url}/viewer")
            print(f"Data and logs are in {settings.data.resolve()}. Ctrl-C ends it.", flush=True)
            wait(running)
    except KeyboardInterrupt:
        print("Orograph has stopped.")
        return 0


def wait(running: Stack) -> NoReturn:
    """Wait for a signal, which raises KeyboardInterrupt. Raises CannotStart if a part ends."""
    while (ended := running.ended()) is None:
        time.sleep(0.5)
    raise CannotStart(f"the {ended} ended: see {running.settings.data}/log/{ended}.log")


def serve(settings: Settings) -> int:
    """Serve the API alone, in front of a database, a broker and workers of one's own."""
    if settings.database_url is None or settings.broker_url is None:
        raise CannotStart("set OROGRAPH_DATABASE_URL and OROGRAPH_BROKER_URL, or use orograph up")
    _make_folders(settings.data)
    try:
        with ended_by_signals(), _listener(settings.host, settings.port) as listener:
            migrate(settings.database_url)
            with _api(settings, listener) as thread:
                while thread.is_alive():
                    thread.join(0.5)
                raise CannotStart("the API ended: its messages are above")
    except KeyboardInterrupt:
        return 0


@contextmanager
def stack(settings: Settings) -> Iterator[Stack]:
    """Run everything until the block is left. Raises CannotStart, naming the remedy."""
    settings = settings.model_copy(update={"data": settings.data.resolve()})
    with ExitStack() as kept:
        entered = kept.enter_context
        parts: Parts = {}
        entered(_alone_in(settings.data))
        listener = entered(_listener(settings.host, settings.port))
        settings = entered(services(settings, parts))
        migrate(settings.database_url or "")
        parts["worker"] = entered(worker_process(settings))
        entered(_api(settings, listener))
        yield Stack(settings, parts)


@contextmanager
def services(settings: Settings, parts: Parts) -> Iterator[Settings]:
    """Run the database and the broker that are not given; yields settings that name both.

    What runs is added to *parts*.
    """
    logs = settings.data / "log"
    with ExitStack() as kept:
        database_url, broker_url = settings.database_url, settings.broker_url
        if database_url is None:
            private = postgis(settings.data / "postgres", logs / "postgres.log", parts=parts)
            database_url = kept.enter_context(private)
        if broker_url is None:
            broker_url = kept.enter_context(
                redis(logs / "redis.log", at=settings.data / "redis.sock", parts=parts)
            )
        yield settings.model_copy(update={"database_url": database_url, "broker_url": broker_url})


def migrate(database_url: str) -> None:
    """Bring a database up to date: pgstac, jobs, footprints. Safe to call by several at once."""
    from pypgstac.db import PgstacDB
    from pypgstac.migrate import Migrate

    try:
        connection = psycopg.connect(database_url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise CannotStart(f"the database does not answer: {_first_line(error)}") from None
    with connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        with PgstacDB(dsn=database_url) as pgstac:
            Migrate(pgstac).run_migration()
            pool = pgstac.pool
        pool.close()
        for schema in SCHEMAS:
            connection.execute(schema)
        ensure_collection(connection)


@contextmanager
def worker_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run one worker (a guardian and its Celery pool) with *settings*."""
    command = [sys.executable, "-m", "workers.guardian"]
    with (
        (settings.data / "log/worker.log").open("ab") as output,
        child(command, output, stop=signal.SIGTERM, env=_environment(settings)) as process,
    ):
        yield process


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into KeyboardInterrupt; the rest do not disturb."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(number: int, frame: FrameType | None) -> None:
        for every in numbers:
            signal.signal(every, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _alone_in(data: Path) -> Iterator[None]:
    """Hold the data folder; the kernel lets go of it however we end."""
    _make_folders(data)
    with (data / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"{data.resolve()} is in use by another orograph: stop that one "
                "or choose another OROGRAPH_DATA"
            ) from None
        yield


def _make_folders(data: Path) -> None:
    try:
        for name in FOLDERS:
            (data / name).mkdir(parents=True, exist_ok=True)
        (data / ".lock").touch()
    except OSError as error:
        raise CannotStart(
            f"nothing can be kept in {data.absolute()} ({error.strerror}): "
            "choose another OROGRAPH_DATA"
        ) from None


def _allow_many_connections() -> None:
    """Take as many open files as we may have: by default a thousand idle clients would be all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where the kernel gives less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port first: a clear word now rather than after everything else has started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named TCP, or asyncio leaves Nagle's delay on: 40 ms an answer
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1024)  # Linux lets two sockets share a port until one listens
        except OSError as error:
            raise CannotStart(
                f"port {port} of {host} cannot be had ({error.strerror}): stop the program that "
                "has it or set OROGRAPH_PORT to another"
            ) from None
        yield listener


@contextmanager
def _api(settings: Settings, listener: socket.socket) -> Iterator[threading.Thread]:
    """Serve HTTP from a thread, so that the main thread is free for signals."""
    from server.app import create_app

    _allow_many_connections()
    config = uvicorn.Config(
        create_app(settings),
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=5,
        proxy_headers=False,  # server/proxy.py decides whom to believe
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="api", daemon=True)
    thread.start()
    try:
        end = time.monotonic() + START_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > end:
                raise CannotStart("the API did not start: its messages are above")
            time.sleep(0.02)
        yield thread
    finally:
        server.should_exit = True
        thread.join(15)


def _environment(settings: Settings) -> dict[str, str]:
    """Return our environment with *settings* in it, as the worker reads them."""
    values = settings.model_dump(mode="json", exclude_none=True)
    own = {
        f"OROGRAPH_{name.upper()}": value if isinstance(value, str) else _as_json(value)
        for name, value in values.items()
    }
    own["OROGRAPH_DATA"] = str(settings.data.resolve())
    cores = str(max(1, (os.cpu_count() or 1) // settings.workers))
    return {"NUMBA_NUM_THREADS": cores, "OMP_NUM_THREADS": cores} | dict(os.environ) | own


def _as_json(value: object) -> str:
    return json.dumps(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
