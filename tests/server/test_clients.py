"""Other people's clients against a server on a real port: owslib, and our own `submit`."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from owslib.ogcapi.processes import Processes

from processes.core.errors import AssetMissing
from server.app import create_app
from server.settings import Settings
from server.submit import Sender, submit
from workers.reader import Reader


@pytest.fixture(scope="module")
def server(place: Settings) -> Iterator[str]:
    """Address of a server that listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        app = create_app(place.model_copy(update={"port": port}))
        runner = uvicorn.Server(uvicorn.Config(app, log_level="warning", proxy_headers=False))
        thread = threading.Thread(target=runner.run, args=([listener],))
        thread.start()
        while not runner.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
        runner.should_exit = True
        thread.join()


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


@pytest.fixture
def sender(server: str, village: Path, tmp_path: Path) -> Iterator[Sender]:
    """Sends what a request beside the bundled scene names."""
    with httpx.Client() as client:
        reader = Reader(cache=tmp_path, files=True)
        yield Sender(client, server, reader, str(village / "request.json"))


def test_a_local_item_travels_with_its_image_and_sensor_model(
    sender: Sender, server: str, village: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = sender.sent({"href": "left.json", "type": "application/geo+json"})
    assert "sending left.tif" in capsys.readouterr().err
    original = json.loads((village / "left.json").read_text())
    assert item["id"] == original["id"]
    assert item["properties"] == original["properties"]
    images = [asset for asset in item["assets"].values() if "data" in asset["roles"]]
    models = [asset for asset in item["assets"].values() if "rpc" in asset["roles"]]
    assert httpx.get(images[0]["href"]).content == (village / "left.tif").read_bytes()
    assert httpx.get(models[0]["href"]).text == (village / "left_RPC.TXT").read_text()
    assert all(asset["href"].startswith(server) for asset in item["assets"].values())
    sender.sent({"href": "left.json"})
    assert "sending" not in capsys.readouterr().err, "the server has it already"


def test_a_bare_image_travels_with_the_sensor_model_beside_it(sender: Sender) -> None:
    item = sender.sent([{"href": "right.tif"}])[0]
    assert item["type"] == "Feature"
    assert len(item["assets"]) == 2


def test_what_is_elsewhere_stays_there_and_other_files_travel(sender: Sender, server: str) -> None:
    far = {"href": "https://tiles.example/a.tif", "type": "image/tiff"}
    assert sender.sent({"images": [far], "lod": 2}) == {"images": [far], "lod": 2}
    dem = sender.sent({"href": "dem.tif", "type": "image/tiff"})
    assert dem["href"].startswith(f"{server}/uploads/")
    assert dem["type"] == "image/tiff"


def test_what_is_not_there_is_bad_input(sender: Sender) -> None:
    with pytest.raises(AssetMissing):
        sender.sent({"href": "nowhere.tif"})
