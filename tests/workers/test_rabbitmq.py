"""RabbitMQ as the broker, where it is installed: no job is lost or run twice with it either."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from server.local import worker_process
from server.private import child, free_port
from workers import jobs
from workers.app import enqueue

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in PATH asks for its own account
PATIENCE_S = 3
pytestmark = pytest.mark.skipif(
    not SERVER.exists() or shutil.which("epmd") is None,
    reason="RabbitMQ absent: apt-get install rabbitmq-server",
)


class Node:
    """A private RabbitMQ that keeps its queues in one folder, whose patience is short."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ports = folder, [free_port() for _ in range(3)]
        self.url = f"amqp://guest:guest@127.0.0.1:{self._ports[0]}//"
        (folder / "enabled_plugins").write_text("[].\n")
        patience = f"{{channel_tick_interval, 500}}, {{consumer_timeout, {PATIENCE_S * 1000}}}"
        (folder / "advanced.config").write_text(f"[{{rabbit, [{patience}]}}].\n")

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        port, mapper, between = self._ports
        own = {
            "HOME": str(self._folder),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"orograph{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(between),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self._folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        env = {k: v for k, v in os.environ.items() if not k.startswith("RABBITMQ")} | own
        names = ["epmd", "-port", str(mapper), "-address", "127.0.0.1"]
        with ExitStack() as parts:
            log = parts.enter_context((self._folder / "log").open("ab"))
            parts.enter_context(child(names, log, stop=signal.SIGTERM, env=env))
            server = parts.enter_context(
                child([str(SERVER)], log, stop=signal.SIGTERM, env=env, patience_s=60)
            )
            end = time.monotonic() + 90
            while not self._answers():
                said = (self._folder / "log").read_text()[-2000:]
                assert server.poll() is None, said
                assert time.monotonic() < end, said
                time.sleep(0.1)
            yield server

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._ports[0]), 1) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(probe.recv(1))
        except OSError:
            return False


def test_jobs_outlive_their_worker_their_broker_and_its_patience(
    database: str,
    new_bench: Callable[..., AbstractContextManager[Any]],
    tmp_path: Path,
) -> None:
    (tmp_path / "rabbitmq").mkdir()
    node = Node(tmp_path / "rabbitmq")
    with new_bench(tmp_path, database, node.url, workers=2) as made, ExitStack() as worker:
        with node.running() as server:
            pool = worker.enter_context(worker_process(made.settings))
            made.until(made.send(message="hello"), "successful")

            gone = made.send(pause=600)
            made.until(gone, "running")
            jobs.dismiss(made.conn, gone)

            killed = made.send(pause=600)
            made.until(killed, "running")
            made.hasten(killed)
            os.kill(made.pid(killed), signal.SIGKILL)
            assert made.until(killed, "successful").attempts == 2

            long = made.send(pause=2 * PATIENCE_S + 2)
            made.until(long, "running")
            time.sleep(PATIENCE_S + 1)  # by now the broker has closed the worker's channel
            beside = made.send(message="beside")
            assert made.until(beside, "successful").attempts == 1
            assert made.job(long).status == "running"
            assert made.until(long, "successful").attempts == 1

            during = made.send(pause=3)
            made.until(during, "running")
            for process in (*psutil.Process(server.pid).children(recursive=True), server):
                with suppress(psutil.NoSuchProcess):  # it went with another
                    process.kill()
        late = jobs.create(made.conn, "echo", {"inputs": {"message": "late"}})
        assert enqueue(made.app, late.id) is False
        assert made.until(during, "successful").attempts == 1
        with node.running():
            after = jobs.create(made.conn, "echo", {"inputs": {"message": "after"}})
            # though the connection that is kept is to the broker that was killed
            assert enqueue(made.app, after.id) is True
            assert made.until(after.id, "successful", patience_s=90).attempts == 1
            assert made.until(late.id, "successful", patience_s=90).attempts == 1
            assert pool.poll() is None
            worker.close()
        assert made.job(gone).status == "dismissed"
        assert "Unrecoverable" not in made.log()
