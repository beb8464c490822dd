"""Other people's clients against a server on a real port: owslib, and our own `submit`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from owslib.ogcapi.processes import Processes

from server.cli import main
from server.settings import Settings
from server.submit import submit


def test_owslib_lists_describes_and_runs(server: str, worker: Any) -> None:
    service = Processes(server)
    assert "echo" in [process["id"] for process in service.processes()]
    assert service.process("echo")["inputs"]["message"]["schema"] == {"type": "string"}
    assert service.execute("echo", inputs={"message": "hello"}) == {"message": "hello"}
    assert service.api()["openapi"].startswith("3.0")
    assert service.conformance()["conformsTo"]


def test_owslib_follows_a_job(server: str, worker: Any) -> None:
    job = Processes(server).execute("echo", inputs={"message": "hello"}, async_=True)
    assert job["jobID"]
    assert job["status"] == "accepted"


def request_file(folder: Path, inputs: dict[str, Any]) -> Path:
    path = folder / "request.json"
    path.write_text(json.dumps({"inputs": inputs}))
    return path


def test_submit_prints_the_results(
    server: str, worker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit("echo", request_file(tmp_path, {"message": "hello", "pause": 1}), server) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"message": "hello"}
    assert f"{server}/jobs/" in printed.err


def test_submit_finds_the_server_that_the_same_settings_start(
    server: str, worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OROGRAPH_PORT", str(urlsplit(server).port))
    request = request_file(tmp_path, {"message": "hello"})
    assert main(["submit", "echo", str(request)]) == 0


def test_submit_tells_bad_input_from_a_server_that_is_away(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = request_file(tmp_path, {"numbers": "many"})
    assert submit("echo", wrong, server) == 2
    assert "numbers" in capsys.readouterr().err
    assert submit("nothing", wrong, server) == 2
    assert "no process nothing" in capsys.readouterr().err
    assert submit("echo", wrong, "http://127.0.0.1:9") == 1
    assert "does not answer" in capsys.readouterr().err


def test_a_server_that_cannot_keep_a_file_is_no_bad_input(
    server: str, place: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that sees 2 would not try again."""
    image = tmp_path / "image.tif"
    image.write_bytes(b"II*\x00 and no more")
    folder = place.data / "uploads" / hashlib.sha256(image.read_bytes()).hexdigest()
    folder.touch()  # where its folder would be
    assert submit("echo", request_file(tmp_path, {"image": {"href": "image.tif"}}), server) == 1
    assert "image.tif was refused: an error of the server" in capsys.readouterr().err
