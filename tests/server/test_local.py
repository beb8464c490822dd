"""The embedded stack: it starts whole, says what is in its way, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from server.local import Stack, _listener, migrate, services, stack, wait
from server.private import CannotStart, Parts, free_port, postgis, redis
from server.settings import Settings

LeftOver = Callable[[list[psutil.Process], float], list[psutil.Process]]
PATIENCE_S = 60.0
COLUMNS = (
    "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
    "WHERE table_schema IN ('orograph', 'pgstac') ORDER BY 1, 2, 3"
)


@pytest.fixture
def data(services_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = services_folder / request.node.name
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start(data: Path, port: int, **more: str) -> subprocess.Popen[str]:
    own = {"OROGRAPH_DATA": str(data), "OROGRAPH_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-m", "server.cli", "up"],
        env=os.environ | own | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_up(running: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait for the address to be printed; returns every process of the stack."""
    assert running.stdout is not None
    line = running.stdout.readline()
    assert "Orograph is at" in line, f"{line}{running.communicate()}"
    return psutil.Process(running.pid).children(recursive=True)


def until(place: str, *statuses: str) -> Any:
    """Return what is said of a job once its status is one of these, or patience ends."""
    end = time.monotonic() + PATIENCE_S
    while (job := httpx.get(place).json())["status"] not in statuses and time.monotonic() < end:
        time.sleep(0.05)
    return job


def test_up_runs_a_job_and_ends_clean_at_ctrl_c(data: Path, left_over: LeftOver) -> None:
    port = free_port()
    running = start(data, port)
    family = until_up(running)
    assert {"postgres", "redis-server"} <= {process.name() for process in family}
    answer = httpx.post(
        f"http://127.0.0.1:{port}/processes/echo/execution",
        json={"inputs": {"message": "hello"}},
        timeout=PATIENCE_S,
    )
    assert (answer.status_code, answer.json()) == (200, {"message": "hello"})

    second = start(data, free_port())
    assert "is in use by another orograph" in second.communicate(timeout=PATIENCE_S)[1]
    assert second.returncode != 0
    third = start(data.with_name("elsewhere"), port)
    assert "stop the program that has it or set OROGRAPH_PORT" in third.communicate(timeout=60)[1]

    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, err) == (0, "")
    assert out.endswith("Orograph has stopped.\n")
    assert not left_over(family, 1)
    assert "database system is shut down" in (data / "log/postgres.log").read_text()


def test_a_stack_that_was_killed_leaves_no_process_and_does_its_job_again(
    data: Path, left_over: LeftOver
) -> None:
    port = free_port()
    running = start(data, port)
    family = until_up(running)
    answer = httpx.post(
        f"http://127.0.0.1:{port}/processes/echo/execution",
        json={"inputs": {"message": "again", "pause": 2}},
        headers={"Prefer": "respond-async"},
    )
    place = answer.headers["location"]
    assert until(place, "running")["status"] == "running"
    running.kill()
    running.communicate()
    assert not left_over(family, 15)
    again = start(data, port)
    family = until_up(again)
    assert until(place, "successful", "failed")["status"] == "successful"
    assert (data / "log/worker.log").read_text().count(", attempt ") == 2
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0
    assert not left_over(family, 1)


def test_one_s_own_database_and_broker_are_used_and_left_alone(
    database: str, broker: str, data: Path
) -> None:
    port = free_port()
    settings = Settings(data=data, port=port, database_url=database, broker_url=broker)
    with stack(settings) as running:
        assert running.ended() is None
        assert httpx.get(f"{settings.url}/conformance").status_code == 200
        open_files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert open_files == most, "a thousand idle clients would be all"
    assert not (data / "postgres").exists()
    with psycopg.connect(database) as connection:
        connection.execute("SELECT count(*) FROM orograph.job")


def test_a_part_that_ends_is_noticed(database: str, data: Path) -> None:
    (data / "log").mkdir(parents=True)
    parts: Parts = {}
    with services(Settings(data=data, database_url=database), parts) as settings:
        running = Stack(settings, parts)
        assert running.ended() is None
        parts["redis"].kill()
        parts["redis"].wait()
        with pytest.raises(CannotStart, match=r"the redis ended: see .*log/redis\.log"):
            wait(running)


def test_a_port_is_not_taken_from_another_program(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(CannotStart, match=f"port {port} of 127.0.0.1"),
            stack(Settings(data=data, port=port)),
        ):
            pass


def test_answers_do_not_wait_for_more_to_send() -> None:
    """asyncio turns Nagle's delay off only where the socket is named TCP: 40 ms an answer."""
    with _listener("127.0.0.1", free_port()) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotStart, match="apt install redis-server"), redis(tmp_path / "log"):
        pass
    monkeypatch.setattr("server.private.POSTGRES_FOLDERS", (str(tmp_path / "*"),))
    with (
        pytest.raises(CannotStart, match="apt install postgresql"),
        postgis(tmp_path / "postgres", tmp_path / "log"),
    ):
        pass


def test_a_database_of_another_postgresql_is_said_so(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres/cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9\n")
    with (
        pytest.raises(CannotStart, match=r"made by PostgreSQL 9.*apt install postgresql-9"),
        postgis(tmp_path / "postgres", tmp_path / "log"),
    ):
        pass


def test_why_no_database_can_be_made_is_said(data: Path) -> None:
    data.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as on a full disk
    try:
        with (
            pytest.raises(CannotStart, match=r"no database can be made in .*FATAL: .*too large"),
            postgis(data / "postgres", data / "postgres.log"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["file/data", "file"])
def test_a_folder_in_which_nothing_can_be_kept_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CannotStart, match=f"nothing can be kept in {tmp_path / name}.*_DATA"),
        stack(Settings(data=tmp_path / name, port=free_port())),
    ):
        pass


def test_a_database_that_does_not_answer_is_said_so() -> None:
    with pytest.raises(CannotStart, match="the database does not answer"):
        migrate("postgresql://nobody@127.0.0.1:1/none")


def test_migrating_again_changes_nothing(database: str) -> None:
    migrate(database)
    with psycopg.connect(database) as conn:
        before = conn.execute(COLUMNS).fetchall()
    migrate(database)
    with psycopg.connect(database) as conn:
        assert conn.execute(COLUMNS).fetchall() == before != []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's folders are closed to PostgreSQL")
@pytest.mark.parametrize("relative", [False, True])
def test_a_data_folder_in_a_private_home_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.chdir(home)
    folder = Path("postgres") if relative else home / "postgres"
    try:
        with (
            postgis(folder, tmp_path / "log", durable=False) as url,
            psycopg.connect(url) as connection,
        ):
            connection.execute("SELECT 1")
        assert folder.is_symlink()
    finally:
        shutil.rmtree(folder.resolve())
