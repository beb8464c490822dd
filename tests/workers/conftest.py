"""Benches: a database, a broker and a data folder, for workers of the test's own."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from psycopg.types.json import Jsonb
from shapely.geometry import box

from server.local import FOLDERS
from server.settings import Settings
from workers import jobs, leases
from workers.app import celery_app, enqueue


@dataclass
class Bench:
    """A database, a broker, and the jobs a test sends through them."""

    settings: Settings
    conn: psycopg.Connection[Any]
    app: Celery

    def send(self, **inputs: Any) -> str:
        job = jobs.create(self.conn, "echo", {"inputs": inputs})
        enqueue(self.app, job.id)
        return job.id

    def job(self, job_id: str) -> jobs.Job:
        job = jobs.get(self.conn, job_id)
        assert job is not None
        return job

    def until(self, job_id: str, *statuses: str, attempts: int = 0, patience_s: float = 40) -> Any:
        end = time.monotonic() + patience_s
        while (job := self.job(job_id)).status not in statuses or job.attempts < attempts:
            assert time.monotonic() < end, f"still {job}: {self.log()}"
            time.sleep(0.05)
        return job

    def present(self, *queues: str) -> None:
        end = time.monotonic() + 40
        while not leases.served(self.conn) >= set(queues):
            assert time.monotonic() < end, f"no worker serves {queues}: {self.log()}"
            time.sleep(0.05)

    def hasten(self, job_id: str) -> None:
        """Make a job's next attempt short; the one that runs has read its inputs."""
        self.conn.execute(
            "UPDATE orograph.job SET request = %s WHERE id = %s",
            [Jsonb({"inputs": {"message": "again"}}), job_id],
        )

    def age(self, job_id: str) -> None:
        """Make a job look as if it had waited long enough for its message to be missed."""
        self.conn.execute(
            "UPDATE orograph.job SET created = now() - interval '1 hour' WHERE id = %s", [job_id]
        )

    def pid(self, job_id: str) -> int:
        row = self.conn.execute("SELECT pid FROM orograph.job WHERE id = %s", [job_id]).fetchone()
        assert row is not None
        return int(row[0])

    def log(self) -> str:
        return (self.settings.data / "log/worker.log").read_text()[-3000:]


@contextmanager
def bench(data: Path, database_url: str, broker_url: str, **known: Any) -> Iterator[Bench]:
    for name in FOLDERS:
        (data / name).mkdir()
    settings = Settings(data=data, database_url=database_url, broker_url=broker_url, **known)
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield Bench(settings, conn, celery_app(broker_url))


@pytest.fixture(scope="session")
def new_bench() -> Callable[..., AbstractContextManager[Bench]]:
    """A function that gives a bench: data folder, database, broker, other settings."""
    return bench


@pytest.fixture
def snare() -> Iterator[Callable[[Path], Path]]:
    """A function that writes a GeoJSON of one house into a folder; nobody may follow its address.

    GDAL would, for the reference system that is said to be there: somewhere inside the network.
    """
    with socket.create_server(("127.0.0.1", 0)) as inside:

        def houses(folder: Path) -> Path:
            house = box(2.08, 47.76, 2.0802, 47.7601).__geo_interface__
            feature = {"type": "Feature", "properties": {}, "geometry": house}
            address = f"http://127.0.0.1:{inside.getsockname()[1]}/wkt"
            system = {"type": "link", "properties": {"href": address}}
            document = {"type": "FeatureCollection", "crs": system, "features": [feature]}
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "houses.geojson"
            path.write_text(json.dumps(document))
            return path

        yield houses
        inside.settimeout(0.2)
        with pytest.raises(TimeoutError):
            inside.accept()


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database of the test's own."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
