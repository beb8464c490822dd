"""A server against a real database and broker, with a worker at hand that needs no start."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvicorn
from starlette.testclient import TestClient

from server.app import create_app
from server.local import FOLDERS
from server.settings import Settings
from workers import jobs
from workers.settings import WorkerSettings
from workers.tasks import run_job

URL = "http://maps.example"


@pytest.fixture(scope="module")
def place(
    new_database: Callable[[], AbstractContextManager[str]],
    broker: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Settings]:
    """Settings of a server with a database of this module's own."""
    data = tmp_path_factory.mktemp("data")
    for name in FOLDERS:
        (data / name).mkdir()
    with new_database() as url:
        yield Settings(data=data, database_url=url, broker_url=broker, sync_wait_s=30)


@contextmanager
def serving(settings: Settings, **client: Any) -> Iterator[TestClient]:
    """A client of a started application."""
    with TestClient(create_app(settings), base_url=URL, **client) as open_client:
        yield open_client


@pytest.fixture(scope="module")
def client(place: Settings) -> Iterator[TestClient]:
    """A client of the server of this module."""
    with serving(place) as open_client:
        yield open_client


@contextmanager
def listening(settings: Settings) -> Iterator[str]:
    """Address of a server that listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        app = create_app(settings.model_copy(update={"port": port}))
        runner = uvicorn.Server(uvicorn.Config(app, log_level="warning", proxy_headers=False))
        thread = threading.Thread(target=runner.run, args=([listener],))
        thread.start()
        while not runner.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            runner.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def server(place: Settings) -> Iterator[str]:
    """Address of the server of this module."""
    with listening(place) as url:
        yield url


@pytest.fixture(scope="session")
def new_server() -> Callable[[Settings], AbstractContextManager[str]]:
    """A function that gives a listening server with other settings."""
    return listening


@pytest.fixture(scope="module", autouse=True)
def long_leases() -> Iterator[None]:
    """The workers at hand here have no guardian that renews what they claim."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "LEASE_S", 3600)
        yield


@dataclass(frozen=True)
class Worker:
    """Takes what is accepted and computes it in a thread of this process."""

    place: WorkerSettings
    database_url: str

    def waiting(self) -> list[str]:
        with psycopg.connect(self.database_url) as conn:
            found, _ = jobs.listed(conn, limit=100, statuses=["accepted"])
        return [job.id for job in found]

    def work(self) -> None:
        """Run every accepted job."""
        for job_id in self.waiting():
            run_job(job_id, self.place, "test")


@pytest.fixture(scope="module")
def idle_worker(place: Settings) -> Worker:
    """A worker that works when told."""
    assert place.database_url
    assert place.broker_url
    settings = WorkerSettings(
        data=place.data, database_url=place.database_url, broker_url=place.broker_url
    )
    return Worker(settings, place.database_url)


@pytest.fixture
def worker(idle_worker: Worker) -> Iterator[Worker]:
    """A worker that takes jobs as they come."""
    stopped = threading.Event()

    def turn() -> None:
        while not stopped.wait(0.02):
            idle_worker.work()

    thread = threading.Thread(target=turn)
    thread.start()
    yield idle_worker
    stopped.set()
    thread.join()


@pytest.fixture
def products(place: Settings) -> Path:
    return place.data / "products"
