"""Fixtures that every room shares."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from server.local import FOLDERS, migrate
from server.private import postgis, redis
from server.settings import Settings

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def village() -> Path:
    """The bundled scene: two images with RPC, and the truth."""
    return HERE / "data/scenes/village"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery and lidar that is not part of the project."""
    folder = Path(os.environ.get("OROGRAPH_TEST_DATA", HERE.parent.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip("real data absent: set OROGRAPH_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def quarter(shared_data: Path) -> Path:
    """The dense tri-stereo scene, whose right image points wrongly."""
    return shared_data / "scenes/quarter"


# -- services: a PostGIS and a Redis of the test run's own, started when the first test asks


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder whose parents PostgreSQL's account may enter: pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="orograph-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(services_folder: Path) -> Iterator[str]:
    """URL of a private PostGIS whose database `orograph` is migrated; nobody connects to it."""
    folder = services_folder
    with postgis(folder / "postgres", folder / "postgres.log", durable=False) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def new_database(cluster: str) -> Callable[[], AbstractContextManager[str]]:
    """A function that gives a migrated, empty database of its own: for module-wide fixtures."""

    @contextmanager
    def database() -> Iterator[str]:
        name = f"test_{uuid4().hex[:12]}"
        server, template = cluster.rsplit("/", 1)
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
            try:
                yield f"{server}/{name}"
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    return database


@pytest.fixture
def database(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """URL of a migrated, empty database for this test alone."""
    with new_database() as url:
        yield url


@pytest.fixture(scope="session")
def broker(services_folder: Path) -> Iterator[str]:
    """Celery URL of a private Redis, shared by the run: queues may hold what others left."""
    with redis(services_folder / "redis.log") as url:
        yield url


@pytest.fixture
def settings(database: str, broker: str, tmp_path: Path) -> Settings:
    """Settings of a server that has a database and a data folder for this test alone."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    return Settings(data=tmp_path, database_url=database, broker_url=broker)
